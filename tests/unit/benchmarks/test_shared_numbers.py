"""A reader of shared numbers never sees one that was not written."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.benchmarks.processes import ROOT
from tests.benchmarks.shared_numbers import SharedNumbers

WRITER = """
import sys
from pathlib import Path
from tests.benchmarks.shared_numbers import SharedNumbers

numbers = SharedNumbers(Path(sys.argv[1]), 10)
for each in range(10):
    numbers[each] = -1
print("begun", flush=True)
for each in range(1 << 40):
    numbers[1] = each << 20
"""


def test_numbers_are_read_as_they_were_written(tmp_path: Path) -> None:
    writer, reader = (SharedNumbers(tmp_path / "shared", 2) for _ in range(2))
    assert reader.all() == [0, 0]
    writer[1] = -(1 << 62)
    assert reader.all() == [0, -(1 << 62)]


def test_a_number_does_not_fall_while_it_is_written(tmp_path: Path) -> None:
    """With ``struct.pack_into``, which clears what it writes to, some of these reads gave zeros."""
    path = tmp_path / "shared"
    reader = SharedNumbers(path, 10)
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "begun\n"
        last = -1
        for _ in range(500_000):
            first, number, *others = reader.all()
            assert {first, *others} == {-1}
            assert number >= last
            last = number
        writer.kill()
