"""Damage to a RocksDB store, as disks and people do it; nobody else may have the store open meanwhile."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import rocksdict


def sst_files(store: Path) -> list[Path]:
    """The sorted tables of `store`, largest first; a store that was never flushed has none."""
    return sorted(store.glob("*.sst"), key=lambda path: (-path.stat().st_size, path.name))


def flip_byte(path: Path, at: float = 0.3) -> int:
    """Invert one byte of the file, `at` (0 to 1) of its length from the start; returns its position."""
    position = int((path.stat().st_size - 1) * at)
    with path.open("r+b") as file:
        file.seek(position)
        (byte,) = file.read(1)
        file.seek(position)
        file.write(bytes([byte ^ 0xFF]))
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
