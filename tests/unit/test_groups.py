"""What the tests of a group share is made once: they run in one process."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests import children

_TESTS = """
import os
from pathlib import Path

import pytest


@pytest.mark.xdist_group("shares")
@pytest.mark.parametrize("number", range(8))
def test_where(number):
    Path(str(number)).write_text(os.environ["PYTEST_XDIST_WORKER"])
"""
_OPTIONS = ("-q", "-p", "no:cacheprovider", "-p", "xdist", "-n", "2")


@pytest.mark.parametrize(("how", "processes"), [("loadgroup", 1), ("load", 2)], ids=["ours", "control"])
def test_a_group_runs_in_one_process(tmp_path: Path, how: str, processes: int) -> None:
    """pytest 9.2 and pytest-xdist 3.8 do not agree on the names of tests: each process had a browser."""
    (tmp_path / "test_some.py").write_text(_TESTS)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    command = [sys.executable, "-m", "pytest", *_OPTIONS, "--dist", how]
    children.run(command, cwd=tmp_path, check=True, capture_output=True)
    assert len({(tmp_path / f"{number}").read_text() for number in range(8)}) == processes
