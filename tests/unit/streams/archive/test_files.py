"""What was appended is there after a crash, whatever was under way, and however full the disk was."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.archive.files import ArchiveWriter, Disk, finish_left_behind
from streams.archive.members import Content, pack, read_members
from tests.unit.streams.archive.forgetful_disk import CrashError, ForgetfulDisk

FOLDER = Path("/nowhere")


class LazyWriter(ArchiveWriter):
    """A broken variant: it does not wait for the disk."""

    def append(self, lines: bytes | bytearray) -> None:
        self._disk.sync = lambda _: None  # type: ignore[method-assign]
        super().append(lines)


class NamelessWriter(ArchiveWriter):
    """A broken variant: the file is on the disk, and its name is not."""

    def append(self, lines: bytes | bytearray) -> None:
        self._disk.sync_folder = lambda _: None  # type: ignore[method-assign]
        super().append(lines)


def lines_in(tmp: Path, content: bytes) -> bytes:
    path = tmp / "survivor"
    path.write_bytes(content)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return b"".join(part.data for part in read_members(descriptor) if isinstance(part, Content))
    finally:
        os.close(descriptor)


def archive_until_crash(
    kind: Callable[..., ArchiveWriter], disk: ForgetfulDisk, *, early: bool = False
) -> list[bytes]:
    """Append line by line until the crash; returns the lines that were committed.

    Args:
        kind: of writer.
        disk: crashes.
        early: commit before it is durable: a broken variant.
    """
    writer = kind(FOLDER, "a", roll_bytes=150, roll_s=1e9, disk=disk)
    committed: list[bytes] = []
    try:
        for number in range(6):
            line = b"%d\n" % number
            if early:
                committed.append(line)
            while True:
                try:
                    writer.append(line)
                    break
                except OSError:
                    continue
            if not early:
                committed.append(line)
        writer.finish()
    except CrashError:
        pass
    return committed


def lost(tmp: Path, disk: ForgetfulDisk, committed: list[bytes]) -> list[bytes]:
    survived = b"".join(lines_in(tmp, content) for content in disk.survivors())
    return [line for line in committed if line not in survived.splitlines(keepends=True)]


def crashes(
    kind: Callable[..., ArchiveWriter], refuse: frozenset[int], *, early: bool = False
) -> Iterator[tuple[ForgetfulDisk, list[bytes]]]:
    """A crash before each operation that there is."""
    for at in range(200):
        disk = ForgetfulDisk(at, refuse)
        committed = archive_until_crash(kind, disk, early=early)
        yield disk, committed
        if disk.operations <= at:
            return
    pytest.fail("it never came to an end")


@given(st.frozensets(st.integers(0, 40), max_size=8))
def test_nothing_that_was_committed_is_lost_at_any_crash_on_a_disk_that_is_full_at_times(
    tmp_path_factory: pytest.TempPathFactory, refuse: frozenset[int]
) -> None:
    tmp = tmp_path_factory.mktemp("crash")
    number = 0
    for disk, committed in crashes(ArchiveWriter, refuse):
        assert lost(tmp, disk, committed) == []
        number += 1
    assert number > 10
    assert len(committed) == 6  # without a crash


@pytest.mark.parametrize(
    ("kind", "early"), [(ArchiveWriter, True), (LazyWriter, False), (NamelessWriter, False)]
)
def test_a_writer_that_commits_what_is_not_durable_is_caught(
    kind: Callable[..., ArchiveWriter], early: bool, tmp_path: Path
) -> None:
    """The negative controls: committed before it is synced, not synced, and its folder not synced."""
    found = [lost(tmp_path, disk, committed) for disk, committed in crashes(kind, frozenset(), early=early)]
    assert any(found)


# --- On a real file system -------------------------------------------------------------------------


def writer(folder: Path) -> ArchiveWriter:
    return ArchiveWriter(folder, "app", roll_bytes=2**30, roll_s=1e9, clock=lambda: 0.0)


def test_a_file_is_rolled_by_size_and_by_age(tmp_path: Path) -> None:
    now = [0.0]
    folder = tmp_path / "files"
    folder.mkdir()
    out = ArchiveWriter(folder, "app", roll_bytes=60, roll_s=100, clock=lambda: now[0])
    out.append(b"a\n")
    assert not out.due()
    out.append(b"b\n")
    assert out.due()
    assert [path.suffix for path in folder.iterdir()] == [".part"]
    out.append(b"c\n")
    now[0] = 100.0
    assert out.due()
    out.finish()
    out.finish()  # nothing more
    out.append(b"d\n")
    found = sorted((path.suffix, lines_in(tmp_path, path.read_bytes())) for path in folder.iterdir())
    assert found == [(".gz", b"a\nb\n"), (".gz", b"c\n"), (".part", b"d\n")]
    names = sorted(path.name for path in folder.iterdir())
    assert names[0].startswith("app-19700101T000000Z-")
    assert names[-1].startswith("app-19700101T000140Z-")


def test_what_a_crash_has_left_is_finished_less_its_torn_end(tmp_path: Path) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    torn = folder / "app-20251129T030001Z-00000000.jsonl.gz.part"
    torn.write_bytes(pack(b"a\n") + pack(b"b\n")[:-5])
    (folder / "app-20251129T030002Z-00000000.jsonl.gz.part").write_bytes(pack(b"c\n")[:-5])
    damaged = bytearray(pack(b"d\n") + pack(b"e\n"))
    damaged[22] ^= 1
    (folder / "app-20251129T030003Z-00000000.jsonl.gz.part").write_bytes(damaged)
    (folder / "app-other-20251129T030004Z-00000000.jsonl.gz.part").write_bytes(pack(b"f\n"))
    alive = writer(folder)
    alive.append(b"g\n")
    said = list(finish_left_behind(folder, "app"))
    assert len(said) == 3
    assert f"{torn} was left behind by an archiver that crashed: finished, less" in said[0]
    assert "nothing that was committed: removed" in said[1]
    assert "is damaged before its end" in said[2]
    assert lines_in(tmp_path, (folder / "app-20251129T030001Z-00000000.jsonl.gz").read_bytes()) == b"a\n"
    left = sorted(path.name for path in folder.iterdir() if not path.name.startswith("app-19"))
    assert left == [
        "app-20251129T030001Z-00000000.jsonl.gz",
        "app-20251129T030003Z-00000000.jsonl.gz.part",
        "app-other-20251129T030004Z-00000000.jsonl.gz.part",
    ]
    # One that is written to is left alone.
    alive.append(b"h\n")
    alive.finish()
    (finished,) = folder.glob("app-19*")
    assert lines_in(tmp_path, finished.read_bytes()) == b"g\nh\n"


def test_a_file_that_was_taken_away_before_it_was_locked_is_not_used(tmp_path: Path) -> None:
    class Stolen(Disk):
        times = 0

        def lock(self, descriptor: int) -> bool:
            if self.times == 0:
                for path in tmp_path.iterdir():
                    path.unlink()
            self.times += 1
            return super().lock(descriptor)

    disk = Stolen()
    out = ArchiveWriter(tmp_path, "app", roll_bytes=2**20, roll_s=1e9, disk=disk)
    out.append(b"a\n")
    (path,) = tmp_path.iterdir()
    assert path.stat().st_size > 0
    assert disk.times == 2


@contextlib.contextmanager
def small_files() -> Iterator[None]:
    """The system refuses to let files grow beyond 200 bytes, as it does on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_what_the_system_refuses_to_write_leaves_no_trace(tmp_path: Path) -> None:
    out = writer(tmp_path)
    out.append(b"a\n")
    (path,) = tmp_path.iterdir()
    before, large = path.read_bytes(), os.urandom(300)
    with small_files():
        with pytest.raises(OSError, match="File too large"):
            out.append(large)
        assert path.read_bytes() == before
        out.append(b"b\n")
    out.append(large)
    out.finish()
    (path,) = tmp_path.iterdir()
    assert path.read_bytes() == pack(b"a\n") + pack(b"b\n") + pack(large)
