from __future__ import annotations

import os
import subprocess
import sys
from itertools import chain, repeat
from pathlib import Path

from tests.paths import ROOT
from tests.short_explanations import CUT, MOST_LETTERS, MOST_LINES, shortened

#: With a diff of 60,000 lines, and one with a line of a million letters.
FAILING = """
def test_many_lines():
    assert [b"a", bytes(1_000_000)] == [b"a", None]

def test_a_long_line():
    assert "b" in "a" * 1_000_000
"""


def test_what_is_short_stays() -> None:
    lines = ["one", "two"]
    assert list(shortened(lines)) == lines
    lines = ["a"] * MOST_LINES
    assert list(shortened(lines)) == lines


def test_many_lines_and_long_ones_are_cut() -> None:
    assert list(shortened(repeat("a"))) == ["a"] * MOST_LINES + [CUT]
    assert list(shortened(chain(["a"], repeat("b" * MOST_LETTERS)))) == [
        "a",
        f"{'b' * (MOST_LETTERS - 1)} {CUT}",
    ]


def test_a_large_value_that_differs_makes_no_large_log(tmp_path: Path) -> None:
    """CI is where pytest cuts nothing by itself."""
    file = tmp_path / "test_failing.py"
    file.write_text(FAILING)
    command = [sys.executable, "-m", "pytest", "-vv", f"--rootdir={ROOT}", "-c", str(ROOT / "pyproject.toml")]
    plugins = ["-p", "tests.conftest"]
    answer = subprocess.run(
        [*command, *plugins, str(file)],
        env=os.environ | {"CI": "1", "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "2 failed" in answer.stdout, answer.stderr
    assert CUT in answer.stdout
    assert len(answer.stdout) < 10 * MOST_LETTERS
