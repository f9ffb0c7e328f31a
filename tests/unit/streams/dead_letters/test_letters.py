"""Dead letters: what is written is read back, and a replay is known again."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from faust.types import TP

from streams.dead_letters.letters import (
    DeadLetter,
    dead_letter,
    noted_replay,
    parse,
    replay_headers,
    replay_note,
    truncated,
)
from streams.notifications import Reason, Rejection
from streams.outgoing import Outgoing


def written(headers: Any) -> Outgoing:
    record = SimpleNamespace(offset=7, timestamp=5, key=b"k", value=b"{" * 70_000, headers=headers)
    return dead_letter("dead", TP("in", 3), record, "Source:3", Rejection(Reason.NOT_JSON, "why"))


def read(letter: Outgoing) -> DeadLetter:
    found = parse(letter.key, letter.value, letter.headers)
    assert found is not None
    return found


def test_a_letter_of_a_replay_says_of_which_and_how_often() -> None:
    found = read(written([("h", b"1"), *replay_headers("Source:3:2", 4)]))
    assert (found.id, found.replayed_from, found.replays) == ("Source:3:7", "Source:3:2", 4)
    assert found.headers == (("h", b"1"),)
    cut = read(truncated(written([*replay_headers("Source:3:2", 4)])))
    assert (cut.replayed_from, cut.replays, cut.truncated) == ("Source:3:2", 4, True)


@pytest.mark.parametrize("headers", [None, [], [("tocsin-replays", b"3")], [("tocsin-replayed", b"a")]])
def test_any_other_letter_is_of_no_replay(headers: Any) -> None:
    found = read(written(headers))
    assert (found.replayed_from, found.replays) == (None, 0)


@pytest.mark.parametrize(
    ("stated", "number"),
    [(b"2", 2), (b"0", 1), (b"-1", 1), (b"", 1), (None, 1), (b"1" * 7, 1), (b"x", 1), ("²".encode(), 1)],
)
def test_a_number_that_a_publisher_made_up_is_no_more_than_one(stated: bytes | None, number: int) -> None:
    found = read(written([("tocsin-replayed-from", b"a"), ("tocsin-replays", stated)]))
    assert (found.replayed_from, found.replays) == ("a", number)


@pytest.mark.parametrize("stated", [b"", None, b"\xff", b"x" * 513])
def test_an_id_that_a_publisher_made_up_is_not_carried_on(stated: bytes | None) -> None:
    letter = written([("tocsin-replayed-from", stated)])
    assert "tocsin-replayed-from" not in dict(letter.headers)


def test_a_note_is_no_letter_and_lies_in_the_partition_of_its_letter() -> None:
    note = replay_note("dead", 5, "Source:3:7", "in")
    assert (note.topic, note.partition, note.key, note.value) == ("dead", 5, b"Source:3:7", None)
    assert noted_replay(note.headers) == "Source:3:7"
    assert parse(note.key, note.value, note.headers) is None
    assert noted_replay(written([("tocsin-replayed", b"Source:3:1")]).headers) is None
    assert noted_replay([("tocsin-replayed", None)]) is None
