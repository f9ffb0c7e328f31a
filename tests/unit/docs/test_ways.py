"""The table of what was proved in docs/ways.md: each row names the tests that run it, and real versions."""

from __future__ import annotations

import ast
import re
from importlib.metadata import version

import click
import pytest

from streams.publishing.driver import available_drivers
from tests.paths import ROOT
from tocsin.cli import cli
from tocsin.local_kafka.jars import KAFKA_VERSION

_TABLE = (ROOT / "docs/ways.md").read_text(encoding="utf-8").split("## What was proved")[1]
ROWS = [
    tuple(cell.strip() for cell in line.strip("| ").split(" | "))
    for line in _TABLE.splitlines()
    if line.startswith("| ") and not line.startswith("| driver or bridge")
]
#: As they are called there -> as they are called where they come from.
PACKAGES = {
    **{name: name for name in ("oslo.messaging", "oslo.service", "gevent", "gunicorn", "feedparser", "lxml")},
    **{name: name for name in ("aiohttp", "schemathesis")},
    "Eventlet": "eventlet",
    "uWSGI": "pyuwsgi",
}
_NAMED = re.compile(r"([A-Za-z][\w.-]*) (\d+(?:\.\d+)+)")


def test_there_are_rows() -> None:
    assert len(ROWS) > 10
    assert {len(row) for row in ROWS} == {4}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: re.sub(r"\W+", " ", row[0]).strip())
def test_each_row_names_tests_that_are_there(row: tuple[str, ...]) -> None:
    paths = re.findall(r"`(tests/[\w/]+\.py)`", row[3])
    assert paths
    for path in paths:
        tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
        assert any(getattr(node, "name", "").startswith("test_") for node in ast.walk(tree)), path


def test_each_driver_bridge_and_way_has_a_row() -> None:
    named = {name for row in ROWS for name in re.findall(r"`([^`]+)`", row[0])}
    bridge = cli.get_command(click.Context(cli), "bridge")
    assert isinstance(bridge, click.Group)
    bridges = {f"tocsin bridge {name}" for name in bridge.list_commands(click.Context(bridge))}
    assert len(bridges) > 1
    # These have no other side.
    drivers = set(available_drivers()) - {"log", "memory", "noop"}
    assert drivers | bridges <= named


def test_the_versions_are_those_that_the_suite_runs_with() -> None:
    found = {pair for row in ROWS for pair in _NAMED.findall(row[1])}
    checked = [(name, said) for name, said in found if name in PACKAGES]
    assert {name for name, _ in checked} == set(PACKAGES)
    wrong = [(name, said) for name, said in checked if not version(PACKAGES[name]).startswith(said)]
    assert wrong == []
    assert {said for name, said in found if name == "Kafka"} == {KAFKA_VERSION}
    pinned = (ROOT / "requirements/hub.txt").read_text(encoding="utf-8")
    assert [f"flask-websub=={said}" in pinned for name, said in found if name == "Flask-WebSub"] == [True]
