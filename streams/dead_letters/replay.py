"""Sending dead letters back to where they came from."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, Final, NamedTuple

from aiokafka.errors import KafkaError, KafkaTimeoutError

from streams.broker.client_options import client_options
from streams.broker.producers.confirmed import ConfirmedProducer
from streams.broker.producers.errors import RecordRefusedForSizeError
from streams.broker.topic_problems import topic_fault
from streams.dead_letters.choice import Choice
from streams.dead_letters.letters import replay_headers, replay_note
from streams.dead_letters.topic import Found
from streams.outgoing import Outgoing
from streams.quantities import either, quantity
from streams.settings import Settings
from streams.upstream.topic_ids import TopicDescription, fetch_topics

_CHUNK_RECORDS: Final = 500
_CHUNK_BYTES: Final = 16 * 2**20
_CONFIRM_S: Final = 30.0


class ReplayStoppedError(Exception):
    """A replay cannot go on; the message is one sentence that says what to do."""


class _Sent(NamedTuple):
    """A record that was given to the producer."""

    letter_id: str
    #: Of the dead-letter topic.
    partition: int
    topic: str
    confirmed: asyncio.Future[Any]


class Replay:
    """One run of replay: sends what was chosen, and counts what became of it.

    Args:
        settings: brokers and topics.
        client: a consumer that is connected; asks of what may be written.
        told: called with the sentence, and the number of dead letters, for each failure.
        to_topic: where to, instead of the topic each came from.
        dry_run: send nothing.
        would_send: called with a sentence for each that a dry run would send.

    Attributes:
        done: dead letters that were sent, confirmed and noted as replayed.
        failed: dead letters that were not, or of which something went wrong.
    """

    def __init__(
        self,
        settings: Settings,
        client: Any,
        told: Callable[[str, int], None],
        *,
        to_topic: str | None = None,
        dry_run: bool = False,
        would_send: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._settings = settings
        self._topic = settings.dead_letter_topic
        self._client = client
        self._tell = told
        self._to_topic = to_topic
        self._dry_run = dry_run
        self._would_send = would_send
        self._producer: ConfirmedProducer | None = None
        self._faults: dict[str, str | None] = {}
        self._waiting: list[_Sent] = []
        self._waiting_bytes = 0
        #: Notes on their way to the dead-letter topic, with the ids of their dead letters.
        self._noting: list[tuple[str, asyncio.Future[Any]]] = []
        self.done = 0
        self.failed = 0

    async def check(self) -> None:
        """Check that what is replayed can be noted: without notes, a second run would send it once more.

        Raises:
            ReplayStoppedError: it cannot be, or the brokers do not answer.
        """
        if not self._dry_run and not (await self._described(self._topic)).may_write:
            raise ReplayStoppedError(
                f"The topic {self._topic} may not be written by this user, and what is replayed is "
                "noted there: grant Write on it."
            )

    async def send(self, letters: AsyncIterator[Found], choice: Choice) -> None:
        """Send those of ``letters`` that were chosen; ``stop`` must be called afterwards, in any case.

        Raises:
            ReplayStoppedError: the brokers do not confirm.
        """
        if not self._dry_run:
            await self._start_producer()
        missing = set(choice.ids)
        async for found in letters:
            if found.letter.id in missing:
                missing.remove(found.letter.id)
                await self._one(found, choice.history.times_replayed(found.letter))
            if not missing:
                break
        if await self._settle():
            raise self._stuck()

    async def _one(self, found: Found, times: int) -> None:
        letter = found.letter
        topic = self._to_topic or letter.topic
        if letter.truncated:
            self._fail(
                f"{letter.id} is cut: Kafka has only the beginning of its value, so it cannot be replayed."
            )
            return
        if (fault := await self._fault(topic)) is not None:
            self._fail(f"{letter.id}: {fault}")
            return
        if self._producer is None:  # a dry run
            before = f", its replay {times + 1}" if times else ""
            what = f"{letter.id} ({letter.reason}, {quantity(len(letter.value or b''), 'byte')}{before})"
            self._would_send(f"would send {what} to {topic}")
            self.done += 1
            return
        await self._send(topic, found, times + 1, self._producer)

    async def _fault(self, topic: str) -> str | None:
        if topic not in self._faults:
            self._faults[topic] = topic_fault(await self._described(topic), writes=True)
        return self._faults[topic]

    async def _described(self, topic: str) -> TopicDescription:
        try:
            return (await fetch_topics(self._client, [topic]))[topic]
        except KafkaError as error:
            raise ReplayStoppedError(
                f"Kafka at {self._settings.brokers} cannot be asked ({error})."
            ) from None

    async def _send(self, topic: str, found: Found, number: int, producer: ConfirmedProducer) -> None:
        letter = found.letter
        headers = [*letter.headers, *replay_headers(letter.id, number)]
        try:
            async with asyncio.timeout(_CONFIRM_S):
                future = await producer.enqueue(Outgoing(topic, letter.value, letter.key, headers=headers))
        except (KafkaTimeoutError, TimeoutError):
            self._fail(f"{letter.id}: not taken within {_CONFIRM_S:.0f} s.")
            raise self._stuck() from None
        except RecordRefusedForSizeError as error:
            self._fail(f"{letter.id}: {_why(error.__cause__ or error)}")
            return
        except KafkaError as error:
            self._fail(f"{letter.id}: {_why(error)}")
            return
        self._waiting.append(_Sent(letter.id, found.partition, topic, future))
        self._waiting_bytes += len(letter.value or b"")
        full = len(self._waiting) >= _CHUNK_RECORDS or self._waiting_bytes >= _CHUNK_BYTES
        if full and await self._settle():
            raise self._stuck()

    async def _settle(self, timeout_s: float = _CONFIRM_S) -> int:
        """Wait until what was sent is confirmed, count it and note it; returns how many were not confirmed.

        Where it is cancelled, another call does the rest: what was replayed must be noted.
        """
        if not self._waiting:
            return 0
        await asyncio.wait([sent.confirmed for sent in self._waiting], timeout=timeout_s)
        confirmed, unconfirmed = [], 0
        for sent in self._waiting:
            if not sent.confirmed.done():
                unconfirmed += 1
            elif (error := sent.confirmed.exception()) is not None:
                self._fail(f"{sent.letter_id}: {_why(error)}")
            else:
                confirmed.append(sent)
        self._waiting, self._waiting_bytes = confirmed, 0
        if unconfirmed:
            were, they = quantity(unconfirmed, "was", "were"), either(unconfirmed, "it", "they")
            self._fail(f"{were} sent and not confirmed; {they} may have arrived.", unconfirmed)
        while self._waiting:
            await self._note(self._waiting[0])
            del self._waiting[0]
            self.done += 1
        await self._settle_notes(timeout_s)
        return unconfirmed

    async def _note(self, sent: _Sent) -> None:
        """Note in the dead-letter topic that a record was replayed."""
        if self._producer is None:
            return
        note = replay_note(self._topic, sent.partition, sent.letter_id, sent.topic)
        try:
            async with asyncio.timeout(_CONFIRM_S):
                future = await self._producer.enqueue(note)
        except (TimeoutError, KafkaError) as error:
            self._not_noted(sent.letter_id, error)
        else:
            self._noting.append((sent.letter_id, future))

    async def _settle_notes(self, timeout_s: float = _CONFIRM_S) -> None:
        if self._noting:
            await asyncio.wait([future for _, future in self._noting], timeout=timeout_s)
        noting, self._noting = self._noting, []
        for letter_id, future in noting:
            error = future.exception() if future.done() else TimeoutError("not confirmed")
            if error is not None:
                self._not_noted(letter_id, error)

    def _not_noted(self, letter_id: str, error: BaseException) -> None:
        self._fail(
            f"{letter_id}: was replayed, but no note of it could be written, so that another run would send "
            f"it again: {_why(error)}"
        )

    def _stuck(self) -> ReplayStoppedError:
        # Waiting as long again for each of what is left would help nobody.
        return ReplayStoppedError(
            f"Kafka at {self._settings.brokers} does not confirm: look at the brokers, and replay the rest."
        )

    async def _start_producer(self) -> None:
        producer = ConfirmedProducer(
            "replay",
            client_options(self._settings) | {"client_id": f"{self._settings.app_id}-replay"},
            # A batch larger than what a topic takes would be refused with all that is in it.
            batch_bytes=16 * 2**10,
            # The brokers' limit is the one that counts.
            largest_bytes=64 * 2**20,
            # Longer than anything is waited for here: what is not confirmed by then may still arrive.
            request_timeout_ms=40_000,
        )
        await producer.connect()
        self._producer = producer

    async def stop(self) -> bool:
        """Settle what is under way, and disconnect; returns whether the connection closed in time."""
        if self._producer is None:
            return True
        # Cut short: what is under way is settled, so that the count is true and the notes are complete.
        await self._settle(5.0)
        await self._settle_notes(5.0)
        producer, self._producer = self._producer, None
        return await producer.stop(5.0)

    def _fail(self, sentence: str, number: int = 1) -> None:
        self.failed += number
        self._tell(sentence, number)


def _why(error: BaseException) -> str:
    return f"{type(error).__name__.removesuffix('Error')}: {error}".rstrip(": .") + "."
