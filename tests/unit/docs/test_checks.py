"""The checks of the documents find what is wrong: each gets texts with a fault and texts without."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.docs import checks, generated
from tocsin.cli import cli

GUIDE = "# Guide\n\n## One `thing`, and (another)\n\n## Twice\n\n## Twice\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A checkout with two documents and two modules."""
    for name in (
        "README.md",
        "docs/guide.md",
        "streams/lane.py",
        "streams/transport/lane.py",
        "deploy/base/x.env",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path


@pytest.mark.parametrize(
    ("link", "fault"),
    [
        ("[a](docs/guide.md)", None),
        ("[a](docs/guide.md#one-thing-and-another)", None),
        ("[a](docs/guide.md#twice-1)", None),
        ("[a](https://example.com/none)", None),
        ("![a](docs/none.png)", "docs/none.png is not there"),
        ("[a](guide.md)", "guide.md is not there"),
        ("[a](docs/guide.md#thing)", "docs/guide.md#thing has no such heading"),
        ("[a](docs/guide.md#twice-2)", "docs/guide.md#twice-2 has no such heading"),
        ("[a](#none)", "#none has no such heading"),
        ("[a](streams/lane.py#none)", "streams/lane.py#none has no such heading"),
    ],
)
def test_a_link_that_leads_nowhere_is_found(root: Path, link: str, fault: str | None) -> None:
    found = checks.broken_links({"README.md": f"See {link}.", "docs/guide.md": GUIDE}, root)
    assert found == ([] if fault is None else [f"README.md: {fault}"])


def test_a_link_is_read_from_where_its_document_is(root: Path) -> None:
    assert checks.broken_links({"docs/guide.md": "[a](../README.md)"}, root) == []
    assert checks.broken_links({"docs/guide.md": "[a](README.md)"}, root) != []


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("It is in `streams/transport/lane.py`.", None),
        ("All of `streams/` and of streams/*.py.", None),
        (
            "An `application/json` of `my-tocsin/none.yaml`, 3 records/s, `/var/lib/none`, `.venv/bin/none`.",
            None,
        ),
        ("The setting of base/x.env.", None),
        ("It is in `streams/transport/none.py`.", "streams/transport/none.py"),
        ("It is in streams/none/.", "streams/none/"),
        ("```sh\nless streams/none.py\n```", "streams/none.py"),
        ("All of streams/none_*.py.", "streams/none_*.py"),
        ("As base/none.env has it.", "base/none.env"),
        ("See `NONE.md`.", "NONE.md"),
    ],
)
def test_a_file_that_is_not_there_is_found(root: Path, text: str, fault: str | None) -> None:
    found = checks.missing_paths({"deploy/README.md": text}, root)
    assert found == ([] if fault is None else [f"deploy/README.md: {fault} is not there"])


def test_a_module_that_is_not_there_is_found() -> None:
    text = (
        "`python -m tests.chaos`, `python -m pytest`, `faust -A streams.app`, `python -m tests.none.at_all`"
    )
    assert checks.missing_modules({"a": text}) == ["a: there is no module tests.none.at_all"]


def test_a_setting_that_is_none_is_found() -> None:
    text = "TOCSIN_BROKERS, `TOCSIN_WEB_TOKEN_FILE`, TOCSIN_CONFIG_FILE, any TOCSIN_* and `TOCSIN_COLOUR`"
    assert checks.unknown_settings({"a": text}, ["brokers"]) == ["a: there is no setting TOCSIN_COLOUR"]


def test_a_metric_that_is_none_is_found() -> None:
    assert checks.unknown_metrics({"a": "`tocsin_live`, tocsin_none_total"}, ["tocsin_live"]) == [
        "a: there is no metric tocsin_none_total"
    ]


@pytest.mark.parametrize(
    ("code", "fault"),
    [
        ("tocsin kafka start --brokers 3", None),
        ("tocsin dead-letters replay", None),
        ("tocsin kafka restart", "tocsin kafka has no command restart"),
        ("tocsin none", "tocsin has no command none"),
        ("tocsin probe --speed 2", "tocsin probe has no --speed"),
        ("tocsin kafka start --seconds=3", "tocsin kafka start has no --seconds=3"),
    ],
)
def test_a_command_or_option_that_is_none_is_found(code: str, fault: str | None) -> None:
    for text in (f"Say `{code}`.", f"```sh\n{code}  # a comment\n```"):
        found = checks.unknown_commands({"a": text}, cli)
        assert len(found) == (fault is not None)
        assert all(line.endswith(str(fault)) for line in found)


def test_a_target_of_make_that_is_none_is_found() -> None:
    makefile = "demo: x\n\techo\nlint:\n"
    assert checks.unknown_targets({"a": "`make demo`, they make none; `make X=1 lint`"}, makefile) == []
    assert checks.unknown_targets({"a": "```sh\nmake X=1 none\n```"}, makefile) == [
        "a: there is no make none"
    ]


def test_a_name_that_is_not_documented_is_found() -> None:
    assert checks.undocumented(["one", "two", "three"], "`one`, `two | three`, four") == []
    assert checks.undocumented(["four"], "`one`, `two | three`, four") == ["four"]


def test_a_made_table_that_is_out_of_date_is_found() -> None:
    made = {"settings": lambda: "| new |"}
    old = "# A\n\n<!-- made from the code: settings -->\n\n| old |\n\n<!-- end -->\n\nB\n"
    new = old.replace("old", "new")
    assert generated.renewed(old, made) == new
    assert generated.renewed(new, made) == new
    with pytest.raises(KeyError):
        generated.renewed(old.replace("settings", "none"), made)
