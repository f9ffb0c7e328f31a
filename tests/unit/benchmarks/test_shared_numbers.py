"""Numbers that processes share."""

from __future__ import annotations

from pathlib import Path

from tests.benchmarks.shared_numbers import SharedNumbers


def test_numbers_are_read_as_they_were_written(tmp_path: Path) -> None:
    writer, reader = (SharedNumbers(tmp_path / "shared", 2) for _ in range(2))
    assert reader.all() == [0, 0]
    writer[1] = -(1 << 62)
    assert reader.all() == [0, -(1 << 62)]
