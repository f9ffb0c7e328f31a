"""The small disk of the fault tests is full when it says so, and read-only when it says so."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from tests.chaos import small_disk


def test_a_small_disk_fills_gives_room_back_and_goes_read_only(tmp_path: Path) -> None:
    try:
        with small_disk.mounted(tmp_path / "disk", size=1 << 20) as disk:
            file = disk.path / "file"
            assert 0 < disk.fill() <= 1 << 20
            with pytest.raises(OSError) as full:
                file.write_bytes(b"x" * 8192)
            assert full.value.errno == errno.ENOSPC
            disk.make_room()
            file.write_bytes(b"x" * 8192)
            disk.read_only(True)
            with pytest.raises(OSError) as refused:
                file.write_bytes(b"y")
            assert refused.value.errno == errno.EROFS
            disk.read_only(False)
            file.write_bytes(b"y")
    except small_disk.MountRefusedError as reason:
        pytest.skip(str(reason))
    assert not (tmp_path / "disk" / "file").exists(), "still mounted"
