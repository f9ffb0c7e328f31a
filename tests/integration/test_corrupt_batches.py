"""A batch that has changed on a broker's disk goes to the dead letters, and nobody else notices."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from typing import Any

import aiokafka
import orjson
import pytest
from aiokafka import TopicPartition
from aiokafka.admin import NewTopic
from aiokafka.errors import CorruptRecordException
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from streams.dead_letters.letters import parse
from streams.notifications import Priority, Reason, encode
from streams.records import UnreadableRecord
from streams.scheduling.scheduler import ClassSpec, Scheduler
from streams.settings import Settings
from streams.transport.fetch_lane import FetchLane
from streams.upstream.topic_ids import fetch_topics
from tables.reserved_types import DEAD_LETTERS
from tests import children
from tests.admin import PATIENT, admin_of, apply_topics, create_topics
from tests.integration.reading import (
    all_committed,
    counts_at_rest,
    difference,
    public_counts,
    read_all,
    stop_combined,
)
from tests.integration.segments import FLIPS, flip
from tests.integration.worker_process import BOUND_S, PARTITIONS, ROOT, Deployment, eventually
from tests.integration.writing import made_load, writer
from tests.long_form import in_the_long_form
from tocsin.local_kafka.cluster import LocalKafka

pytestmark = [pytest.mark.kafka, pytest.mark.xdist_group("corrupt-batches")]

#: Records of a batch, batches of a partition, and which one is damaged.
SIZE, BATCHES, BAD = 5, 40, 6
#: Where a broker does not find the batches behind it: there it goes on with the next one in its index.
UNFOUND = {"length", "length, by far"}


async def publish(
    bootstrap: str, topic: str, partitions: Iterable[int], batches: int, *, event_type: str = "e"
) -> None:
    """Publish batches of CRITICAL notifications, each of a known number of records."""
    async with aiokafka.AIOKafkaProducer(bootstrap_servers=bootstrap, **PATIENT) as producer:
        for partition in partitions:
            for number in range(batches):
                batch = producer.create_batch()
                for index in range(SIZE):
                    value = encode("p", event_type, Priority.CRITICAL, {}, 0, f"{number}.{index}")
                    batch.append(timestamp=None, key=None, value=value)
                batch.close()
                await (await producer.send_batch(batch, topic, partition=partition))


async def damage(kafka: LocalKafka, *places: tuple[str, int, str, int]) -> None:
    """Change what the broker has on its disk."""
    for place in places:
        await asyncio.to_thread(flip, kafka.data_dir, *place)


# --- A lane ----------------------------------------------------------------------------------------


def topic_of(unique: str, what: str) -> str:
    return f"{unique}.{''.join(filter(str.isalpha, what))}"


async def all_of(bootstrap: str, topic: str, topic_id: str, start: int = 0) -> list[Any]:
    """What a lane reads of partition 0 from an offset on, until all there is was read."""
    scheduler: Scheduler[Priority, int, Any] = Scheduler([ClassSpec(Priority.CRITICAL, 1.0, 0, 2**20)])
    failed: list[BaseException] = []
    lane = FetchLane(
        Priority.CRITICAL,
        topic,
        scheduler,
        {"bootstrap_servers": bootstrap},
        fetch_bytes=2**18,
        on_records=lambda: None,
        on_failed=failed.append,
    )
    taken: list[Any] = []

    def done() -> bool:
        while (dispatch := scheduler.next()) is not None:
            taken.extend(dispatch.records)
            scheduler.done(dispatch, 0.001)
        lane.has_room()
        return failed != [] or lane.positions[0] >= SIZE * BATCHES

    await lane.assign({0: start}, topic_id)
    try:
        await eventually(f"all of {topic} is read", done)
    finally:
        await lane.revoke()
    assert failed == []
    return taken


async def test_whatever_has_changed_each_offset_is_read_or_told_once(
    file_kafka: LocalKafka, unique: str
) -> None:
    topics = {what: topic_of(unique, what) for what in FLIPS}
    await create_topics(file_kafka.bootstrap, *(NewTopic(topic, 1, 1) for topic in topics.values()))
    await asyncio.gather(*(publish(file_kafka.bootstrap, topic, [0], BATCHES) for topic in topics.values()))
    async with admin_of(file_kafka.bootstrap) as admin:
        ids = {name: found.topic_id for name, found in (await fetch_topics(admin, topics.values())).items()}
    await damage(file_kafka, *((topic, 0, what, SIZE * BAD) for what, topic in topics.items()))
    bad = set(range(SIZE * BAD, SIZE * (BAD + 1)))
    for what, topic in topics.items():
        # From the beginning, and as after a restart: from the batch, and from behind it.
        for start in (0, SIZE * BAD, SIZE * (BAD + 1)):
            found = await all_of(file_kafka.bootstrap, topic, ids[topic], start)
            assert [record.offset for record in found] == list(range(start, SIZE * BATCHES)), (what, start)
            told = {record.offset for record in found if isinstance(record, UnreadableRecord)}
            if what not in UNFOUND:
                assert told == bad - set(range(start)), (what, start)
            else:
                # Up to where the broker's index leads; half of the log at most.
                assert told == set(range(max(start, SIZE * BAD), max(told) + 1)), (what, start)
                assert len(told) < SIZE * BATCHES // 2, (what, start)


async def test_stock_aiokafka_never_gets_past_it(file_kafka: LocalKafka, unique: str) -> None:
    """The control."""
    await create_topics(file_kafka.bootstrap, NewTopic(unique, 1, 1))
    await publish(file_kafka.bootstrap, unique, [0], 3)
    await damage(file_kafka, (unique, 0, "value", SIZE))
    consumer = aiokafka.AIOKafkaConsumer(
        bootstrap_servers=file_kafka.bootstrap, auto_offset_reset="earliest", **PATIENT
    )
    await consumer.start()
    consumer.assign([TopicPartition(unique, 0)])
    consumer.seek(TopicPartition(unique, 0), SIZE)
    with pytest.raises(CorruptRecordException):
        await consumer.getmany(timeout_ms=int(1000 * BOUND_S))
    assert await consumer.position(TopicPartition(unique, 0)) == SIZE
    await consumer.stop()


# --- Workers ---------------------------------------------------------------------------------------


async def letters(settings: Settings) -> Counter[tuple[str, int, int]]:
    """The places of what went to the dead letters as corrupt."""
    found: Counter[tuple[str, int, int]] = Counter()
    for record in await read_all(settings.brokers, settings.dead_letter_topic):
        letter = parse(record.key, record.value, record.headers)
        assert letter is not None
        if letter.reason == Reason.CORRUPT_BATCH:
            found[letter.topic, letter.partition, letter.offset] += 1
    return found


async def forget_commits(settings: Settings) -> None:
    """Delete what the group has committed; it has no members."""
    admin = AdminClient({"bootstrap.servers": settings.brokers})

    def delete() -> bool:
        try:
            admin.delete_consumer_groups([settings.app_id])[settings.app_id].result()
        except KafkaException as error:  # a broker that has just started knows no group yet
            return bool(error.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND)
        return True

    await eventually("the group is deleted", lambda: asyncio.to_thread(delete))


async def test_workers_go_on_and_count_exactly(file_deployment: Deployment, file_kafka: LocalKafka) -> None:
    settings = file_deployment.settings
    await apply_topics(settings)
    topic = settings.notification_topic(Priority.CRITICAL)
    await publish(settings.brokers, topic, range(PARTITIONS), 10)
    await damage(file_kafka, (topic, 3, "value", SIZE * 4))
    worker = await file_deployment.worker().start().ready()
    # What comes to the neighbours meanwhile.
    await publish(settings.brokers, topic, range(PARTITIONS), 10, event_type="later")
    expected = Counter(
        {
            ("CRITICAL", "e"): SIZE * 10 * PARTITIONS - SIZE,
            ("CRITICAL", "later"): SIZE * 10 * PARTITIONS,
            ("CRITICAL", DEAD_LETTERS): SIZE,
        }
    )
    places = {(topic, 3, offset): 1 for offset in range(SIZE * 4, SIZE * 5)}
    async with public_counts(settings) as counts:
        await counts.reach(expected)
        await eventually("the ends are committed", lambda: all_committed(settings))
    assert await letters(settings) == places
    # What cannot be read rings as that.
    assert len(await read_all(settings.brokers, settings.alert_topic("critical"))) == expected.total()
    assert worker.log().count(f"The offsets {SIZE * 4} to {SIZE * 5 - 1} of {topic}, partition 3") == 1
    assert "Traceback" not in worker.log()
    await worker.stop()
    # All of it read once more, by one that knows nothing.
    await forget_commits(settings)
    again = await file_deployment.worker("again").start().ready()
    await eventually("the ends are committed", lambda: all_committed(settings))
    await again.stop()
    at_rest = await counts_at_rest(settings)
    assert at_rest.now() == expected, difference(at_rest.now(), expected)
    assert (await letters(settings)).keys() == places.keys()


@pytest.mark.parametrize("name", ["partials", *in_the_long_form("event-counts")])
async def test_readers_of_counts_pass_over_it_and_say_so(
    file_deployment: Deployment, file_kafka: LocalKafka, name: str
) -> None:
    settings = file_deployment.settings
    topic = settings.event_counts_topic if name == "event-counts" else settings.internal_topic(name)
    worker = await file_deployment.worker().start().ready()
    async with writer(settings) as out, public_counts(settings) as counts:
        await out.made(made_load(seed=61, count=500))
        await counts.reach(out.published.counts)
        await worker.stop()
    first = min(
        (record for record in await read_all(settings.brokers, topic)), key=lambda record: record.offset
    )
    await damage(file_kafka, (topic, first.partition, "value", first.offset))
    if name == "partials":
        # As one that had committed nothing of it.
        await forget_commits(settings)
    again = await file_deployment.worker("again").start().ready()
    said = f"of {topic}, partition {first.partition}, cannot be read (its checksum is wrong)"
    await eventually("it says so", lambda: said in again.log())
    async with public_counts(settings) as counts:
        await publish(settings.brokers, settings.notification_topic(Priority.CRITICAL), [0], 1)

        async def counted() -> bool:
            return (await counts.refresh())["CRITICAL", "e"] == SIZE

        if name == "partials":
            await eventually("later counts arrive", counted)
    await again.stop()
    assert (again.log().count(said), "Traceback" in again.log()) == (1, False)


async def test_a_changelog_that_is_corrupt_ends_the_start_with_one_sentence(
    file_deployment: Deployment, file_kafka: LocalKafka
) -> None:
    settings = file_deployment.settings
    worker = await file_deployment.worker().start().ready()
    async with writer(settings) as out, public_counts(settings) as counts:
        await out.made(made_load(seed=62, count=500))
        await counts.reach(out.published.counts)
        await worker.stop()
    changelog = settings.internal_topic("partial-counts-changelog")
    first = min(await read_all(settings.brokers, changelog), key=lambda record: record.offset)
    await damage(file_kafka, (changelog, first.partition, "value", first.offset))
    fresh = file_deployment.worker("fresh").start()
    assert await fresh.ended() == 1
    said = [line for line in fresh.log().splitlines() if "CRITICAL tocsin.app" in line]
    assert len(said) == 1, fresh.log()
    assert "is corrupt on a broker's disk" in said[0]
    assert changelog in said[0]
    assert "Traceback" not in fresh.log()
    # One that has the counts goes on.
    await worker.start().ready()
    await worker.stop()


# --- Commands --------------------------------------------------------------------------------------


async def tocsin(deployment: Deployment, *arguments: str) -> tuple[int, list[dict[str, Any]], list[str]]:
    """Exit code, what was printed, and the warnings."""

    def run() -> subprocess.CompletedProcess[bytes]:
        return children.run(
            [sys.executable, "-m", "tocsin", *arguments, "--json"],
            cwd=ROOT,
            env=deployment.environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=BOUND_S,
        )

    ended = await asyncio.to_thread(run)
    said = ended.stderr.decode()
    assert "Traceback" not in said
    warnings = [line for line in said.splitlines() if "WARNING" in line]
    return ended.returncode, [orjson.loads(line) for line in ended.stdout.splitlines()], warnings


async def test_verify_and_tail_pass_over_it_and_say_so(
    file_deployment: Deployment, file_kafka: LocalKafka
) -> None:
    settings = file_deployment.settings
    await apply_topics(settings)
    topic = settings.notification_topic(Priority.CRITICAL)
    await publish(settings.brokers, topic, range(PARTITIONS), 10)
    await damage(file_kafka, (topic, 3, "value", SIZE * 4))
    worker = await file_deployment.worker().start().ready()
    expected = Counter({("CRITICAL", "e"): SIZE * 10 * PARTITIONS - SIZE, ("CRITICAL", DEAD_LETTERS): SIZE})
    async with public_counts(settings) as counts:
        await counts.reach(expected)
        await eventually("the ends are committed", lambda: all_committed(settings))
    await stop_combined(worker, settings)
    # What the worker has met as corrupt is compared as the dead letters that it made.
    code, (report,), warnings = await tocsin(file_deployment, "verify")
    assert (code, report["agree"], report["differences"]) == (0, True, []), report
    assert (report["unreadable"], report["unreadable_with_dead_letters"]) == ({}, SIZE)
    assert report["dead_letters"] == SIZE
    (warning,) = warnings
    assert f"The offsets {SIZE * 4} to {SIZE * 5 - 1} of {topic}, partition 3, cannot be read" in warning
    number = SIZE * (10 * PARTITIONS - 1)
    code, lines, warnings = await tocsin(
        file_deployment, "tail", "notifications", "--from-beginning", "--count", str(number)
    )
    assert code == 0
    left = {(partition, offset) for partition in range(PARTITIONS) for offset in range(SIZE * 10)}
    left -= {(3, offset) for offset in range(SIZE * 4, SIZE * 5)}
    assert {(line["partition"], line["offset"]) for line in lines} == left
    assert warnings == [warning]
    # One that became corrupt after it was counted: whether it was counted rightly nobody can tell.
    await damage(file_kafka, (topic, 1, "value", SIZE * 2))
    code, (report,), warnings = await tocsin(file_deployment, "verify")
    assert (code, report["agree"], report["differences"]) == (1, False, []), report
    assert report["unreadable"] == {f"{topic}/1": SIZE}
    assert f"{SIZE} records are corrupt on a broker's disk, and no dead letters" in report["sentences"][0]
    assert len(warnings) == 2
    # The rows of counts themselves.
    rows = settings.event_counts_topic
    first = min(await read_all(settings.brokers, rows), key=lambda record: record.offset)
    await damage(file_kafka, (rows, first.partition, "value", first.offset))
    code, (report,), warnings = await tocsin(file_deployment, "verify")
    assert (code, report["agree"], len(warnings)) == (1, False, 3)
    (place,) = report["unreadable_rows"]
    assert place.startswith(f"{rows}/{first.partition}/{first.offset} to ")
