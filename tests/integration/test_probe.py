"""`tocsin probe` on a real Kafka with a real worker: it measures, and changes nothing for anybody else."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import Any

import orjson
import pytest

from agents.probes import TYPE
from streams.notifications import Priority
from tables.reserved_types import PROBES
from tests import children
from tests.integration.forwards import check_forwards
from tests.integration.reading import Counts, public_counts, read_all
from tests.integration.worker_process import BOUND_S, PARTITIONS, ROOT, Deployment, eventually
from tests.integration.writing import made_load, writer
from tocsin.cli.probe.results import keys_of

pytestmark = pytest.mark.kafka

#: For a worker on a busy machine: it ends as soon as the last answer is there.
LONG = ("--wait", "120")


def probe(deployment: Deployment, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    return children.run(
        [sys.executable, "-m", "tocsin", "probe", *arguments],
        cwd=ROOT,
        env=deployment.environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=BOUND_S,
    )


async def test_probe_measures_and_leaves_counts_and_alerts_of_others_alone(deployment: Deployment) -> None:
    settings = deployment.settings
    worker = await deployment.worker().start().ready()
    async with writer(settings) as out, public_counts(settings) as counts:
        await out.made(made_load(seed=7, count=500))
        expected = out.published.counts
        await counts.reach(expected)

        ended = await asyncio.to_thread(probe, deployment, "--json", "--rate", "10", "--seconds", "2", *LONG)
        assert ended.returncode == 0, ended
        report: dict[str, Any] = orjson.loads(ended.stdout)
        assert report["ok"] is True
        assert (report["probes"], report["partitions"], report["others"]) == (20, PARTITIONS, 0)
        for way in ("alert", "counted"):
            figures = report[way]
            assert figures["undelivered"] == 0
            assert 0 < figures["p50_ms"] <= figures["p90_ms"] <= figures["p99_ms"] <= figures["max_ms"]
        assert report["sentences"][0].startswith("CRITICAL is forwarded within")
        probed = f"to {settings.internal_topic('probes')} in the place of {settings.alert_topic('critical')}"
        assert probed in report["sentences"][0]
        assert "p99 of 20 probes on 4 of 4 partitions" in report["sentences"][0]

        # A second one starts from what the first left, and no worker is as fast as this.
        slow = await asyncio.to_thread(
            probe, deployment, "--rate", "5", "--seconds", "1", "--max-p99-ms", "0.001", *LONG
        )
        assert slow.returncode == 1, slow
        assert b"is above the 0.001 ms allowed" in slow.stdout
        assert b"undelivered" in slow.stdout
        assert b"Others" not in slow.stdout + slow.stderr

        # Each run opens one connection for each partition besides.
        probes = 20 + 5 + 2 * PARTITIONS
        await counts.reach(expected + Counts({("CRITICAL", PROBES): probes}))

    async def is_listed() -> bool:
        status, body = await asyncio.to_thread(worker.get, "/api/v1/counts?window=total&event_type=(probes)")
        items = orjson.loads(body)["items"] if status == 200 else []
        return [item["count"] for item in items] == [probes]

    await eventually("the probes are shown to whoever asks for them", is_listed)
    status, body = await asyncio.to_thread(worker.get, "/api/v1/counts?window=total&limit=1000")
    assert status == 200
    listed = {(item["priority"], item["event_type"]): item["count"] for item in orjson.loads(body)["items"]}
    assert listed == dict(expected)

    await worker.stop()
    # The alert topics hold the alerts of others, and nothing else; check_forwards knows none but those.
    await check_forwards(settings, out.published, repeats=False)
    answers = await read_all(settings.brokers, settings.internal_topic("probes"))
    assert len(answers) == probes
    assert {dict(answer.headers)["ce_type"].decode() for answer in answers} == {TYPE}
    places = {
        (example["partition"], example["offset"])
        for answer in answers
        for example in orjson.loads(answer.value)["examples"]
    }
    assert len(places) == probes


async def test_a_probe_published_under_another_name_is_an_alert(deployment: Deployment) -> None:
    """Negative control: the checks of the test above see a probe that is not recognised."""
    settings = deployment.settings
    worker = await deployment.worker().start().ready()
    async with writer(settings) as out, public_counts(settings) as counts:
        for event_type in (PROBES, "(probes) ", "(Probes)"):
            value = orjson.dumps({"event_type": event_type, "priority": "CRITICAL", "payload": {}})
            await out.raw(settings.notification_topic(Priority.CRITICAL), value)
        await counts.reach(Counts({("CRITICAL", PROBES): 2, ("CRITICAL", "(Probes)"): 1}))
    await worker.stop()
    alerts = await read_all(settings.brokers, settings.alert_topic("critical"))
    assert [orjson.loads(alert.value)["labels"]["alertname"] for alert in alerts] == ["(Probes)"]
    out.published.forwarded.update(CRITICAL=set(), ERROR=set())
    with pytest.raises(AssertionError, match="not known"):
        await check_forwards(settings, out.published, repeats=False)
    # Whoever probes while others do is told.
    assert len(await read_all(settings.brokers, settings.internal_topic("probes"))) == 2


async def test_probe_says_when_nobody_answers(deployment: Deployment) -> None:
    settings = deployment.settings
    missing = await asyncio.to_thread(probe, deployment)
    assert missing.returncode == 78, missing
    assert b"tocsin topics apply" in missing.stderr

    worker = await deployment.worker().start().ready()
    await worker.stop()
    arguments = ("--rate", "10", "--seconds", "1", "--wait", "1")
    ended = await asyncio.to_thread(probe, deployment, *arguments)
    assert ended.returncode == 1, ended
    assert b"none of 10 probes was answered within 1 s; start workers" in ended.stdout
    assert b"never" in ended.stdout
    as_json = await asyncio.to_thread(probe, deployment, "--json", *arguments)
    assert as_json.returncode == 1
    report = orjson.loads(as_json.stdout)
    assert (report["ok"], report["alert"]["p99_ms"], report["alert"]["undelivered"]) == (False, None, 10)
    assert report["silent_partitions"] == {"0": 3, "1": 3, "2": 2, "3": 2}

    # What was not answered then is later, by whoever takes over; nobody takes it for an alert.
    await worker.start().ready()
    async with public_counts(settings) as counts:
        await counts.reach(Counts({("CRITICAL", PROBES): 20 + 2 * PARTITIONS}))
    await worker.stop()
    assert await read_all(settings.brokers, settings.alert_topic("critical")) == []
    assert len(keys_of(PARTITIONS, 100)) == PARTITIONS


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"forward_priorities": "error"}, b"TOCSIN_FORWARD_PRIORITIES"),
        ({"priorities": "error,warn"}, b"TOCSIN_PRIORITIES"),
        ({"brokers": "127.0.0.1:1"}, b"start Kafka"),
    ],
)
def test_wrong_configuration_is_one_sentence(
    deployment: Deployment, values: dict[str, str], words: bytes
) -> None:
    deployment.configure(**values)
    ended = probe(deployment)
    assert ended.returncode == 78, ended
    assert words in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


@pytest.mark.parametrize("arguments", [["--rate", "1000"], ["--seconds", "0"], ["--max-p99-ms", "0"]])
def test_limits_of_the_options_are_wrong_usage(deployment: Deployment, arguments: list[str]) -> None:
    assert probe(deployment, *arguments).returncode == 2
