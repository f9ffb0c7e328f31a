"""Damage to a RocksDB store, as disks and people do it; nobody else may have the store open meanwhile."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import rocksdict

#: Smaller files hold no rows worth damaging.
_LEAST_BYTES = 200


def sst_files(store: Path) -> list[Path]:
    """The sorted tables of `store`, largest first; a store that was never flushed has none."""
    return sorted(store.glob("*.sst"), key=lambda path: (-path.stat().st_size, path.name))


def stores(folder: Path) -> list[Path]:
    """The stores below `folder`, those that were set aside left out."""
    found = (file.parent for file in folder.rglob("CURRENT"))
    return sorted(store for store in found if ".damaged-" not in store.name)


def set_aside(folder: Path) -> list[Path]:
    """The stores below `folder` that were found damaged."""
    return sorted(folder.rglob("*.damaged-*"))


def files_with_rows(folder: Path) -> list[Path]:
    """The sorted tables and the logs of all stores below `folder` that hold more than a beginning."""
    files = (file for store in stores(folder) for file in sorted(store.iterdir()))
    return [file for file in files if file.suffix in {".sst", ".log"} and file.stat().st_size > _LEAST_BYTES]


def read_all(store: Path) -> dict[bytes, bytes]:
    """All rows of a store; raises where damage is met."""
    database = rocksdict.Rdict(str(store), rocksdict.Options(raw_mode=True))
    try:
        found = {}
        rows = database.iter()
        rows.seek_to_first()
        while rows.valid():
            found[rows.key()] = rows.value()
            rows.next()
        rows.status()
        del rows  # it would keep the lock
        return found
    finally:
        database.close()


def flip_byte(path: Path, at: float = 0.3) -> int:
    """Invert one byte of the file, `at` (0 to 1) of its length from the start; returns its position."""
    return flip_bytes(path, at, 1)


def flip_bytes(path: Path, at: float, number: int) -> int:
    """Invert some bytes from `at` (0 to 1) of the length on; returns the position of the first."""
    position = int((path.stat().st_size - 1) * at)
    with path.open("r+b") as file:
        file.seek(position)
        found = file.read(number)
        file.seek(position)
        file.write(bytes(byte ^ 0xFF for byte in found))
    return position


def cut(path: Path, keep: float = 0.5) -> int:
    """Cut the file down to `keep` (0 to 1) of its length; returns the new length in bytes."""
    length = int(path.stat().st_size * keep)
    with path.open("r+b") as file:
        file.truncate(length)
    return length


def remove_current(store: Path) -> None:
    """Remove CURRENT, which names the manifest in force."""
    (store / "CURRENT").unlink()


def remove_manifests(store: Path) -> int:
    """Remove every manifest, which list the files of the store; returns how many there were."""
    manifests = list(store.glob("MANIFEST-*"))
    for manifest in manifests:
        manifest.unlink()
    return len(manifests)


@contextlib.contextmanager
def held_lock(store: Path) -> Iterator[None]:
    """Hold the store open in this process, so that no other can open it."""
    database = rocksdict.Rdict(str(store), rocksdict.Options(raw_mode=True))
    try:
        yield
    finally:
        database.close()
