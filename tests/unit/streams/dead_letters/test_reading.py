"""The latest dead letters: bounded, and none that was replayed is taken for a new one."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from streams.dead_letters import reading as module
from streams.dead_letters.letters import truncated
from streams.dead_letters.memory import MOST_VALUE, Latest, LetterMemory
from streams.dead_letters.reading import LettersUnavailableError, Reading, Wanted
from streams.dead_letters.topic import NEW, NOT_BACK, Found, Skipped, dead_letters
from streams.notifications import Priority, Reason
from streams.notifications.masking import Masker
from streams.outgoing import Outgoing
from streams.records import UnreadableRecord
from streams.upstream.topic_ids import NOT_AUTHORISED, UNKNOWN_TOPIC
from tests.unit.streams.dead_letters.letters_kit import SETTINGS, Log, Reader, made


async def reading_of(log: Log) -> Reading:
    reading = Reading(SETTINGS, Reader(log), lambda: 5.0)  # type: ignore[arg-type]
    await reading.open()
    return reading


def ids(latest: Latest) -> list[str]:
    return [each.id for each in latest.letters]


async def test_all_of_a_small_topic_newest_first_and_what_comes_then(log: Log) -> None:
    for number in range(30):
        log.letter(number % 2, number)
    reading = await reading_of(log)
    latest = await reading.look()
    assert ids(latest) == [f"source:{number}" for number in reversed(range(30))]
    assert (latest.whole, latest.records, latest.as_of) == (True, 30, 5.0)
    assert set(latest.states.values()) == {NEW}
    read = log.read
    log.note(1, "source:29")
    log.letter(0, 30)
    log.letter(0, 3)  # a repeat after a crash
    latest = await reading.look()
    assert ids(latest)[:2] == ["source:30", "source:29"]
    assert latest.states["source:29"] == NOT_BACK
    assert len(latest.letters) == 31
    assert log.read == read + 3, "nothing is read twice"


async def test_the_ends_of_a_large_topic_are_read_and_no_more(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_LETTERS", 50)
    for number in range(4000):
        log.letter(number % 2, number)
    latest = await (await reading_of(log)).look()
    assert not latest.whole
    assert latest.records == 4000
    assert log.read < 2 * (50 + module._LARGEST_CHUNK)
    assert ids(latest)[:3] == ["source:3999", "source:3998", "source:3997"]


async def test_bytes_are_bounded_too(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_BYTES", 100_000)
    monkeypatch.setattr(module, "_LEAST_BYTES", 1000)
    for number in range(1000):
        log.letter(0, number, value=b"x" * 10_000)
    latest = await (await reading_of(log)).look()
    assert log.read < 50
    assert not latest.whole
    assert {len(each.value or b"") for each in latest.letters} == {MOST_VALUE}
    assert {each.size for each in latest.letters} == {10_000}


async def skipped_note(log: Log) -> dict[str, str]:
    """States after a note was passed over, because too much came between two looks."""
    first = log.letter(0, 1)
    reading = await reading_of(log)
    assert (await reading.look()).states == {first: NEW}
    log.note(0, first)
    for number in range(3000):
        log.letter(0, 10 + number)
    return dict((await reading.look()).states)


async def test_what_may_have_been_replayed_in_a_part_that_was_not_read_is_not_listed(log: Log) -> None:
    states = await skipped_note(log)
    assert "source:1" not in states
    assert len(states) >= module.MOST_LETTERS


async def test_control_without_that_rule_it_would_be_replayed_twice(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    bound = LetterMemory.bound

    def careless(self: LetterMemory, begins: dict[int, int]) -> None:
        self.most = 10_000
        bound(self, dict.fromkeys(begins, 0))

    monkeypatch.setattr(LetterMemory, "bound", careless)
    assert (await skipped_note(log))["source:1"] == NEW


async def test_what_was_deleted_from_the_topic_is_forgotten(log: Log) -> None:
    for number in range(10):
        log.letter(0, number)
    log.note(0, "source:2")
    reading = await reading_of(log)
    assert len((await reading.look()).letters) == 10
    log.begins[0] = 8
    latest = await reading.look()
    assert ids(latest) == ["source:9", "source:8"]
    assert reading._memory.history.notes == {}


@pytest.mark.parametrize(
    ("error", "may_read", "words"),
    [
        (UNKNOWN_TOPIC, True, "is missing"),
        (NOT_AUTHORISED, True, "grant Describe"),
        (None, False, "grant Read"),
    ],
)
async def test_a_topic_that_cannot_be_read_is_told(
    log: Log, error: str | None, may_read: bool, words: str
) -> None:
    reading = await reading_of(log)
    log.error, log.may_read = error, may_read
    with pytest.raises(LettersUnavailableError, match=words):
        await reading_of(log)
    with pytest.raises(LettersUnavailableError):
        await reading.look()


async def test_a_topic_that_was_made_anew_is_begun_anew(log: Log) -> None:
    reading = await reading_of(log)
    log.topic_id = "second"
    with pytest.raises(LettersUnavailableError, match="has changed"):
        await reading.look()


async def found(*outs: Outgoing) -> list[Found]:
    log = Log(1)
    for out in outs:
        log.put(0, out)

    async def batches() -> AsyncIterator[list[UnreadableRecord]]:
        yield log.records[0]

    return [each async for each in dead_letters(batches(), Skipped())]


async def test_sums_are_by_reason_and_priority() -> None:
    memory = LetterMemory({"notifications.error": Priority.ERROR}, masker=None)
    for each in await found(
        made(1, b"12"),
        made(2, b"345"),
        made(3, b"6", Reason.NULL_VALUE),
        made(4, b"", topic="elsewhere"),
    ):
        memory.add(each)
    latest = memory.latest(4, 1.0)
    assert [(each.reason, each.priority, each.count, each.size) for each in latest.sums] == [
        ("not-json", Priority.ERROR, 2, 5),
        ("not-json", None, 1, 0),
        ("null-value", Priority.ERROR, 1, 1),
    ]
    assert {each.value for each in latest.letters} == {None}, "no payload is kept that may not be shown"


def changed(out: Outgoing, headers: dict[str, bytes]) -> Outgoing:
    return out._replace(headers=[(name, headers.get(name, value)) for name, value in out.headers or ()])


async def test_what_others_wrote_is_bounded() -> None:
    memory = LetterMemory({}, masker=Masker(), most=3)
    long = changed(made(1), {"tocsin-id": b"x" * 600})
    wordy = changed(made(2), {"tocsin-reason": b"y" * 10_000, "tocsin-detail": b"y" * 10_000})
    for each in await found(long, wordy, *map(made, range(3, 9))):
        memory.add(each)
    assert "x" * 600 not in memory._letters
    assert len(memory._letters["source:2"].reason) == 100
    assert len(memory._letters["source:2"].detail) == 300
    assert memory._letters["source:2"].id == memory._letters["source:2"].shown_id == "source:2"
    memory.bound({0: 0})
    assert [*memory._letters] == ["source:6", "source:7", "source:8"]
    assert memory.cut


async def test_what_cannot_be_seen_in_texts_of_others_is_escaped(log: Log) -> None:
    hostile = "\u202ea\u200b\x1b[2J\n"
    shown = r"\u202ea\u200b\x1b[2J\n"
    names = ("tocsin-id", "tocsin-reason", "tocsin-detail", "tocsin-topic")
    log.put(0, changed(made(1), dict.fromkeys(names, hostile.encode())))
    log.put(0, changed(made(2), {"tocsin-id": "\u202e".encode() * 500}))
    log.put(0, changed(made(3), {"tocsin-reason": "\u202e".encode() * 500}))
    reading = await reading_of(log)
    letters = {each.id: each for each in (await reading.look()).letters}
    letter = letters.pop(hostile)
    assert (letter.shown_id, letter.reason, letter.detail, letter.topic) == (shown,) * 4
    assert Wanted(ids=frozenset({shown})).keeps(letter)
    assert Wanted(ids=frozenset({hostile})).keeps(letter)
    assert not Wanted(ids=frozenset({"a"})).keeps(letter)
    assert [each.reason for each in letters.values()] == [(r"\u202e" * 500)[:100]]


@pytest.mark.parametrize("header", ["tocsin-partition", "tocsin-offset"])
@pytest.mark.parametrize("number", [b"-1", b"9" * 4000, b"NaN", b"1e3", b""])
async def test_a_place_that_kafka_has_none_of_is_no_dead_letter(header: str, number: bytes) -> None:
    assert await found(changed(made(1), {header: number})) == []


@pytest.mark.parametrize(
    ("wanted", "kept"),
    [
        (Wanted(), {1, 2, 3}),
        (Wanted(ids=frozenset({"source:2"})), {2}),
        (Wanted(reason="null-value"), {3}),
        (Wanted(written_until_ms=2), {1, 2}),
        (Wanted(ids=frozenset({"source:3"}), written_until_ms=2), set()),
    ],
)
async def test_which_are_wanted(log: Log, wanted: Wanted, kept: set[int]) -> None:
    log.letter(0, 1)
    log.letter(1, 2)
    log.letter(0, 3, reason=Reason.NULL_VALUE)
    latest = await (await reading_of(log)).look()
    assert {each.offset for each in latest.letters if wanted.keeps(each)} == kept


@pytest.mark.parametrize(
    ("value", "shown", "detail"),
    [
        (b'{"password": "s3cret", "a": 1}', b'{"password":"***","a":1}', ""),
        (b'{"a": "' + b"x" * 70_000 + b'"}', b'{"a": "' + b"x" * (MOST_VALUE - 7), ""),
        (b'{"a": "' + b"x" * 2000 + b'", "token": "s3cret"}', b'{"a":"' + b"x" * (MOST_VALUE - 6), ""),
        (b'{"password": "s3cret", ', None, ""),
        (b'\xff{"x-auth-token": "s3cret"}', None, ""),
        (b"{'db_pwd': 's3cret'", None, ""),
        (b'{"my_word": "s3cret"}', b'{"my_word":"***"}', ""),
        ('{"password": "s3cret"}'.encode("utf-16"), None, ""),
        ('{"password": "s3cret"'.encode("utf-32-be"), None, ""),
        (b"no harm \x00", b"no harm \x00", "why"),
        (b"no harm \xff", b"no harm \xff", "why"),
        (b"x" * 2000, b"x" * MOST_VALUE, ""),
        (b"password=s3cret", None, ""),
        (b"user: a\npassword: s3cret", None, ""),
        (b'<a password="s3cret"/>', None, ""),
        (b"cannot reach amqp://nova:s3cret@host:5672/", None, ""),
        (b'{"password"/**/:"s3cret"}', None, ""),
        (b'{"password" "s3cret"}', None, ""),
        ('{"password"\u00a0:"s3cret"}'.encode(), None, ""),
        ("\u201cpassword\u201d: s3cret".encode(), None, ""),
        (b"p\\u0061ssword=s3cret", None, ""),
        (b"", b"", "why"),
    ],
    ids=lambda value: str(value)[:60],
)
async def test_secrets_of_values_are_masked_or_nothing_is_shown(
    value: bytes, shown: bytes | None, detail: str
) -> None:
    memory = LetterMemory({}, Masker(["my_word"]))
    for each in await found(made(1, value)):
        memory.add(each)
    (letter,) = memory.latest(1, 1.0).letters
    assert letter.value == shown
    assert letter.detail == detail
    assert b"s3cret" not in (letter.value or b"")


async def test_nothing_is_said_of_what_lies_behind_a_cut() -> None:
    memory = LetterMemory({}, Masker())
    for each in await found(truncated(made(1, b"x" * 100_000))):
        memory.add(each)
    (letter,) = memory.latest(1, 1.0).letters
    assert letter.truncated
    assert letter.detail == "", "it may repeat some of what nobody has looked through"
