"""What the commands share, and their usage errors: no broker is needed."""

from __future__ import annotations

import os
import subprocess
import sys
import unicodedata

import click
import orjson
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from streams.notifications.visible import visible
from tests.paths import ROOT
from tocsin.cli import main
from tocsin.cli.common.options import Duration
from tocsin.cli.common.text import json_line, shortened, utc, visible_bytes
from tocsin.cli.dead_letters.command import command as dead_letters
from tocsin.cli.tail import command as tail

_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.text(st.characters()))
def test_visible_leaves_nothing_that_a_terminal_acts_on(text: str) -> None:
    shown = visible(text)
    assert not any(unicodedata.category(c) in {"Cc", "Cf", "Cs", "Zl", "Zp"} for c in shown)
    shown.encode("utf-8")


#: Of letters and signs, those without ink.
_BLANK = "\u115f\u1160\u2800\u3164\uffa0"


@given(
    st.text(st.characters(categories=["L", "N", "P", "S"], include_characters=" ", exclude_characters=_BLANK))
)
def test_visible_keeps_plain_text(text: str) -> None:
    assert visible(text) == text


def test_visible_names_what_it_escapes() -> None:
    assert visible("a\x1b[2Jb\nc\u202ed\x9be\ud800") == "a\\x1b[2Jb\\nc\\u202ed\\x9be\\ud800"
    assert visible_bytes(b"\xff\x00ok\xc3\xa9") == "\\xff\\x00oké"


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), _json, max_size=4), st.booleans())
def test_a_json_line_has_the_same_meaning_in_one_safe_line(value: dict[str, object], indented: bool) -> None:
    line = json_line(orjson.dumps(value, option=orjson.OPT_INDENT_2 if indented else 0))
    assert line is not None
    assert orjson.loads(line) == value
    assert line.isprintable()


def test_a_json_line_leaves_the_text_as_it_was_written() -> None:
    written = b'{"n": 1.50e3, "big": 123456789012345678901234567890, "b" :"\\u00e9"}'
    assert json_line(written) == written.decode()
    assert json_line(b'\xef\xbb\xbf{"a":\r\n\t1}\n') == '{"a":   1}'
    assert json_line(orjson.dumps('{"inner": true}')) == '{"inner": true}'
    assert json_line('{"a":"\\\\\x9b\U000e0001"}'.encode()) == '{"a":"\\\\\\u009b\\udb40\\udc01"}'


@pytest.mark.parametrize("value", [None, b"", b"[1]", b"nonsense", b'"text"', b"\xff", b'{"a": NaN}', b"1"])
def test_what_is_no_json_object_has_no_line(value: bytes | None) -> None:
    assert json_line(value) is None


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("10m", 600), ("1h30m", 5400), ("2d", 172_800), ("0.5h", 1800)]
)
def test_durations(text: str, seconds: float) -> None:
    assert Duration().convert(text, None, None) == seconds


@pytest.mark.parametrize("text", ["", "10", "m", "10x", "-5m", "1h 30m", "5m!", "1h30"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="90s, 10m"):
        Duration().convert(text, None, None)


def test_times_and_lengths() -> None:
    assert utc(0) == "1970-01-01T00:00:00.000Z"
    assert utc(1_700_000_000_123) == "2023-11-14T22:13:20.123Z"
    assert utc(-1) == utc(None) == utc(10**18) == "-"
    assert shortened("abcdef", 6) == "abcdef"
    assert shortened("abcdefg", 6) == "abcde…"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "alerts"),
        (["everything"], "everything"),
        (["alerts", "--since", "10m", "--from-beginning"], "not both"),
        (["alerts", "--since", "soon"], "time span"),
        (["alerts", "--severity", "loud"], "loud"),
        (["alerts", "--count", "0"], "--count"),
    ],
)
def test_wrong_usage_of_tail(arguments: list[str], said: str) -> None:
    result = CliRunner().invoke(tail, arguments)
    assert result.exit_code == 2
    assert said in result.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["replay"], "--all"),
        (["replay", "x:0:1", "--all"], "--all"),
        (["replay", "x:0:1", "--reason", "not-json"], "--all"),
        (["replay", "--all", "--to-topic", "dead-letters"], "--to-topic"),
        (["show"], "ID"),
        (["list", "--limit", "0"], "--limit"),
    ],
)
def test_wrong_usage_of_dead_letters(arguments: list[str], said: str) -> None:
    result = CliRunner().invoke(dead_letters, arguments)
    assert result.exit_code == 2
    assert said in result.output


@pytest.mark.parametrize(
    "command", [["tail", "alerts"], ["dead-letters", "list"], ["dead-letters", "replay", "a:0:1"]]
)
def test_unreachable_brokers_are_a_wrong_configuration(command: list[str]) -> None:
    # Nothing listens on port 1.
    ended = subprocess.run(
        [sys.executable, "-m", "tocsin", *command, "--brokers", "127.0.0.1:1"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 78
    assert "127.0.0.1:1" in ended.stderr
    assert ended.stderr.count("\n") == 1
    assert ended.stdout == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ("publish", "--event-type", "a", "--priority", "b\u3164"),
        ("publish", "--event-type", "a\u3164\x07"),
        ("no\u3164command",),
        ("tail", "no\u3164such"),
        ("dead-letters", "list", "--since", "1\u3164"),
        ("topics", "check", "--brokers", "a\u3164b"),
    ],
)
def test_errors_show_what_cannot_be_seen_in_what_was_given(
    arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["tocsin", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr().err
    assert ended.value.code in {2, 78}
    assert "\u3164" not in said
    assert "3164" in said
