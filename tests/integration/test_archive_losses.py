"""What brokers lose is told, by the log, by marks in the archive and by a replay; all else is archived."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import RecordsToDelete

from streams.archive.replay import ArchiveFiles
from streams.notifications import Priority
from tests.admin import admin_of, apply_topics
from tests.breakable_kafka import BreakableKafka
from tests.cut_logs import cut, end_of
from tests.integration.archiving import (
    archiver,
    caught_up,
    files,
    in_files,
    kept,
    kept_now,
    publish_values,
    published,
    ready,
    replayed,
)
from tests.integration.test_corrupt_batches import SIZE, damage, publish
from tests.integration.worker_process import PARTITIONS, Deployment, eventually
from tests.shared_kafka import START_S

pytestmark = pytest.mark.kafka


def _marks(folder: Path) -> list[tuple[int, str]]:
    """What the archive says it has not."""
    lost: list[tuple[int, str]] = []
    list(ArchiveFiles(files(folder), lambda *each: lost.append(each), lambda _: None).records())
    return lost


def _places(found: ArchiveFiles) -> Counter[tuple[str, int, int]]:
    return Counter((each.topic, each.partition, each.offset) for each in found.records())


async def test_a_corrupt_batch_is_stepped_over_and_marked(
    own_deployment: Deployment, own_kafka: BreakableKafka, tmp_path: Path
) -> None:
    folder = tmp_path / "archive"
    settings = own_deployment.settings
    await apply_topics(settings)
    topic = settings.notification_topic(Priority.CRITICAL)
    await publish(settings.brokers, topic, range(PARTITIONS), 10)
    await damage(own_kafka, (topic, 3, "value", SIZE * 4))
    one = archiver(own_deployment, folder, "one").start()
    await ready(folder, one)
    await publish(settings.brokers, topic, range(PARTITIONS), 2)
    await caught_up(own_deployment)
    await one.stop()
    said = [line for line in one.log().splitlines() if "cannot be read" in line]
    assert len(said) == 1, said
    assert f"The offsets {SIZE * 4} to {SIZE * 5 - 1} of {topic}, partition 3" in said[0]
    assert said[0].endswith("The archive has a mark in the place of each.")
    ((number, mark),) = _marks(folder)
    assert (number, mark.partition(":")[0]) == (5, f"{topic}, partition 3, offset 20 to 24")
    whole = {(topic, partition, offset) for partition in range(PARTITIONS) for offset in range(SIZE * 12)}
    found = _places(ArchiveFiles(files(folder), lambda *_: None, lambda _: None))
    assert found == Counter(whole - {(topic, 3, offset) for offset in range(20, 25)})
    own_deployment.configure(notification_topic_prefix=f"{own_deployment.unique}.again.")
    await apply_topics(own_deployment.settings)
    code, report, said_by_replay = await replayed(own_deployment, files(folder))
    assert (code, report["published"], report["failed"]) == (1, len(whole) - 5, 5)
    assert mark in said_by_replay


async def test_what_was_deleted_before_it_was_archived_is_marked(
    deployment: Deployment, tmp_path: Path
) -> None:
    folder = tmp_path / "archive"
    settings = deployment.settings
    await apply_topics(settings)
    topic = settings.notification_topic(Priority.ERROR)

    async def delete_before(offset: int) -> None:
        async with admin_of(settings.brokers) as admin:
            await admin.delete_records({TopicPartition(topic, 1): RecordsToDelete(offset)})

    one = archiver(deployment, folder, "one", instance=True).start()
    await ready(folder, one)
    await publish_values(settings, topic, "read", 40)
    await caught_up(deployment)
    # Of what was archived already nothing is missing.
    await delete_before(10)
    await one.stop()
    await publish_values(settings, topic, "deleted while it is away", 40)
    await delete_before(15)
    one.start()
    await ready(folder, one)
    await caught_up(deployment)
    assert one.log().count("were deleted before they were archived (offsets 10 to 14)") == 1
    await one.freeze()
    await publish_values(settings, topic, "deleted while it is asleep", 40)
    await delete_before(30)  # all of them
    one.thaw()
    await eventually("it says so", lambda: "to 29)" in one.log())
    await publish_values(settings, topic, "later", 8)
    await caught_up(deployment)
    await one.stop()
    assert one.log().count("were deleted before they were archived") == 2
    # The answer to a fetch may have been on its way when it fell asleep.
    whole = {(topic, partition, offset) for partition in range(PARTITIONS) for offset in range(32)}
    found = _places(ArchiveFiles(files(folder), lambda *_: None, lambda _: None))
    first, second = _marks(folder)
    assert (first[0], first[1].partition(":")[0]) == (5, f"{topic}, partition 1, offset 10 to 14")
    missing = {(topic, 1, offset) for offset in [*range(10, 15), *range(30 - second[0], 30)]}
    assert second[1].startswith(f"{topic}, partition 1, offset {30 - second[0]} to 29: ")
    assert second[0] >= 8
    assert found == Counter(whole - missing)


async def test_a_log_that_has_lost_its_end_is_archived_again(
    own_deployment: Deployment, own_kafka: BreakableKafka, tmp_path: Path
) -> None:
    """Of what has other records now, both are in the archive; of the rest, no record is there twice."""
    settings = own_deployment.settings
    await apply_topics(settings)
    topic = settings.notification_topic(Priority.WARN)
    folders: dict[str, Path] = {how: tmp_path / how for how in ("stopped", "asleep")}
    archivers: dict[str, Any] = {
        how: archiver(own_deployment, folder, how, "--group", f"{settings.app_id}-{how}", instance=True)
        for how, folder in folders.items()
    }

    async def all_archived(number: int) -> None:
        for folder in folders.values():
            await eventually(
                f"{number} in {folder.name}",
                lambda folder=folder: kept_now(folder).total() >= number,  # type: ignore[misc]
            )

    for how, each in archivers.items():
        each.start()
        await ready(folders[how], each)
    await publish_values(settings, topic, "former", 100)
    await all_archived(100)
    before = await published(settings)
    await archivers["stopped"].stop()
    await archivers["asleep"].freeze()
    own_kafka.kill()
    for partition in range(PARTITIONS):
        cut(own_kafka.data_dir, topic, partition, 12)
        assert end_of(own_kafka.data_dir, topic, partition) == 12
    own_kafka.start(timeout=START_S)
    # More than were lost: no offset is out of range.
    await publish_values(settings, topic, "later", 100)
    archivers["stopped"].start()
    archivers["asleep"].thaw()
    await all_archived(200)
    after = await published(settings)
    for how, each in archivers.items():
        await each.stop()
        assert each.log().count("has lost its end, and others are there now") == PARTITIONS, how
        assert kept(*files(folders[how])) == before | after, how
        assert in_files(*files(folders[how]))[1] >= 12 * PARTITIONS
