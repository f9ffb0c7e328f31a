"""The RocksDB folders of the local tables: what an error of theirs means, and what is done about it.

A damaged store is moved out of the way and rebuilt from its changelog. A disk that is full or read-only and
a store that another process has open are no damage: rebuilding would throw sound rows away, and help nothing.
rocksdict raises bare exceptions, so that only their text tells one from the other.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

import rocksdict

from streams.log_lines import BOUNDED
from streams.settings import ConfigurationError

log = logging.getLogger(__name__)

#: What the disk is to blame for, and not a store, as the system words it.
_OF_THE_DISK: Final = tuple(
    os.strerror(number)
    for number in (
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EROFS,
        errno.EACCES,
        errno.EPERM,
        errno.EMFILE,
        errno.ENFILE,
    )
)
_OF_THE_LOCK: Final = ("While lock file", "lock hold by current process")
#: A worker cannot do with less: RocksDB needs a few files for each table partition.
_LEAST_ROOM: Final = 2**18
_POLL_S: Final = 0.5
_TELL_S: Final = 5.0


class LocalStateError(Exception):
    """The data folder cannot be written; the message is one sentence. What was counted is safe in Kafka."""


class StoreInUseError(LocalStateError):
    """Another process has a local table open."""


def in_use(folder: Path) -> StoreInUseError:
    """What to say of a store that another process has open."""
    return StoreInUseError(
        f"The local table {folder} is in use by another process: "
        "give every worker a TOCSIN_DATA_DIR of its own."
    )


def disk_error(folder: Path, error: BaseException) -> LocalStateError | None:
    """The error as one of the disk or of the lock; None when the store itself is to blame."""
    text = str(error)
    if any(words in text for words in _OF_THE_LOCK):
        return in_use(folder)
    for words in _OF_THE_DISK:
        if text.startswith(words) or f": {words}" in text:
            return LocalStateError(
                f"The local table {folder} cannot be written ({words}): make room or give access on the disk "
                "of TOCSIN_DATA_DIR, and start the worker again; what was counted is safe in Kafka."
            )
    return None


def check_data_dir(folder: Path) -> None:
    """Make the data folder, and see that it can be written.

    Raises:
        ConfigurationError: it cannot, whatever is on the disk.
        LocalStateError: there is no room.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
            left = _LEAST_ROOM
            while left:
                left -= file.write(b"\0" * left)
            os.fsync(file.fileno())
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise LocalStateError(
                f"TOCSIN_DATA_DIR: no room in {folder} ({error.strerror}): make room on its disk, "
                "and start the worker again; what was counted is safe in Kafka."
            ) from None
        raise ConfigurationError(
            f"TOCSIN_DATA_DIR: {folder} is not writable ({error.strerror}): "
            "name another folder, or mount its disk writable for the worker's user."
        ) from None


def wait_for_locks(
    folders: Iterable[Path],
    wait_s: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Wait until no other process has one of the stores open: the worker before this one may be ending.

    To be called before this process opens any of them: to look at a lock gives up one of its own.

    Raises:
        ConfigurationError: some process keeps one open.
    """
    begun = told = clock()
    for folder in folders:
        while _is_locked(folder):
            now = clock()
            if now - begun >= wait_s:
                raise ConfigurationError(f"Waited {wait_s:.0f} s in vain. {in_use(folder)}")
            if told == begun or now - told >= _TELL_S:
                told = now
                log.warning(
                    "The local table %s is in use by another process: waiting up to %.0f s for its end. Each "
                    "worker needs a TOCSIN_DATA_DIR of its own.",
                    folder,
                    wait_s,
                )
            sleep(_POLL_S)


def _is_locked(folder: Path) -> bool:
    try:
        with (folder / "LOCK").open("r+b") as file:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return False  # if it is no store at all, it is set aside
    except OSError as error:
        if error.errno in {errno.EAGAIN, errno.EACCES}:
            return True
        raise
    return False


def quarantine_damaged(folders: Iterable[Path]) -> list[Path]:
    """Move stores that cannot be opened, or not be read to their end, out of the way; recovery rebuilds them.

    They are read whole, since opening looks at little of a file: damage that is met later ends the worker. A
    store that another process has open is left alone, and so is every store of a disk that refuses.

    Returns:
        The folders that were moved, under their new names.
    """
    moved = []
    for folder in folders:
        if not folder.is_dir():
            moved.append(quarantine(folder, "it is no folder"))
            continue
        if _is_unfinished(folder):
            continue
        try:
            _read_all(folder)
        except Exception as error:
            refused = disk_error(folder, error)
            if refused is None:
                moved.append(quarantine(folder, error))
            elif not isinstance(refused, StoreInUseError):
                raise refused from error
    return moved


def _read_all(folder: Path) -> None:
    """Read every row of a store.

    Raises:
        Exception: of rocksdict, or a ValueError: there is damage.
    """
    store = rocksdict.Rdict(
        str(folder), rocksdict.Options(raw_mode=True), access_type=rocksdict.AccessType.read_only()
    )
    try:
        rows = store.iter()
        rows.seek_to_first()
        while rows.valid():
            rows.next()
        rows.status()
        del rows  # it would keep files open
        _check_files(folder, store)
    finally:
        store.close()


def _check_files(folder: Path, store: rocksdict.Rdict) -> None:
    """See that the store's list of files has all of them.

    RocksDB takes a damaged end of the list for its end, and goes on without the rows of files that were added
    there. Files of before a compaction, which may be left behind, have lower numbers than what came of it.

    Raises:
        ValueError: it has not.
    """
    named = {int(Path(file["name"]).stem) for file in store.live_files()}
    there = {int(file.stem) for file in folder.glob("*.sst")}
    if lost := sorted(there - named - set(range(max(named, default=0)))):
        raise ValueError(f"its list of files lacks {', '.join(f'{number:06}.sst' for number in lost)}")


def _is_unfinished(folder: Path) -> bool:
    """Whether the store was never made in full: it has no rows, and opening it makes it."""
    if (folder / "CURRENT").exists():
        return False
    return not any(file.suffix in {".sst", ".log"} and file.stat().st_size for file in folder.iterdir())


def quarantine(folder: Path, reason: object) -> Path:
    """Move a store out of the way, because it is damaged; returns where it is kept."""
    target = folder.with_name(f"{folder.name}.damaged-{time.time_ns()}")
    folder.rename(target)
    log.error(
        "The local table %s is damaged (%s): kept as %s, and rebuilt from Kafka.", folder, reason, target
    )
    return target


def set_aside(folder: Path, changelog: str, offset: int, has: str) -> Path:
    """Move a store out of the way that is no copy of its changelog; returns where it is kept.

    Args:
        folder: of the store.
        changelog: topic.
        offset: of the changelog, that the store is as of.
        has: what the changelog has there.
    """
    target = folder.with_name(f"{folder.name}.other-{time.time_ns()}")
    folder.rename(target)
    log.warning(
        "The local table %s is no copy of the topic %s, which has %s at the offset %d that the table is as "
        "of, so the topic was made anew or lost its end: the table is kept as %s, and rebuilt from Kafka.",
        folder,
        changelog,
        has,
        offset,
        target,
        extra=BOUNDED,  # one a table partition
    )
    return target
