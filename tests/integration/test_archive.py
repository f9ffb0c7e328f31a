"""``tocsin archive`` and ``tocsin publish --raw`` as processes, on a real Kafka: all, whatever happens."""

from __future__ import annotations

import resource
from collections import Counter
from functools import partial
from pathlib import Path

import pytest

from streams.broker.topics import apply_topics
from streams.notifications import Priority
from tests.breakable_kafka import BreakableKafka
from tests.integration.archiving import (
    Content,
    archiver,
    caught_up,
    files,
    in_files,
    is_ready,
    kept,
    published,
    ready,
    replayed,
    tocsin,
)
from tests.integration.reading import all_committed, counts_at_rest, public_counts
from tests.integration.worker_process import Deployment, eventually
from tests.integration.writing import made_load, writer

pytestmark = pytest.mark.kafka

_ODD = b"\xff\x00 no UTF-8 \x80"


def _has_more(folder: Path, than: int) -> bool:
    return folder.exists() and kept(*files(folder)).total() > than


async def test_killed_under_load_the_files_hold_what_the_topics_do(
    deployment: Deployment, tmp_path: Path
) -> None:
    folder = tmp_path / "archive"
    await apply_topics(deployment.settings)
    async with writer(deployment.settings) as out:
        odd = deployment.settings.notification_topic(Priority.WARN)
        await out.raw(odd, _ODD, [("h", _ODD), ("h", b"text"), ("none", None)], key=_ODD)  # type: ignore[list-item]
        await out.raw(odd, None)
        archivers = [
            archiver(deployment, folder, name, "--roll-mib", "0.05", instance=name == "a").start()
            for name in "ab"
        ]
        async with out.steadily(made_load(seed=3)):
            for turn in range(2):
                before = kept(*files(folder)).total() if folder.exists() else 0
                await eventually("more is archived", partial(_has_more, folder, before))
                archivers[turn].kill()
                archivers[turn].start()
            await out.goes_on(100)
    await caught_up(deployment)
    for each in archivers:
        each.terminate()
        assert await each.ended() == 0, each.tail()
    assert kept(*files(folder)) == await published(deployment.settings)
    assert all(path.name.endswith(".jsonl.gz") for path in files(folder)), files(folder)


async def test_members_that_come_and_go_in_order_archive_each_record_once(
    deployment: Deployment, tmp_path: Path
) -> None:
    folder = tmp_path / "archive"
    await apply_topics(deployment.settings)
    async with writer(deployment.settings) as out:
        first = archiver(deployment, folder, "first").start()
        async with out.steadily(made_load(seed=7)):
            await ready(folder, first)
            second = archiver(deployment, folder, "second").start()
            await ready(folder, second)
            await out.goes_on(1500)
            await first.stop()
            await out.goes_on(1500)
            first.start()
            await ready(folder, first)
            await out.goes_on(500)
    await caught_up(deployment)
    await first.stop()
    await second.stop()
    repeats = in_files(*files(folder))[1]
    assert (kept(*files(folder)), repeats) == (await published(deployment.settings), 0)
    assert second.log().count("Archiving 10 partitions") == 2


async def test_a_replay_into_an_empty_cluster_is_counted_as_the_first_time(
    deployment: Deployment, own_kafka: BreakableKafka, tmp_path: Path
) -> None:
    folder = tmp_path / "archive"
    deployment.configure(priorities="critical,error,warn,info,debug,sample")
    settings = deployment.settings
    await apply_topics(settings)
    async with writer(settings) as out:
        await out.made(made_load(seed=4, count=1000))
        topic = settings.notification_topic(Priority.SAMPLE)
        await out.raw(topic, b'{"event_type": "odd"}', [("h", _ODD), ("none", None)], key=_ODD)  # type: ignore[list-item]
    archived = archiver(deployment, folder, "a").start()
    worker = await deployment.worker("first").start().ready()
    await caught_up(deployment)
    await archived.stop()
    await eventually("all is counted", lambda: all_committed(settings))
    await worker.stop()
    before, counts = await published(settings), (await counts_at_rest(settings)).now()
    assert counts.total() == before.total() == 1001

    deployment.configure(brokers=own_kafka.bootstrap, notification_topic_prefix=f"{deployment.unique}.again.")
    empty = deployment.settings
    await apply_topics(empty)
    # The same files twice: each record goes out once.
    code, report, said = await replayed(deployment, files(folder) * 2)
    assert (code, report["published"], report["failed"]) == (0, 1001, 0), said
    assert "1001 that are in the files twice were sent once" in said
    after = await published(empty)

    def contents(some: Counter[Content]) -> list[str]:
        return sorted(
            repr((topic.rpartition(".")[2], key, value, headers))
            for topic, _, _, key, value, headers, _ in some.elements()
        )

    assert contents(after) == contents(before)
    worker = await deployment.worker("again").start().ready()
    async with public_counts(empty) as found:
        await found.reach(counts)
    await eventually("all is committed", lambda: all_committed(empty))
    await worker.stop()
    code, report, said = await tocsin(deployment, "verify")
    assert (code, report["agree"]) == (0, True), said


async def _after_a_kill(deployment: Deployment, folder: Path, point: str) -> Counter[Content]:
    """What is missing after an archiver was killed at a point, and another one has archived the rest."""
    settings = deployment.settings
    await apply_topics(settings)
    command = ["tests.integration.killed_archiver", point, str(folder)]
    killed = deployment.worker("killed", command=command, instance_id="one").start()
    async with writer(settings) as out, out.steadily(made_load(seed=92), rate=500):
        assert await killed.ended() == -9, killed.log()
    other = archiver(deployment, folder, "one", instance=True).start()
    await caught_up(deployment)
    await other.stop()
    source = await published(settings)
    assert source.total() > 100
    _, repeats = in_files(*files(folder))
    assert (repeats > 0) is (point == "before-commit")
    return source - kept(*files(folder))


@pytest.mark.parametrize("point", ["before-write", "before-commit"])
async def test_a_kill_between_writing_and_committing_loses_nothing(
    deployment: Deployment, tmp_path: Path, point: str
) -> None:
    assert await _after_a_kill(deployment, tmp_path / "archive", point) == Counter()


async def test_an_archiver_that_commits_before_it_writes_is_caught(
    deployment: Deployment, tmp_path: Path
) -> None:
    """The negative control."""
    assert await _after_a_kill(deployment, tmp_path / "archive", "hasty") != Counter()


async def test_a_full_disk_is_waited_for(deployment: Deployment, tmp_path: Path) -> None:
    folder = tmp_path / "archive"
    await apply_topics(deployment.settings)
    one = archiver(deployment, folder, "a", instance=True).start()
    await ready(folder, one)
    pid = one.process.pid
    _, most = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    log_bytes = len(one.log()) + 2000
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (log_bytes, most))
    async with writer(deployment.settings) as out:
        await out.made(made_load(seed=5, count=3000))
        await eventually("it says so", lambda: "The archive cannot be written" in one.log())
        await eventually("it is not ready", lambda: not is_ready(folder, one))
        await out.made(made_load(seed=6, count=100))
    # It ends in order, and what it could not write is archived by the next one.
    await one.stop()
    assert "records that were read could not be written: they are not committed" in one.log()
    one.start()
    await ready(folder, one)
    resource.prlimit(one.process.pid, resource.RLIMIT_FSIZE, (log_bytes, most))
    await eventually("it says so again", lambda: one.log().count("The archive cannot be written") == 2)
    resource.prlimit(one.process.pid, resource.RLIMIT_FSIZE, (most, most))
    await caught_up(deployment)
    await ready(folder, one)
    await one.stop()
    assert not folder.with_suffix(".a").exists()
    assert one.log().count("The archive cannot be written") == 2
    assert one.log().count("The archive can be written again") == 1
    assert kept(*files(folder)) == await published(deployment.settings)
    assert in_files(*files(folder))[1] == 0


async def test_two_with_one_instance_id_are_told(deployment: Deployment, tmp_path: Path) -> None:
    folder = tmp_path / "archive"
    await apply_topics(deployment.settings)
    first = archiver(deployment, folder, "one", instance=True).start()
    await ready(folder, first)
    second = archiver(deployment, folder, "one", instance=True).start()
    assert await first.ended() == 78
    assert "give each a TOCSIN_INSTANCE_ID of its own" in first.log()
    await second.stop()


async def test_a_start_that_cannot_work_says_why(deployment: Deployment, tmp_path: Path) -> None:
    missing = archiver(deployment, tmp_path / "archive", "missing").start()
    assert await missing.ended() == 78
    assert "is missing: run `tocsin topics apply`" in missing.log()
    (tmp_path / "file").touch()
    no_folder = archiver(deployment, tmp_path / "file" / "archive", "no-folder").start()
    assert await no_folder.ended() == 78
    assert "cannot be used as the folder of an archive" in no_folder.log()
    deployment.configure(brokers="127.0.0.1:1", wait_for_brokers_s="1")
    away = archiver(deployment, tmp_path / "archive", "away").start()
    assert await away.ended() == 75
    assert "Traceback" not in missing.log() + no_folder.log() + away.log()
    assert files(tmp_path / "archive") == []
