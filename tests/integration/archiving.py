"""What tests of ``tocsin archive`` share: archivers as processes, what their files hold, and replays."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
from aiokafka.errors import GroupCoordinatorNotAvailableError

from streams.archive.lines import Archived
from streams.archive.replay import ArchiveFiles
from streams.settings import Settings
from tests import children
from tests.integration.reading import committed_offsets, end_offsets, notification_topics, read_all
from tests.integration.worker_process import BOUND_S, SESSION_TIMEOUT_S, Deployment, Worker, eventually
from tests.integration.writing import writer
from tests.paths import ROOT

#: Topic, partition, offset, key, value, headers, milliseconds.
Content = tuple[str, int, int, bytes | None, bytes | None, tuple[Any, ...], int]


def archiver(
    deployment: Deployment,
    folder: Path,
    name: str,
    *options: str,
    instance: bool = False,
    command: Sequence[str] = ("tocsin", "archive"),
    port: int = 0,
    session_s: int = SESSION_TIMEOUT_S,
) -> Worker:
    """An archiver that is not started yet; its ready file is beside the folder.

    Args:
        deployment: of its topics.
        folder: of its files.
        name: of the process.
        options: of the command.
        instance: whether the name is its instance id too: killed, it has its partitions back at once.
        command: module, and arguments before these.
        port: of its probes and metrics; 0 for any that is free.
        session_s: seconds after which it is given up, when it is killed and has no instance id.
    """
    ready_file = str(folder.with_suffix(f".{name}"))
    whole = [*command, str(folder), "--ready-file", ready_file, *options]
    values = {"session_timeout_s": f"{session_s}", "archive_port": str(port)} | (
        {"instance_id": name} if instance else {}
    )
    return deployment.worker(name, command=whole, **values)


def is_ready(folder: Path, archiver: Worker) -> bool:
    """Whether the ready file of an archiver is there."""
    assert archiver.runs, archiver.tail()
    return folder.with_suffix(f".{archiver.name}").exists()


async def ready(folder: Path, *archivers: Worker) -> None:
    """Wait until archivers are ready."""
    for each in archivers:
        await eventually(f"{each.name} is ready", lambda each=each: is_ready(folder, each))  # type: ignore[misc]


def files(folder: Path) -> list[Path]:
    """The files of an archive."""
    return sorted(folder.iterdir())


def in_files(*paths: Path) -> tuple[list[Archived], int]:
    """The records of sound files, each once, and how many lie there twice."""
    lost: list[tuple[int, str]] = []
    found = ArchiveFiles(paths, lambda *each: lost.append(each), lambda _: None)
    records = list(found.records())
    assert lost == []
    return records, found.repeats


def kept(*paths: Path) -> Counter[Content]:
    """What sound files hold."""
    return Counter(
        (each.topic, each.partition, each.offset, each.key, each.value, each.headers, each.timestamp_ms)
        for each in in_files(*paths)[0]
    )


def kept_now(folder: Path) -> Counter[Content]:
    """What the files of an archive hold at present, while archivers write to it."""
    while folder.exists():
        try:
            return kept(*files(folder))
        except FileNotFoundError:
            continue  # one that was finished meanwhile has another name
    return Counter()


async def published(settings: Settings) -> Counter[Content]:
    """What the topics hold."""
    return Counter(
        (each.topic, each.partition, each.offset, each.key, each.value, tuple(each.headers), each.timestamp)
        for each in await read_all(settings.brokers, *notification_topics(settings))
    )


async def publish_values(settings: Settings, topic: str, what: str, number: int) -> None:
    """Publish records that are told apart by their values, one a batch, each to the next partition."""
    async with writer(settings) as out:
        for index in range(number):
            await out.raw(topic, f"{what} {index}".encode())


async def caught_up(deployment: Deployment) -> None:
    """Wait until the archivers have committed the end of every notification topic."""
    settings = deployment.settings
    group = settings.model_copy(update={"app_id": f"{settings.app_id}-archive"})

    async def is_so() -> bool:
        ends = await end_offsets(settings.brokers, *notification_topics(settings))
        try:
            committed = await committed_offsets(group)
        except GroupCoordinatorNotAvailableError:
            return False  # the first group of a fresh broker
        return all(committed.get(tp, 0) == end for tp, end in ends.items())

    await eventually("the archive has all", is_so)


async def tocsin(deployment: Deployment, *arguments: str, **values: str) -> tuple[int, Any, str]:
    """Run a command that prints JSON: exit code, what it printed, and what it said."""

    def run() -> subprocess.CompletedProcess[bytes]:
        return children.run(
            [sys.executable, "-m", "tocsin", *arguments, "--json"],
            cwd=ROOT,
            env=deployment.environment(**values),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=2 * BOUND_S,
        )

    done = await asyncio.to_thread(run)
    said = done.stderr.decode()
    assert "Traceback" not in said
    return done.returncode, orjson.loads(done.stdout), said


async def replayed(deployment: Deployment, paths: Sequence[Path], **values: str) -> tuple[int, Any, str]:
    """Replay files, to the topics of the deployment's settings."""
    return await tocsin(deployment, "publish", "--raw", *map(str, paths), **values)
