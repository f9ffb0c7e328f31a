"""Commits come after fsync, files roll, and a crash leaves what was committed."""

from __future__ import annotations

import asyncio
import errno
import threading
from pathlib import Path

import pytest
from aiokafka import TopicPartition

from streams.archive.files import ArchiveWriter, Disk, finish_left_behind
from streams.archive.writing import DurableThenCommit, Position
from tests.unit.streams.archive.test_replay import _line, _replayed

_TP = TopicPartition("n.info", 0)


class _Journal(Disk):
    """A real disk that notes the order of what is asked of it, and may be full."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.full = 0

    def write(self, descriptor: int, data: bytes) -> None:
        if self.full:
            self.full -= 1
            super().write(descriptor, data[: len(data) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")
        super().write(descriptor, data)
        self.steps.append("write")

    def sync(self, descriptor: int) -> None:
        super().sync(descriptor)
        self.steps.append("sync")

    def sync_folder(self, folder: Path) -> None:
        super().sync_folder(folder)
        self.steps.append("folder")


class _Early:
    """A broken writer: it takes lines as written before they are synced."""

    def __init__(self, disk: _Journal) -> None:
        self._disk = disk

    def append(self, lines: bytes | bytearray) -> None:
        self._disk.steps.append("write")


def _writer(folder: Path, disk: Disk | None = None, roll: int = 10**6, clock: list[float] | None = None):
    times = clock or [1000.0]
    return ArchiveWriter(folder, "a", roll_bytes=roll, roll_s=60, disk=disk, clock=lambda: times[-1])


async def _archive(disk: _Journal, writer) -> None:
    async def commit(offsets: dict[TopicPartition, Position]) -> None:
        assert offsets == {_TP: Position(2)}
        disk.steps.append("commit")

    out = DurableThenCommit(writer, commit, again_s=0)
    out.take(_TP, _line(0), 1, Position(1))
    out.take(_TP, _line(1), 1, Position(2))
    assert await out.write()


def _check_order(steps: list[str]) -> None:
    """What was written is synced, and the name of its file is, before the commit."""
    for at, step in enumerate(steps):
        if step == "commit":
            written = max(index for index in range(at) if steps[index] == "write")
            assert "sync" in steps[written:at]
            assert "folder" in steps[:at]


async def test_a_commit_comes_after_file_and_folder_are_synced(tmp_path: Path) -> None:
    disk = _Journal()
    await _archive(disk, _writer(tmp_path, disk))
    assert disk.steps == ["folder", "write", "sync", "commit"]
    _check_order(disk.steps)


async def test_a_writer_that_commits_before_fsync_is_rejected() -> None:
    disk = _Journal()
    await _archive(disk, _Early(disk))
    with pytest.raises(AssertionError):
        _check_order(disk.steps)


async def test_a_full_disk_is_said_once_and_nothing_is_lost(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    disk = _Journal()
    disk.full = 3
    await _archive(disk, _writer(tmp_path, disk))
    assert disk.steps[-3:] == ["write", "sync", "commit"]
    assert [record.message.partition(" (")[0] for record in caplog.records] == [
        "The archive cannot be written",
        "The archive can be written again.",
    ]
    assert _replayed(*tmp_path.iterdir()) == [0, 1]


async def test_what_cannot_be_written_at_the_end_stays_pending_and_uncommitted(tmp_path: Path) -> None:
    disk = _Journal()
    disk.full = 1

    async def commit(offsets: dict[TopicPartition, Position]) -> None:
        raise AssertionError

    out = DurableThenCommit(_writer(tmp_path, disk), commit, again_s=0)
    out.take(_TP, _line(0), 1, Position(1))
    assert not await out.write(wanted=lambda: False)
    out.take(_TP, _line(1), 1, Position(2))
    assert out.pending.lines == _line(0) + _line(1)
    assert out.pending.positions == {_TP: Position(2)}


def test_files_roll_by_size_and_by_age(tmp_path: Path) -> None:
    clock = [1000.0]
    small = _writer(tmp_path, roll=1, clock=clock)
    for offset in range(3):
        small.append(_line(offset))
    small.finish()
    assert len(list(tmp_path.glob("*.jsonl.gz"))) == 3
    aged = _writer(tmp_path, clock=clock)
    aged.append(_line(3))
    clock.append(1059.0)
    aged.append(_line(4))
    clock.append(1060.0)
    aged.append(_line(5))
    aged.finish()
    assert len(list(tmp_path.iterdir())) == 5
    assert sorted(_replayed(*tmp_path.iterdir())) == list(range(6))


def test_a_file_that_a_crash_left_is_finished_without_its_torn_end(tmp_path: Path) -> None:
    writer = _writer(tmp_path)
    writer.append(_line(0))
    (part,) = tmp_path.glob("*.part")
    assert list(finish_left_behind(tmp_path, "a")) == []  # its writer lives
    writer._close()
    with part.open("ab") as file:
        file.write(b"\x1f\x8b\x08\x04torn")
    (sentence,) = finish_left_behind(tmp_path, "a")
    assert "less its torn end of 8 bytes" in sentence
    (done,) = tmp_path.iterdir()
    assert done.name.endswith(".jsonl.gz")
    assert _replayed(done) == [0]


class _Slow:
    """A disk that takes its time: it goes on when it is told to."""

    def __init__(self) -> None:
        self.begun, self.go_on = threading.Event(), threading.Event()
        self.lines: list[bytes] = []

    def append(self, lines: bytes | bytearray) -> None:
        self.begun.set()
        assert self.go_on.wait(30)
        self.lines.append(bytes(lines))


class _Commits(list[dict[TopicPartition, Position]]):
    async def __call__(self, positions: dict[TopicPartition, Position]) -> None:
        self.append(positions)


async def test_what_is_cancelled_while_the_disk_takes_it_is_committed_and_not_written_twice() -> None:
    disk, commits = _Slow(), _Commits()
    out = DurableThenCommit(disk, commits)
    out.take(_TP, b"a\n", 1, Position(1))
    writing = asyncio.create_task(out.write())
    await asyncio.to_thread(disk.begun.wait, 30)
    writing.cancel()
    asyncio.get_running_loop().call_soon(disk.go_on.set)
    with pytest.raises(asyncio.CancelledError):
        await writing
    assert await out.write()
    assert (disk.lines, commits, out.records) == ([b"a\n"], [{_TP: Position(1)}], 1)


async def test_what_is_cancelled_on_a_full_disk_is_pending_again_and_comes_first(tmp_path: Path) -> None:
    disk, commits = _Journal(), _Commits()
    disk.full = 1
    out = DurableThenCommit(_writer(tmp_path, disk), commits, again_s=1000)
    out.take(_TP, _line(0), 1, Position(1))
    writing = asyncio.create_task(out.write())
    while out.fault is None:
        await asyncio.sleep(0)
    out.take(_TP, _line(1), 1, Position(2))
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    assert (out.pending.lines, out.pending.records, commits) == (_line(0) + _line(1), 2, [])
    assert await out.write()
    assert (_replayed(*tmp_path.iterdir()), commits) == ([0, 1], [{_TP: Position(2)}])


async def test_what_was_forgotten_while_it_was_written_is_not_committed() -> None:
    """The partitions are somebody else's by then."""
    disk, commits = _Slow(), _Commits()
    out = DurableThenCommit(disk, commits)
    out.take(_TP, b"a\n", 1, Position(1))
    writing = asyncio.create_task(out.write())
    await asyncio.to_thread(disk.begun.wait, 30)
    assert out.forget() == 0  # nothing that was not being written
    disk.go_on.set()
    assert await writing
    assert (disk.lines, commits) == ([b"a\n"], [])


async def test_a_position_without_lines_is_committed_without_writing() -> None:
    disk, commits = _Slow(), _Commits()
    out = DurableThenCommit(disk, commits)
    out.take(_TP, b"", 0, Position(3))
    assert await out.write()
    assert await out.write()
    assert (disk.begun.is_set(), commits) == (False, [{_TP: Position(3)}])


async def test_there_is_room_again_once_the_disk_takes_what_is_held() -> None:
    disk = _Slow()
    out = DurableThenCommit(disk, _Commits())
    await out.room()
    out.take(_TP, bytes(16 * 2**20), 1, Position(1))
    waiting = asyncio.create_task(out.room())
    for _ in range(5):
        await asyncio.sleep(0)
    assert not waiting.done()
    disk.go_on.set()
    assert await out.write()
    await waiting
