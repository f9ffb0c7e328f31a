"""The latest dead letters: bounded, and none that was replayed is taken for a new one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiokafka import TopicPartition
from faust.types import TP

from streams.dead_letters import latest as module
from streams.dead_letters.latest import LatestDeadLetters, LettersUnavailableError, Wanted, _Reading
from streams.dead_letters.letters import dead_letter, replay_note, truncated
from streams.dead_letters.memory import MOST_VALUE, Latest, LetterMemory
from streams.dead_letters.topic import NEW, NOT_BACK, Found, Skipped, dead_letters
from streams.notifications import Priority, Reason, Rejection
from streams.notifications.masking import Masker
from streams.outgoing import Outgoing
from streams.records import UnreadableRecord
from streams.settings import load_settings
from streams.upstream.topic_ids import NOT_AUTHORISED, UNKNOWN_TOPIC, TopicDescription

SETTINGS = load_settings(web_payloads=True)
TOPIC = SETTINGS.dead_letter_topic


@dataclass
class Log:
    """A dead-letter topic of some partitions, as a reader hands it out."""

    partitions: int = 2
    records: list[list[UnreadableRecord]] = field(default_factory=list)
    begins: list[int] = field(default_factory=list)
    read: int = 0
    client: None = None
    topic_id: str = "first"
    error: str | None = None
    may_read: bool = True

    def __post_init__(self) -> None:
        self.records = [[] for _ in range(self.partitions)]
        self.begins = [0] * self.partitions

    def put(self, partition: int, out: Outgoing, time_ms: int = 0) -> None:
        place = len(self.records[partition])
        self.records[partition].append(
            UnreadableRecord(
                TOPIC,
                partition,
                place,
                "",
                timestamp=time_ms or place,
                key=out.key,
                value=out.value,
                headers=tuple(out.headers or ()),  # type: ignore[arg-type]
            )
        )

    def letter(self, partition: int, number: int, **more: Any) -> str:
        """Put a dead letter, and return its id."""
        self.put(partition, made(number, **more), number)
        return f"source:{number}"

    def note(self, partition: int, letter_id: str) -> None:
        self.put(partition, replay_note(TOPIC, partition, letter_id, "in"))

    # ---------------------------------------------------------------- as a TopicReader

    def open(self, partitions: Sequence[TopicPartition]) -> None:
        assert [tp.partition for tp in partitions] == [*range(self.partitions)]

    async def beginnings(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        return {tp: self.begins[tp.partition] for tp in partitions}

    async def ends(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        return {tp: len(self.records[tp.partition]) for tp in partitions}

    async def records_(self, tp: TopicPartition, start: int, upper: int) -> AsyncIterator[Any]:
        for first in range(start, upper, 100):
            found = self.records[tp.partition][first : min(upper, first + 100)]
            self.read += len(found)
            yield found


class Reader:
    """The log, with its method of that name."""

    def __init__(self, log: Log) -> None:
        self.client = None
        self.open, self.beginnings, self.ends, self.records = (
            log.open,
            log.beginnings,
            log.ends,
            log.records_,
        )


def made(
    number: int, value: bytes = b"bad", reason: Reason = Reason.NOT_JSON, topic: str = "notifications.error"
) -> Outgoing:
    record = UnreadableRecord(topic, 0, number, "", found=value)
    return dead_letter(TOPIC, TP(topic, 0), record, "source", Rejection(reason, "why"))


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Log:
    log = Log()

    async def fetch(_: object, names: Sequence[str]) -> dict[str, TopicDescription]:
        assert names == [TOPIC]
        return {
            TOPIC: TopicDescription(
                TOPIC, log.topic_id, log.partitions, 1, error=log.error, may_read=log.may_read
            )
        }

    monkeypatch.setattr(module, "fetch_topics", fetch)
    return log


async def reading_of(log: Log) -> _Reading:
    reading = _Reading(SETTINGS, Reader(log), lambda: 5.0)  # type: ignore[arg-type]
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


# --- One task for all who ask --------------------------------------------------------------------


class Connections:
    """Stands for connecting: how often it was done, and what happens while it is undone."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, log: Log) -> None:
        self.number = 0
        self.on_close: Callable[[], None] = lambda: None
        self._log = log
        monkeypatch.setattr(module, "modest_reader", self.connect)

    @asynccontextmanager
    async def connect(self, *_: object) -> AsyncIterator[Reader]:
        self.number += 1
        yield Reader(self._log)
        self.on_close()
        await asyncio.sleep(0)


@pytest.fixture
def connections(monkeypatch: pytest.MonkeyPatch, log: Log) -> Connections:
    return Connections(monkeypatch, log)


async def test_all_who_ask_at_a_time_share_one_look(log: Log, connections: Connections) -> None:
    log.letter(0, 1)
    now = 0.0
    source = LatestDeadLetters(SETTINGS, clock=lambda: 7.0, steady=lambda: now)
    looks = await asyncio.gather(*(source.look() for _ in range(10)))
    assert all(look is looks[0] for look in looks)
    assert await source.look() is looks[0]
    now = module._FRESH_S
    assert await source.look() is not looks[0]
    assert (connections.number, looks[0].as_of) == (1, 7.0)
    await source.stop()


async def test_nobody_who_asks_while_it_disconnects_is_sent_away(
    log: Log, connections: Connections, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_IDLE_S", 0.0)
    now = 0.0
    source = LatestDeadLetters(SETTINGS, steady=lambda: now)
    asked: list[asyncio.Task[Latest]] = []

    def ask() -> None:
        nonlocal now
        now += 10
        if len(asked) < 3:
            asked.append(asyncio.create_task(source.look()))

    connections.on_close = ask
    await source.look()
    async with asyncio.timeout(10):
        while len(asked) < 3 or not all(each.done() for each in asked):
            await asyncio.sleep(0)
    assert all(each.exception() is None for each in asked)
    assert connections.number > 1
    await source.stop()


async def test_a_replay_that_is_stopped_is_told_so_and_who_waits_behind_it(
    log: Log, connections: Connections, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = asyncio.Event()

    async def replay(*_: object) -> None:
        begun.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(_Reading, "replay", replay)
    source = LatestDeadLetters(SETTINGS)
    replaying = asyncio.create_task(source.replay(Wanted()))
    await begun.wait()
    looking = asyncio.create_task(source.look())
    await asyncio.sleep(0)
    await source.stop()
    with pytest.raises(LettersUnavailableError, match="was stopped meanwhile"):
        await replaying
    with pytest.raises(LettersUnavailableError, match="is stopping"):
        await looking


async def test_what_goes_wrong_is_told_to_all_who_wait_and_the_next_begins_anew(
    log: Log, connections: Connections
) -> None:
    source = LatestDeadLetters(SETTINGS)
    log.may_read = False
    answers = await asyncio.gather(source.look(), source.replay(Wanted()), return_exceptions=True)
    assert [type(each) for each in answers] == [LettersUnavailableError] * 2
    log.may_read = True
    assert (await source.look()).letters == []
    assert connections.number == 2
    await source.stop()
