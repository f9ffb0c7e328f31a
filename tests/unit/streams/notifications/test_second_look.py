"""What can be told of records that cannot be read."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.notifications.second_look import LONGEST, Glimpse, second_look

MESSAGE: dict[str, Any] = {
    "message_id": "m1",
    "publisher_id": "compute.host1",
    "event_type": "disk.full",
    "payload": {"password": "geheim"},
}
PLAIN = json.dumps(MESSAGE)
TOLD = Glimpse("disk.full", "compute.host1")


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(PLAIN[:-5].encode(), id="cut off"),
        pytest.param(str(MESSAGE).encode(), id="printed by Python"),
        pytest.param(json.dumps({"oslo.message": PLAIN})[:-3].encode(), id="within an envelope"),
        pytest.param(json.dumps(json.dumps({"oslo.message": PLAIN}))[:-3].encode(), id="escaped twice"),
        pytest.param(PLAIN.encode("utf-16"), id="UTF-16"),
        pytest.param(PLAIN.encode("utf-16-be"), id="UTF-16 that does not say so"),
        pytest.param(PLAIN.encode("utf-32-le"), id="UTF-32"),
        pytest.param(b'{"p": "\xff\xfe", ' + PLAIN[1:].encode(), id="no UTF-8"),
        pytest.param(PLAIN.replace("{}", "[" * 5000).encode(), id="nested deep"),
        pytest.param(b"[" * 2_000_000 + PLAIN.encode(), id="at the end of something large"),
        pytest.param(PLAIN.encode() + b" " * 2_000_000, id="at the beginning of something large"),
        pytest.param(b"2026-01-01 ERROR oslo: " + PLAIN.encode(), id="in a line of a log"),
        pytest.param(PLAIN.replace('": "', '"\n:\t"').encode(), id="blanks"),
    ],
)
def test_names_are_found_however_they_are_written(value: bytes) -> None:
    assert second_look(value) == TOLD


@pytest.mark.parametrize(
    "value", [None, b"", b"Traceback (most recent call last):", b'{"event_type": 7}', b'"event_type": "x']
)
def test_nothing_is_made_up(value: bytes | None) -> None:
    assert second_look(value) == Glimpse("", "")


def test_what_a_terminal_acts_on_is_escaped_and_what_is_long_is_cut() -> None:
    assert second_look(b'{"event_type": "a\\nb\\u202e", "publisher_id": "\xff"}') == Glimpse(
        "a\\nb\\u202e", "\ufffd"
    )
    long = second_look(b'{"event_type": "%b", "publisher_id": "%b"}' % (b"x" * 900, b"\x1b" * 300))
    assert long.event_type == "x" * (LONGEST - 3) + "..."
    assert len(long.publisher_id) == LONGEST


def test_nothing_else_is_shown() -> None:
    """The control of what may be a secret: keys and values beside the two names are not copied."""
    for end in range(len(PLAIN)):
        shown = second_look(PLAIN[:end].encode())
        assert "geheim" not in shown.event_type + shown.publisher_id


@given(st.binary(max_size=2000) | st.text(alphabet="\"'\\:event_typ {}", max_size=3000).map(str.encode))
def test_it_never_raises_and_what_it_finds_can_be_shown(value: bytes) -> None:
    for found in (second_look(value).event_type, second_look(value).publisher_id):
        assert len(found) <= LONGEST
        assert found.isprintable() or "\ufffd" in found
        found.encode()


@pytest.mark.parametrize(
    "piece",
    [
        b'"event_type":"',
        b"\"event_type':",
        b'\\"event_type\\":\\\\"',
        b"\\" * 7,
        b'"event_type":' + b" " * 9,
        b'"',
    ],
)
def test_hostile_bytes_cost_little_however_many_they_are(piece: bytes) -> None:
    """The bound is far above what it takes, and far below what a pattern that goes back takes."""
    value = piece * (2**21 // len(piece))
    began = time.process_time()
    second_look(value)
    assert time.process_time() - began < 5.0
