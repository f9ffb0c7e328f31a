"""A connection that reads the end of the dead-letter topic, and replays what it has read there.

Bytes, records and time are bounded.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from aiokafka import TopicPartition

from streams.broker.topic_problems import topic_fault
from streams.dead_letters.choice import Choice
from streams.dead_letters.memory import MOST_LETTERS, Latest, Letter, LetterMemory
from streams.dead_letters.replay import Replay, ReplayStoppedError
from streams.dead_letters.topic import Skipped, dead_letters
from streams.notifications.masking import Masker
from streams.notifications.visible import visible
from streams.quantities import quantity
from streams.records import PlacedRecord, ReadingFailedError
from streams.settings import Settings
from streams.transport.topic_reader import TopicReader
from streams.transport.turns import let_others_pass
from streams.upstream.topic_ids import fetch_topics

#: Seconds that a look may take, and a replay, before it is cut short.
LOOK_S: Final = 15.0
_REPLAY_S: Final = 25.0
#: Bytes that are read back from the ends of all partitions together, and from each at least.
_MOST_BYTES: Final = 16 * 2**20
_LEAST_BYTES: Final = 64 * 2**10
#: Records that are asked for at a time in reading back, the first time and at most, and their bytes, about.
_FIRST_CHUNK: Final = 16
_LARGEST_CHUNK: Final = 500
_CHUNK_BYTES: Final = 256 * 2**10
_SHOWN_FAILURES: Final = 20


class LettersUnavailableError(Exception):
    """The dead letters cannot be shown or replayed; the message is one sentence that says what to do."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which of the listed dead letters are to be replayed.

    Attributes:
        ids: those of these names; None for all that the others keep.
        reason: only those of this reason.
        written_until_ms: only those that were written up to then, in milliseconds since 1970.
        again: of named ones, send those too that were replayed; else those that are bad again.
    """

    ids: frozenset[str] | None = None
    reason: str | None = None
    written_until_ms: int | None = None
    again: bool = False

    def keeps(self, letter: Letter) -> bool:
        """Whether this one is meant."""
        return (
            (self.ids is None or letter.id in self.ids or letter.shown_id in self.ids)
            and self.reason in (None, letter.reason)
            and (self.written_until_ms is None or letter.written_ms <= self.written_until_ms)
        )


@dataclass(slots=True)
class Replayed:
    """What became of a replay.

    Attributes:
        done: dead letters that were sent, confirmed and noted.
        failed: dead letters of which something went wrong.
        left_out: dead letters that were asked for and not sent, for they had been replayed before.
        sentences: what there is to say of it.
    """

    done: int = 0
    failed: int = 0
    left_out: int = 0
    sentences: list[str] = field(default_factory=list)


class Reading:
    """A connection that reads the dead-letter topic from some offsets on."""

    def __init__(self, settings: Settings, reader: TopicReader, clock: Callable[[], float]) -> None:
        self._settings = settings
        self._topic = settings.dead_letter_topic
        self._reader = reader
        self._clock = clock
        self._topic_id = ""
        self._places: list[TopicPartition] = []
        #: Partition -> offset up to which it was read.
        self._read_to: dict[TopicPartition, int] = {}
        #: Partition -> offset from which on all was read: what lies before may have been replayed.
        self._whole_from: dict[TopicPartition, int] = {}
        priorities = {settings.notification_topic(each): each for each in settings.priorities}
        self._memory = LetterMemory(
            priorities, Masker(settings.web_masked_keys) if settings.web_payloads else None
        )

    async def open(self) -> None:
        """Find the partitions.

        Raises:
            LettersUnavailableError: the topic is not there, or may not be read.
        """
        topic = (await fetch_topics(self._reader.client, [self._topic]))[self._topic]
        if (fault := topic_fault(topic, reads=True)) is not None:
            raise LettersUnavailableError(fault)
        self._topic_id = topic.topic_id
        self._places = [TopicPartition(self._topic, number) for number in range(topic.partitions)]
        self._reader.open(self._places)

    async def look(self) -> Latest:
        """Read what has come since, and return the latest."""
        as_of = self._clock()
        topic = (await fetch_topics(self._reader.client, [self._topic]))[self._topic]
        if topic.error is not None or not topic.may_read or topic.topic_id != self._topic_id:
            raise LettersUnavailableError(
                topic_fault(topic) or f"The topic {self._topic} has changed: ask again in a moment."
            )
        begins, ends = await self._reader.beginnings(self._places), await self._reader.ends(self._places)
        for tp in self._places:
            await self._read(tp, begins[tp], ends[tp])
        self._memory.bound({tp.partition: max(begins[tp], self._whole_from[tp]) for tp in self._places})
        return self._memory.latest(sum(ends[tp] - begins[tp] for tp in self._places), as_of)

    async def _read(self, tp: TopicPartition, begin: int, known_end: int) -> None:
        start = self._read_to.get(tp)
        if start is None or known_end - start > MOST_LETTERS:
            batches = _each(await self._read_back(tp, max(begin, start or 0), known_end))
        else:
            batches = self._records(tp, max(begin, start), known_end)
        async for found in dead_letters(batches, Skipped(), repeats=True, history=self._memory.history):
            self._memory.add(found)
        self._read_to[tp] = known_end

    async def _read_back(
        self, tp: TopicPartition, begin: int, known_end: int
    ) -> list[Sequence[PlacedRecord]]:
        """What lies before the end of a partition, from there back, as far as it is wanted; in order."""
        most_bytes = max(_LEAST_BYTES, _MOST_BYTES // len(self._places))
        chunks: list[list[PlacedRecord]] = []
        upper, chunk, records, size = known_end, _FIRST_CHUNK, 0, 0
        while upper > begin and size < most_bytes and records < MOST_LETTERS:
            lower = max(begin, upper - chunk)
            found = [each async for batch in self._records(tp, lower, upper) for each in batch]
            chunks.append(found)
            records += upper - lower
            found_size = sum(len(each.value or b"") for each in found)
            size += found_size
            upper = lower
            mean = max(1, found_size // max(1, len(found)))
            chunk = max(_FIRST_CHUNK, min(_LARGEST_CHUNK, _CHUNK_BYTES // mean))
        if upper > begin:
            self._memory.cut = True
        if upper > begin or tp not in self._whole_from:
            self._whole_from[tp] = upper
        return list(reversed(chunks))

    async def _records(
        self, tp: TopicPartition, start: int, upper: int
    ) -> AsyncIterator[Sequence[PlacedRecord]]:
        async for batch in self._reader.records(tp, start, upper):
            yield batch
            await let_others_pass()

    # ---------------------------------------------------------------- replay

    async def replay(self, wanted: Wanted) -> Replayed:
        """Send what is wanted of what is listed now.

        Raises:
            ReplayStoppedError: nothing can be replayed; nothing was sent.
        """
        async with asyncio.timeout(LOOK_S):
            latest = await self.look()
        meant = [letter for letter in latest.letters if wanted.keeps(letter)]
        choice = Choice(history=self._memory.history)
        for letter in meant:
            choice.place(letter.id, letter.replays, named=wanted.ids is not None, again=wanted.again)
        result = Replayed(left_out=len(meant) - len(choice.ids), sentences=_left_out(choice))
        for missing in sorted((wanted.ids or frozenset()) - _names(meant)):
            result.failed += 1
            result.sentences.append(f"{missing} is not among the dead letters that are listed.")
        told = 0

        def failed(sentence: str, number: int) -> None:
            nonlocal told
            if told < _SHOWN_FAILURES:
                result.sentences.append(sentence)
            told += number

        replay = Replay(self._settings, self._reader.client, failed)
        await replay.check()
        chosen = [letter for letter in meant if letter.id in choice.ids]
        if chosen:
            await self._send(replay, chosen, choice, result)
            result.done = replay.done
            result.failed += replay.failed
        if told > _SHOWN_FAILURES:
            result.sentences.append(quantity(told - _SHOWN_FAILURES, "more has failed.", "more have failed."))
        # They name dead letters and topics, which anybody may have named.
        result.sentences = [visible(sentence) for sentence in result.sentences]
        return result

    async def _send(self, replay: Replay, chosen: Iterable[Letter], choice: Choice, result: Replayed) -> None:
        try:
            async with asyncio.timeout(_REPLAY_S):
                await replay.send(dead_letters(self._again(chosen), Skipped()), choice)
        except TimeoutError:
            result.sentences.append(f"It was cut short after {_REPLAY_S:.0f} s: replay the rest.")
        except (ReplayStoppedError, ReadingFailedError) as error:
            result.sentences.append(str(error))
        finally:
            await replay.stop()

    async def _again(self, chosen: Iterable[Letter]) -> AsyncIterator[Sequence[PlacedRecord]]:
        """The records that hold ``chosen``, and others between them."""
        spans: dict[int, tuple[int, int]] = {}
        for letter in chosen:
            partition, offset = letter.lies_in
            first, last = spans.get(partition, (offset, offset))
            spans[partition] = min(first, offset), max(last, offset)
        for partition, (first, last) in sorted(spans.items()):
            async for batch in self._records(TopicPartition(self._topic, partition), first, last + 1):
                yield batch


async def _each(batches: Iterable[Sequence[PlacedRecord]]) -> AsyncIterator[Sequence[PlacedRecord]]:
    for batch in batches:
        yield batch
        await let_others_pass()


def _names(letters: Iterable[Letter]) -> set[str]:
    """What some dead letters can be asked for by."""
    return {name for letter in letters for name in (letter.id, letter.shown_id)}


def _left_out(choice: Choice) -> list[str]:
    """What there is to say of those that are not sent."""
    said = []
    if choice.not_back:
        said.append(
            f"{len(choice.not_back)} left out that were replayed before and have not come back: they were "
            "counted or soon will be, and a second time would count twice."
        )
    if choice.bad_again:
        said.append(
            f"{len(choice.bad_again)} left out that were replayed before and are bad again: ask for them "
            "once more when what was wrong is mended."
        )
    if choice.older:
        said.append(f"{len(choice.older)} left out for which a newer dead letter of the same record stands.")
    return said
