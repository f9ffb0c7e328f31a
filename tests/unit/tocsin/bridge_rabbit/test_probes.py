"""What the probes of a bridge say, and its metrics."""

from __future__ import annotations

import json
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from streams.bridges.rabbit import RabbitBridge, RabbitSource
from streams.bridges.to_kafka import KafkaWriter
from streams.broker.client_options import client_options
from streams.broker.outage import BrokerWatch
from streams.notifications.priority import Priority
from streams.settings import load_settings
from tocsin.bridge_rabbit.figures import METRICS
from tocsin.bridge_rabbit.probes import BridgeHealth, make_app


class Bridge:
    """A bridge that is connected to nothing, with its probes."""

    def __init__(self) -> None:
        settings = load_settings(brokers="127.0.0.1:1")
        self.stopping = False
        writer = KafkaWriter(settings)
        self.bridge = RabbitBridge(
            writer, RabbitSource(["amqp://h"], ["notifications"], {Priority.ERROR: 2.0, Priority.INFO: 1.0})
        )
        brokers = BrokerWatch(settings.brokers, client_options(settings), "notifications.info")
        self.health = BridgeHealth(self.bridge, writer, brokers, lambda: self.stopping)

    async def get(self, path: str, **headers: str) -> tuple[int, str, Any]:
        async with TestClient(TestServer(make_app(self.health))) as client:
            answer = await client.get(path, headers=headers)
            return answer.status, await answer.text(), answer.headers


async def test_ready_says_all_that_is_missing_and_live_does_not_mind() -> None:
    bridge = Bridge()
    status, text, _ = await bridge.get("/readyz")
    assert status == 503
    assert json.loads(text) == {
        "status": "failing",
        "reasons": ["The brokers of Kafka have not been reached yet.", "RabbitMQ does not answer."],
    }
    assert (await bridge.get("/livez"))[0] == 200
    bridge.stopping = bridge.health.connected = True
    _, text, _ = await bridge.get("/readyz")
    assert json.loads(text)["reasons"] == ["The process is stopping.", "RabbitMQ does not answer."]


async def test_every_metric_is_there_from_the_start_for_each_priority() -> None:
    bridge = Bridge()
    status, text, headers = await bridge.get("/metrics")
    assert status == 200
    assert headers["Content-Type"].startswith("text/plain; version=")
    for name, kind, labels, meaning in METRICS:
        assert f"# TYPE {name} {kind}" in text or f"# TYPE {name.removesuffix('_total')} {kind}" in text
        assert meaning in text
        series = (
            [f'{name}{{priority="{each}"}} 0.0' for each in ("ERROR", "INFO")] if labels else [f"{name} "]
        )
        assert all(each in text for each in series), name
    assert "process_cpu_seconds_total" in text


async def test_metrics_come_in_the_form_that_is_asked_for() -> None:
    _, text, headers = await Bridge().get("/metrics", Accept="application/openmetrics-text; version=1.0.0")
    assert headers["Content-Type"].startswith("application/openmetrics-text")
    assert text.endswith("# EOF\n")


@pytest.mark.parametrize("path", ["/", "/metrics/x", "/readyz/"])
async def test_there_is_nothing_else(path: str) -> None:
    assert (await Bridge().get(path))[0] == 404
