"""`tocsin verify` on a real Kafka: agrees while workers go on, and finds what is falsified."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from itertools import islice
from typing import Any

import orjson
import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin.records_to_delete import RecordsToDelete

from streams.notifications import Priority
from streams.settings import Settings
from tables.public_rows import decode_key
from tables.reserved_types import DEAD_LETTERS
from tables.rows import bucket_in
from tests import children
from tests.admin import PATIENT, admin_of
from tests.integration.reading import (
    Counts,
    all_committed,
    end_offsets,
    public_counts,
    read_all,
    stop_combined,
)
from tests.integration.worker_process import (
    BOUND_S,
    PARTITIONS,
    ROOT,
    SHORT_SESSION_TIMEOUT_S,
    Deployment,
    eventually,
)
from tests.integration.writing import Writer, made_load, writer

pytestmark = pytest.mark.kafka


async def verify(deployment: Deployment, *arguments: str) -> tuple[int, dict[str, Any]]:
    """Exit code and report; without a ``--wait`` it waits for as long as a busy machine may need."""

    def run() -> subprocess.CompletedProcess[bytes]:
        return children.run(
            [sys.executable, "-m", "tocsin", "verify", "--json", "--wait", "150", *arguments],
            cwd=ROOT,
            env=deployment.environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=2 * BOUND_S,
        )

    ended = await asyncio.to_thread(run)
    assert ended.stdout, ended
    return ended.returncode, orjson.loads(ended.stdout)


async def publish_bad_ones(out: Writer, settings: Settings) -> int:
    """Records that cannot be read, in each topic; returns how many."""
    bad = [None, b"", b"{", b"[]", b"\xff", orjson.dumps({"event_type": ""}), orjson.dumps("text")]
    for priority in settings.priorities:
        for value in bad:
            await out.raw(settings.notification_topic(priority), value)
    return len(bad) * len(settings.priorities)


async def publish(settings: Settings, topic: str, partition: int, key: bytes, value: bytes) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=settings.brokers, acks="all", **PATIENT)
    await producer.start()
    try:
        await producer.send_and_wait(topic, value, key=key, partition=partition)
    finally:
        await producer.stop()


async def counted_load(deployment: Deployment, count: int) -> Counts:
    """Publish, have it counted and committed, and stop the worker."""
    settings = deployment.settings
    worker = await deployment.worker().start().ready()
    async with writer(settings) as out, public_counts(settings) as counts:
        await out.made(made_load(seed=11, count=count))
        await counts.reach(out.published.counts)
        await eventually("the ends are committed", lambda: all_committed(settings))
    await stop_combined(worker, settings)
    return out.published.counts


async def test_verify_agrees_while_workers_and_traffic_go_on(deployment: Deployment) -> None:
    deployment.configure(session_timeout_s=f"{SHORT_SESSION_TIMEOUT_S}")
    settings = deployment.settings
    worker = await deployment.worker().start().ready()
    async with writer(settings) as out, public_counts(settings) as counts:
        bad = await publish_bad_ones(out, settings)
        await out.made(made_load(seed=3, count=2000))
        async with out.steadily(made_load(seed=4), rate=1000):
            for _ in range(3):
                code, report = await verify(deployment)
                assert (code, report["agree"], report["differences"]) == (0, True, []), report
                assert report["records"] > 2000
                assert report["partitions"] == PARTITIONS * len(settings.priorities)
                assert report["covered_from"] == {}
            # A worker that crashes leaves nothing that differs, neither before nor after its replay.
            worker.kill()
            code, report = await verify(deployment, "--wait", "1")
            assert (report["lost"], report["too_many"], report["public_differences"]) == (0, 0, 0), report
            await worker.start().ready()
            code, report = await verify(deployment)
            assert (code, report["differences"]) == (0, []), report
        await counts.reach(
            out.published.counts
            + Counts({(p.value, DEAD_LETTERS): bad // len(settings.priorities) for p in settings.priorities})
        )
        await eventually("the ends are committed", lambda: all_committed(settings))
        total = out.published.counts.total()
    await stop_combined(worker, settings)
    code, report = await verify(deployment)
    assert (code, report["agree"]) == (0, True), report
    assert (report["records"], report["dead_letters"]) == (total + bad, bad)
    assert f"each of {total + bad:,} records is counted once, {bad} of them as dead" in report["sentences"][0]


async def test_verify_finds_a_falsified_row_and_a_falsified_public_count(deployment: Deployment) -> None:
    """Negative control: counts that are wrong by one, each way."""
    settings = deployment.settings
    await counted_load(deployment, 1000)
    assert (await verify(deployment))[0] == 0

    changelog = settings.internal_topic("partial-counts-changelog")
    rows = {
        (record.partition, record.key): record.value
        for record in await read_all(settings.brokers, changelog)
        if record.key.startswith(b"r/") and b"/0010/" in record.key and record.value is not None
    }
    ((partition, key), value), *_ = sorted(rows.items())
    body = orjson.loads(value[8:])
    event_type, entry = next(iter(body.items()))
    for change, lost, too_many in ((+2, 0, 2), (-1, 1, 0)):
        false = body | {event_type: [entry[0] + change, *entry[1:]]}
        await publish(settings, changelog, partition, key, value[:8] + orjson.dumps(false))
        code, report = await verify(deployment)
        assert (code, report["lost"], report["too_many"], report["public_differences"]) == (
            1,
            lost,
            too_many,
            0,
        )
        (difference,) = report["differences"]
        assert difference["where"].endswith(f"/{partition}")
        assert difference["event_type"] == event_type
        assert (difference["published"], difference["counted"]) == (entry[0], entry[0] + change)
    await publish(settings, changelog, partition, key, value)
    # Below another offset the row counts fewer records, and what lies above it is committed and lost.
    older = (int.from_bytes(value[:8], "big") - 1).to_bytes(8, "big")
    await publish(settings, changelog, partition, key, older + value[8:])
    assert (await verify(deployment))[0] == 0, "committed records are expected whatever the row's offset is"
    await publish(settings, changelog, partition, key, value)
    assert (await verify(deployment))[0] == 0

    public = {
        (record.partition, record.key): record.value
        for record in await read_all(settings.brokers, settings.event_counts_topic)
        if decode_key(record.key).resolution_s == 10 and record.value is not None
    }
    ((partition, key), value), *_ = sorted(public.items())
    body = orjson.loads(value)
    event_type, number = next(iter(body["counts"].items()))
    for change in (+1, -1):
        false = body | {"counts": body["counts"] | {event_type: number + change}}
        await publish(settings, settings.event_counts_topic, partition, key, orjson.dumps(false))
        code, report = await verify(deployment)
        assert (code, report["lost"], report["too_many"], report["public_differences"]) == (1, 0, 0, 1)
        (difference,) = report["differences"]
        assert difference["where"] == settings.event_counts_topic
        assert (difference["published"], difference["counted"]) == (number, number + change)
    assert "1 public count differs" in report["sentences"][0]
    assert bucket_in(sorted(rows)[0][1]) > 0


async def test_verify_says_what_retention_has_left(deployment: Deployment) -> None:
    settings = deployment.settings
    await counted_load(deployment, 3000)
    topic = settings.notification_topic(Priority.DEBUG)
    ends = await end_offsets(settings.brokers, topic)
    async with admin_of(settings.brokers) as admin:
        trimmed = {TopicPartition(topic, 1): RecordsToDelete(ends[TopicPartition(topic, 1)] // 2)}
        trimmed[TopicPartition(topic, 2)] = RecordsToDelete(ends[TopicPartition(topic, 2)])
        await admin.delete_records(trimmed)
    code, report = await verify(deployment)
    assert (code, report["differences"]) == (0, []), report
    assert report["covered_from"].keys() == {f"{topic}/1", f"{topic}/2"}
    # What was deleted may have been dated up to ten minutes ahead of the oldest record that is left.
    assert report["covered_from"][f"{topic}/1"] > report["from"]
    assert report["covered_from"][f"{topic}/2"] is None
    assert "2 of 20 partitions (10 %) have lost records of this time to retention" in report["sentences"][2]

    # Too low a count is still found where records are left; too high a one cannot be told from retention.
    changelog = settings.internal_topic("partial-counts-changelog")
    source = {
        (record.partition, record.key): record.value
        for record in await read_all(settings.brokers, changelog)
        if record.key.startswith(b"r/") and b"/0010/" in record.key and record.value is not None
    }
    for (partition, key), value in source.items():
        if partition == 1:
            await publish(settings, changelog, partition, key, value[:8] + b"{}")
    code, report = await verify(deployment)
    assert code == 1
    assert report["lost"] > 0
    assert report["too_many"] == 0
    assert {each["where"].rsplit("/", 1)[1] for each in report["differences"]} == {"1"}


async def test_verify_says_when_nobody_combines(deployment: Deployment) -> None:
    settings = deployment.settings
    missing, _ = await run_text(deployment)
    assert missing == 78
    await counted_load(deployment, 100)
    await publish(settings, settings.internal_topic("partials"), 0, b"", b'{"v":1,"parts":[]}')
    code, report = await verify(deployment, "--wait", "0.5")
    assert (code, report["agree"], report["waiting_to_be_combined"]) == (1, False, 1)
    assert "1 message is not combined yet" in report["sentences"][0]
    code, text = await run_text(deployment, "--wait", "0.5")
    assert code == 1
    assert "cannot be compared" in text


async def test_usage(deployment: Deployment) -> None:
    assert (await run_text(deployment, "--since", "3h"))[0] == 2
    assert (await run_text(deployment, "--since", "soon"))[0] == 2
    deployment.configure(brokers="127.0.0.1:1")
    assert (await run_text(deployment))[0] == 78


async def run_text(deployment: Deployment, *arguments: str) -> tuple[int, str]:
    """Exit code and what is said."""
    ended = await asyncio.to_thread(
        children.run,
        [sys.executable, "-m", "tocsin", "verify", *arguments],
        cwd=ROOT,
        env=deployment.environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=BOUND_S,
    )
    return ended.returncode, ended.stdout.decode() + ended.stderr.decode()


async def delete_before(settings: Settings, topic: str, left: int) -> int:
    """Delete all but the last records of each partition, as retention does; returns how many are gone."""
    ends = await end_offsets(settings.brokers, topic)
    async with admin_of(settings.brokers) as admin:
        await admin.delete_records(
            {tp: RecordsToDelete(before_offset=end - left) for tp, end in ends.items()}
        )
    return sum(end - left for end in ends.values())


async def test_what_retention_took_unread_is_said_counted_and_told(deployment: Deployment) -> None:
    """A crash of the worker that finds the hole counts nothing twice."""
    settings = deployment.settings
    topic = settings.notification_topic(Priority.INFO)
    read = 0

    async def publish_some(number: int) -> None:
        async with writer(settings) as out:
            await out.made(made for made in islice(infos, number))

    infos = (made for made in made_load(seed=41) if made.priority == Priority.INFO)
    worker = await deployment.worker().start().ready()
    await publish_some(400)
    await eventually("the ends are committed", lambda: all_committed(settings))
    await stop_combined(worker, settings)
    read = 400

    # Not reached yet: a worker has nothing to say, and verify has.
    await publish_some(2000)
    gone = await delete_before(settings, topic, 10) - read
    code, report = await verify(deployment)
    assert (code, report["never_read"]) == (0, {"INFO": gone}), report
    assert any("before a worker had read them" in sentence for sentence in report["sentences"])

    await worker.start().ready()
    await eventually("the ends are committed", lambda: all_committed(settings))
    said = [line for line in worker.log().splitlines() if "were deleted before they were read" in line]
    assert len(said) == PARTITIONS
    assert all("WARNING" in line and f"of {topic}, partition" in line for line in said)
    assert sum(int(re.search(r": (\d+) records? of", line)[1]) for line in said) == gone
    metrics = worker.get("/metrics")[1].decode()
    assert f'tocsin_records_never_read_total{{priority="INFO"}} {gone}' in metrics
    assert 'tocsin_records_never_read_total{priority="ERROR"} 0' in metrics
    code, report = await verify(deployment)
    assert (code, report["never_read"], report["differences"]) == (0, {"INFO": gone}, []), report

    # The worker is killed before it has committed anything behind the hole, or just after.
    worker.kill()
    ends = await end_offsets(settings.brokers, topic)
    await publish_some(2000)
    everything = await delete_before(settings, topic, 10)
    gone += everything - sum(ends.values())
    worker.start()
    await eventually("it is said", lambda: "were deleted before they were read" in worker.log())
    worker.kill()
    await worker.start().ready()
    await eventually("the ends are committed", lambda: all_committed(settings))
    code, report = await verify(deployment)
    assert (code, report["never_read"], report["differences"]) == (0, {"INFO": gone}, []), report
    async with public_counts(settings) as counts:

        async def all_counted() -> bool:
            return (await counts.refresh()).total() == read + 2 * 10 * PARTITIONS

        await eventually("what was left is counted once", all_counted)
    await worker.stop()
