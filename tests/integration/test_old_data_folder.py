"""Data folders that belong to another cluster, or are ahead of it: nothing of them is taken for one's own."""

from __future__ import annotations

import shutil
import time
from collections import Counter
from pathlib import Path

import pytest

from streams.notifications import Priority
from streams.notifications.encoding import encode
from tests.breakable_kafka import BreakableKafka
from tests.cut_logs import cut, end_of
from tests.integration.reading import Counts, all_committed, counts_at_rest, public_counts
from tests.integration.worker_process import PARTITIONS, Deployment, eventually
from tests.integration.writing import writer
from tests.long_form import in_the_long_form
from tests.shared_kafka import START_S
from tocsin.local_kafka.cluster import LocalKafka

pytestmark = pytest.mark.kafka


async def publish(deployment: Deployment, event_type: str, number: int, expected: Counts) -> None:
    """Publish WARN notifications, one a batch, and add them to ``expected``."""
    topic = deployment.settings.notification_topic(Priority.WARN)
    async with writer(deployment.settings) as out:
        for index in range(number):
            now_ms = int(time.time() * 1000)
            await out.raw(
                topic, encode("host", event_type, Priority.WARN, {}, now_ms, f"{event_type}{index}")
            )
    expected["WARN", event_type] += number


async def count(deployment: Deployment, event_type: str, number: int, expected: Counts) -> None:
    """Publish so, and wait until all of ``expected`` and they are counted."""
    settings = deployment.settings
    await publish(deployment, event_type, number, expected)
    async with public_counts(settings) as counts:
        await counts.reach(expected)
    await eventually("all is committed", lambda: all_committed(settings))


def set_aside(deployment: Deployment) -> list[Path]:
    return sorted(deployment.folder.rglob("*.other-*"))


@pytest.mark.xdist_group("two-clusters")
@pytest.mark.parametrize(
    ("before", "after"), [(30, 400), *in_the_long_form((300, 30))], ids=["longer", "shorter"]
)
async def test_a_kafka_that_was_reset_under_an_old_data_folder(
    file_kafka: LocalKafka, deployment: Deployment, before: int, after: int
) -> None:
    """The new changelogs end before the old offset, or go past it before the old folder is used again.

    A Kafka that was reset is another one, where nothing of these topics lies.
    """
    worker = await deployment.worker("old").start().ready()
    await count(deployment, "old", before, Counter())
    await worker.stop()
    deployment.configure(brokers=file_kafka.bootstrap)
    expected: Counts = Counter()
    # Another worker counts there first, so that there is something to be taken for one's own.
    other = await deployment.worker("new").start().ready()
    await count(deployment, "new", after, expected)
    await other.stop()
    worker = await deployment.worker("old").start().ready()
    assert len(set_aside(deployment)) == PARTITIONS + 1, worker.log()
    assert "is no copy of the topic" in worker.log()
    await count(deployment, "later", 20, expected)
    await worker.stop()
    # What was set aside is not looked at again, and the new copies are taken.
    await worker.start().ready()
    assert len(set_aside(deployment)) == PARTITIONS + 1
    await count(deployment, "last", 20, expected)
    await worker.stop()


@pytest.mark.xdist_group("two-clusters")
@pytest.mark.parametrize(
    ("before", "after"), [(30, 400), *in_the_long_form((300, 30))], ids=["longer", "shorter"]
)
async def test_without_the_check_an_old_data_folder_is_believed(
    file_kafka: LocalKafka, deployment: Deployment, before: int, after: int
) -> None:
    """The control: it ends at every start, or counts what the other cluster had."""
    trusting = ["tests.integration.trusting_worker", "worker"]
    worker = await deployment.worker("old", command=trusting).start().ready()
    await count(deployment, "a", before, Counter())
    await worker.stop()
    deployment.configure(brokers=file_kafka.bootstrap)
    expected: Counts = Counter()
    other = await deployment.worker("new").start().ready()
    await count(deployment, "a", after, expected)
    await other.stop()
    worker = deployment.worker("old", command=trusting).start()
    # Which of both, the number of flushes decides.
    await eventually("it ends, or works", lambda: not worker.runs or "Working on" in worker.log())
    if not worker.runs:
        assert await worker.ended() == 1
        assert "ConsistencyError" in worker.log()
        return
    await worker.ready()
    # What the other worker wrote before that offset was never read, so its counts are not gone on from.
    await publish(deployment, "a", 40, expected)
    await eventually("all is committed", lambda: all_committed(deployment.settings))
    await worker.stop()
    assert (await counts_at_rest(deployment.settings)).now() != expected


@pytest.mark.parametrize("how", ["stopped", "running", *in_the_long_form("without-folder")])
async def test_changelogs_that_lost_their_end(
    own_kafka: BreakableKafka, own_deployment: Deployment, how: str
) -> None:
    """What was committed is counted again from the rows that are left; who runs writes all rows again."""
    settings = own_deployment.settings
    expected: Counts = Counter()
    worker = await own_deployment.worker().start().ready()
    await count(own_deployment, "a", 100, expected)
    if how != "running":
        await worker.stop()
    own_kafka.kill()
    for table in ("partial-counts", "combined-counts"):
        topic = settings.internal_topic(f"{table}-changelog")
        for number in range(PARTITIONS):
            end = end_of(own_kafka.data_dir, topic, number)
            cut(own_kafka.data_dir, topic, number, max(1, end // 2))
    own_kafka.start(timeout=START_S)
    if how == "without-folder":
        shutil.rmtree(own_deployment.folder / "worker")
    if how != "running":
        worker.start()
    await worker.ready()
    await count(own_deployment, "a", 50, expected)
    if how == "stopped":
        assert set_aside(own_deployment)
    if how == "running":
        assert "all its rows are written again" in worker.log()
    else:
        assert "was committed, and its counts end at" in worker.log()
    # What is in the changelogs now is enough for another worker, on another disk.
    await worker.stop()
    other = await own_deployment.worker("other").start().ready()
    await count(own_deployment, "a", 50, expected)
    await other.stop()
