"""How long until a page shows it: targets and table from made figures."""

from __future__ import annotations

import math
from argparse import Namespace
from pathlib import Path

import pytest

from tests.benchmarks import web_shown
from tests.benchmarks.web_shown import COUNT, CRITICAL
from tests.browser import chromium


def test_the_longest_of_each_has_a_target() -> None:
    critical, count = web_shown.targets({CRITICAL: [0.2, 0.9], COUNT: [0.2, 2.1]})
    assert (critical.reached, critical.limit, critical.met) == (900, 1000, True)
    assert (count.reached, count.limit, count.met) == (2100, 2000, False)


def test_what_is_never_shown_meets_no_target() -> None:
    assert not any(target.met for target in web_shown.targets({CRITICAL: [0.2, math.inf], COUNT: [math.inf]}))


def test_without_chromium_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(chromium.shutil, "which", lambda name: None)
    found = web_shown.run("localhost:1", tmp_path, Namespace(shown=1))
    assert "install chromium" in capsys.readouterr().out
    assert [target.verdict for target in web_shown.targets(found)] == ["not measured"] * 2


def test_the_table_has_the_middle_and_the_greatest() -> None:
    assert web_shown.rows({CRITICAL: [0.1, 0.2, 0.3]}) == [[CRITICAL, "3", "200 ms", "300 ms"]]
