"""What real publishers send is counted under its type and priority: oslo.messaging, and collected samples."""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import pytest

from streams.notifications import Priority
from tests import children
from tests.integration.forwards import read_forwards
from tests.integration.reading import Counts, counts_at_rest, public_counts, read_all
from tests.integration.worker_process import BOUND_S, ROOT, Deployment
from tests.integration.writing import writer

pytestmark = pytest.mark.kafka

SAMPLES = ROOT.parent / "shared" / "samples"


async def test_oslo_messaging(deployment: Deployment) -> None:
    deployment.configure(priorities="critical,error,warn,info,debug,audit,sample")
    settings = deployment.settings
    worker = await deployment.worker().start().ready()
    expected: Counts = Counter()
    # messaging and messagingv2 are its two formats.
    for driver in ("messaging", "messagingv2"):
        topic = settings.notification_topic_prefix.removesuffix(".")
        script = Path(__file__).with_name("oslo_publisher.py")
        ended = await asyncio.to_thread(
            children.run,
            [sys.executable, str(script), settings.brokers, topic, driver, "20"],
            cwd=ROOT,
            capture_output=True,
            timeout=BOUND_S,
        )
        assert ended.returncode == 0, ended.stderr.decode()
        for event_type, number in json.loads(ended.stdout).items():
            expected[event_type.rpartition(".")[2].upper(), event_type] = number
    assert {priority for priority, _ in expected} == set(Priority)
    assert expected.total() == 2 * 7 * 20
    async with public_counts(settings) as counts:
        await counts.reach(expected)
    await worker.stop()
    assert (await counts_at_rest(settings)).now() == expected
    assert await read_all(settings.brokers, settings.dead_letter_topic) == []
    for severity in ("CRITICAL", "ERROR"):
        forwards = await read_forwards(settings, severity)
        assert len(forwards) == 40
        for (record,) in forwards.values():
            alert = orjson.loads(record.value)
            inner = orjson.loads(alert["notification"]["oslo.message"])
            assert alert["labels"]["alertname"] == inner["event_type"]
            assert alert["labels"]["publisher_id"] == "compute.host1"
            assert alert["examples"][0]["message_id"] == inner["message_id"]
            assert alert["repairs"] == []


def samples() -> list[dict[str, Any]]:
    """Each collected message; a file holds one, or a list of them."""
    found = []
    for path in sorted(SAMPLES.glob("*/*.json")):
        content = orjson.loads(path.read_bytes())
        found += content if isinstance(content, list) else [content]
    return found


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="the folder ../shared/samples is not there")
async def test_samples(deployment: Deployment) -> None:
    settings = deployment.settings
    worker = await deployment.worker().start().ready()
    expected: Counts = Counter()
    messages = samples()
    assert messages, "the folder ../shared/samples holds no messages"
    async with writer(settings) as out, public_counts(settings) as counts:
        for message in messages:
            plain = orjson.loads(message["oslo.message"]) if "oslo.message" in message else message
            priority = Priority.parse(plain.get("priority", "INFO"))
            assert priority is not None
            await out.raw(settings.notification_topic(priority), orjson.dumps(message))
            expected[priority.value, plain["event_type"]] += 1
        await counts.reach(expected)
    await worker.stop()
    assert await read_all(settings.brokers, settings.dead_letter_topic) == []
    at_rest = await counts_at_rest(settings)
    assert at_rest.now() == expected
    # They are years old, so they are counted in the windows of now.
    assert at_rest.now("1h") == expected
