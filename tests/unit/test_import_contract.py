"""The direction of imports, as ``make lint`` checks it: it holds, and each kind of broken import fails."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.paths import ROOT

PACKAGES = ("tocsin", "agents", "tables", "streams")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the packages and their contract, to break."""
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def lint(tree: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-logo", "--no-cache"]
    return subprocess.run(
        command, check=False, cwd=tree, env={"PYTHONPATH": str(tree)}, capture_output=True, text=True
    )


def test_the_contract_holds(tree: Path) -> None:
    result = lint(tree)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "0 broken" in result.stdout


@pytest.mark.parametrize(
    ("module", "line"),
    [
        pytest.param("streams/settings/model.py", "import tables.buckets", id="streams imports tables"),
        pytest.param("tables/buckets.py", "import agents.flush_pace", id="tables import agents"),
        pytest.param("agents/flush_pace.py", "import tocsin.logs", id="agents import the top"),
        pytest.param("streams/upstream/unpacking.py", "import streams.broker.pools", id="upstream, broker"),
        pytest.param(
            "streams/broker/admin.py", "import streams.transport.lane", id="broker imports transport"
        ),
        pytest.param("streams/scheduling/modes.py", "import streams.settings", id="a pure room imports ours"),
        pytest.param("streams/notifications/tidy.py", "import aiokafka", id="a pure room imports Kafka"),
        pytest.param("tables/buckets.py", "import tables.totals", id="a circle"),
    ],
)
def test_a_broken_import_is_refused(tree: Path, module: str, line: str) -> None:
    path = tree / module
    path.write_text(f"{path.read_text(encoding='utf-8')}\n{line}\n", encoding="utf-8")
    result = lint(tree)
    assert result.returncode != 0, result.stdout
    assert "BROKEN" in result.stdout
