"""Topics that are deleted and made again under archivers: of neither is a record missing."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import UnknownTopicOrPartitionError

from streams.notifications import Priority
from streams.settings import Settings
from tests.admin import admin_of, apply_topics
from tests.integration.archiving import (
    Content,
    archiver,
    caught_up,
    files,
    is_ready,
    kept,
    publish_values,
    published,
    ready,
    replayed,
)
from tests.integration.test_topic_changes import delete, make
from tests.integration.worker_process import Deployment, eventually

pytestmark = pytest.mark.kafka


async def _commits(settings: Settings) -> Any:
    """What the archivers have committed, with what was committed with it."""
    async with admin_of(settings.brokers) as admin:
        return await admin.list_consumer_group_offsets(f"{settings.app_id}-archive")


async def _remade(deployment: Deployment, folder: Path, command: list[str]) -> Counter[Content]:
    """What is missing when a topic was made again while the archiver was away, and its commits are there.

    Kafka forgets the commits of a topic that is deleted, but one that comes later, or while its coordinator
    is away, is there.
    """
    settings = deployment.settings
    await apply_topics(settings)
    topic = settings.notification_topic(Priority.WARN)
    one = archiver(deployment, folder, "one", command=command).start()
    await ready(folder, one)
    await publish_values(settings, topic, "former", 40)
    await caught_up(deployment)
    former = await published(settings)
    await one.stop()
    commits = {tp: each for tp, each in (await _commits(settings)).items() if tp.topic == topic}
    async with admin_of(settings.brokers) as admin:
        await delete(admin, topic)
        await make(admin, topic)

    async def committed_late() -> bool:
        async with AIOKafkaConsumer(
            bootstrap_servers=settings.brokers,
            group_id=f"{settings.app_id}-archive",
            enable_auto_commit=False,
        ) as late:
            late.assign(list(commits))
            try:
                await late.commit(commits)
            except UnknownTopicOrPartitionError:
                return False  # the broker has just made it
        return True

    await eventually("what comes late is committed", committed_late)
    # As many and more, so that the old offsets are there.
    await publish_values(settings, topic, "later", 80)
    one.start()
    await caught_up(deployment)
    await one.stop()
    return former + await published(settings) - kept(*files(folder))


async def test_a_topic_made_again_while_nobody_archives_is_archived_from_its_first_record(
    deployment: Deployment, tmp_path: Path
) -> None:
    folder = tmp_path / "archive"
    assert await _remade(deployment, folder, ["tocsin", "archive"]) == Counter()
    (one,) = deployment.workers
    assert one.log().count("was deleted and made again: it is archived from its first record on") == 1
    # Both are replayed.
    deployment.configure(notification_topic_prefix=f"{deployment.unique}.again.")
    await apply_topics(deployment.settings)
    code, report, said = await replayed(deployment, files(folder))
    assert (code, report["published"]) == (0, 120), said


async def test_an_archiver_that_commits_no_ids_skips_the_first_records(
    deployment: Deployment, tmp_path: Path
) -> None:
    """The negative control."""
    missing = await _remade(deployment, tmp_path / "archive", ["tests.integration.nameless_archiver"])
    assert {each[4] for each in missing} == {b"later %d" % index for index in range(40)}


async def test_a_topic_made_again_under_two_archivers(deployment: Deployment, tmp_path: Path) -> None:
    folder = tmp_path / "archive"
    settings = deployment.settings
    await apply_topics(settings)
    topic = settings.notification_topic(Priority.WARN)
    both = [archiver(deployment, folder, name).start() for name in ("one", "two")]
    await ready(folder, *both)
    await publish_values(settings, topic, "former", 40)
    await caught_up(deployment)
    former = await published(settings)
    async with admin_of(settings.brokers) as admin:
        await delete(admin, topic)
        await eventually("they are not ready", lambda: not any(is_ready(folder, each) for each in both))
        await make(admin, topic)
    await publish_values(settings, topic, "later", 60)
    await caught_up(deployment)
    await ready(folder, *both)
    for each in both:
        await each.stop()
    assert kept(*files(folder)) == former + await published(settings)
