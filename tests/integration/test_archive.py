"""``tocsin archive`` and ``tocsin publish --raw`` as processes, on a real Kafka."""

from __future__ import annotations

import asyncio
import resource
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from aiokafka.errors import GroupCoordinatorNotAvailableError

from streams.archive.lines import Archived
from streams.archive.replay import Places, Torn, read_archive, replayed
from streams.notifications import Priority
from tests import children
from tests.integration.reading import (
    committed_offsets,
    end_offsets,
    notification_topics,
    public_counts,
    read_all,
)
from tests.integration.worker_process import BOUND_S, Deployment, Worker, eventually
from tests.integration.writing import made_load, writer
from tests.paths import ROOT

pytestmark = pytest.mark.kafka

_ODD = b"\xff\x00 no UTF-8 \x80"


def _archiver(deployment: Deployment, folder: Path, name: str, *options: str) -> Worker:
    return deployment.worker(name, command=["tocsin", "archive", str(folder), *options])


async def _create_topics(deployment: Deployment) -> None:
    await asyncio.to_thread(_tocsin, deployment, "topics", "apply")


def _tocsin(deployment: Deployment, *arguments: str, **values: str) -> str:
    done = children.run(
        [sys.executable, "-m", "tocsin", *arguments],
        env=deployment.environment(**values),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=BOUND_S,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def _files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


def _in_files(folder: Path) -> list[Archived]:
    found = [each for path in _files(folder) for each in read_archive(path) if not isinstance(each, Torn)]
    assert not [each for each in found if isinstance(each, str)]
    return [each for each in found if isinstance(each, Archived)]


def _has_more(folder: Path, than: int) -> bool:
    return folder.exists() and len(_in_files(folder)) > than


def _content(record: Any) -> tuple[Any, ...]:
    return record.key, record.value, tuple(record.headers)


async def _check_equal(deployment: Deployment, folder: Path) -> None:
    """What the files hold together is what the topics hold."""
    topics = notification_topics(deployment.settings)
    records = await read_all(deployment.settings.brokers, *topics)
    lie = {(each.topic, each.partition, each.offset): (*_content(each), each.timestamp) for each in records}
    kept = {
        (each.topic, each.partition, each.offset): (*_content(each), each.timestamp_ms)
        for each in _in_files(folder)
    }
    assert kept == lie


async def _caught_up(deployment: Deployment) -> None:
    settings = deployment.settings.model_copy(update={"app_id": f"{deployment.unique}-archive"})

    async def is_so() -> bool:
        ends = await end_offsets(settings.brokers, *notification_topics(settings))
        try:
            committed = await committed_offsets(settings)
        except GroupCoordinatorNotAvailableError:
            return False  # the first group of a fresh broker
        return all(committed.get(tp, 0) >= end for tp, end in ends.items() if end)

    await eventually("the archive has all", is_so)


async def test_killed_under_load_the_files_hold_what_the_topics_do(
    deployment: Deployment, tmp_path: Path
) -> None:
    folder = tmp_path / "archive"
    await _create_topics(deployment)
    async with writer(deployment.settings) as out:
        odd = deployment.settings.notification_topic(Priority.WARN)
        await out.raw(odd, _ODD, [("h", _ODD), ("h", b"text"), ("none", None)], key=_ODD)  # type: ignore[list-item]
        await out.raw(odd, None)
        archivers = [_archiver(deployment, folder, name, "--roll-mib", "0.05").start() for name in "ab"]
        async with out.steadily(made_load(seed=3)):
            for turn in range(2):
                before = len(_in_files(folder)) if folder.exists() else 0
                await eventually("more is archived", partial(_has_more, folder, before))
                archivers[turn].kill()
                archivers[turn].start()
            await out.goes_on(100)
    await _caught_up(deployment)
    for each in archivers:
        each.terminate()
        assert await each.ended() == 0, each.tail()
    await _check_equal(deployment, folder)
    assert all(path.name.endswith(".jsonl.gz") for path in _files(folder)), _files(folder)


async def test_a_replay_is_counted_as_the_first_time(deployment: Deployment, tmp_path: Path) -> None:
    folder = tmp_path / "archive"
    deployment.configure(priorities="critical,error,warn,info,debug,sample")
    await _create_topics(deployment)
    async with writer(deployment.settings) as out:
        await out.made(made_load(seed=4, count=1000))
        topic = deployment.settings.notification_topic(Priority.SAMPLE)
        await out.raw(topic, b'{"event_type": "odd"}', [("h", _ODD), ("none", None)], key=_ODD)  # type: ignore[list-item]
        expected = out.published.counts
    archiver = _archiver(deployment, folder, "a").start()
    await _caught_up(deployment)
    archiver.terminate()
    assert await archiver.ended() == 0, archiver.tail()
    before = await read_all(deployment.settings.brokers, *notification_topics(deployment.settings))
    deployment.configure(notification_topic_prefix=f"{deployment.unique}.again.")
    await _create_topics(deployment)
    # The same file twice: each record goes out once.
    names = [str(path) for path in _files(folder) * 2]
    said = await asyncio.to_thread(_tocsin, deployment, "publish", "--raw", *names)
    assert f"published {len(before)}, failed 0" in said
    after = await read_all(deployment.settings.brokers, *notification_topics(deployment.settings))
    assert sorted(map(repr, map(_content, after))) == sorted(map(repr, map(_content, before)))
    worker = await deployment.worker("worker", priorities="critical,error,warn,info,debug").start().ready()
    async with public_counts(deployment.settings) as counts:
        await counts.reach(expected)
    await worker.stop()


async def test_a_full_disk_is_waited_for(deployment: Deployment, tmp_path: Path) -> None:
    folder = tmp_path / "archive"
    await _create_topics(deployment)
    archiver = _archiver(deployment, folder, "a").start()
    await eventually("it has its share", lambda: "Archiving" in archiver.log())
    pid = archiver.process.pid
    _, most = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    log_bytes = len(archiver.log()) + 2000
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (log_bytes, most))
    async with writer(deployment.settings) as out:
        await out.made(made_load(seed=5, count=3000))
        await eventually("it says so", lambda: "The archive cannot be written" in archiver.log())
        await out.made(made_load(seed=6, count=100))
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (most, most))
    await _caught_up(deployment)
    archiver.terminate()
    assert await archiver.ended() == 0, archiver.tail()
    assert archiver.log().count("The archive cannot be written") == 1
    assert archiver.log().count("The archive can be written again") == 1
    await _check_equal(deployment, folder)
    once = [each for each in replayed(_files(folder), Places()) if isinstance(each, Archived)]
    assert len(once) == len(_in_files(folder))
