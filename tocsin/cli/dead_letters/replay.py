"""Sending dead letters back to where they came from."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import click
from aiokafka.errors import KafkaError

from agents.dead_letters import DeadLetter
from streams.broker.client_options import client_options
from streams.broker.producers.confirmed import ConfirmedProducer
from streams.broker.producers.errors import NOT_TAKEN, RecordRefusedForSizeError
from streams.notifications.visible import visible
from streams.outgoing import Outgoing
from streams.settings import Settings
from streams.upstream.topic_ids import fetch_topics
from tocsin.cli.dead_letters.records import Filter, Skipped, dead_letters, names_of, unknown
from tocsin.cli.reading import TopicReader, topic_fault, topic_reader

#: Header of a replayed record: the id of its dead letter.
REPLAYED_FROM: Final = "tocsin-replayed-from"
_CHUNK_RECORDS: Final = 500
_CHUNK_BYTES: Final = 16 * 2**20
_CONFIRM_S: Final = 30.0
_SHOWN_FAILURES: Final = 20


class Replay:
    """One run of replay: what it sends, and what became of it.

    Args:
        settings: brokers and topics.
        wanted: names of dead letters; empty for all that ``only`` keeps.
        only: which, when they are not named.
        to_topic: where to, instead of the topic each came from.
        dry_run: send nothing.
    """

    def __init__(
        self, settings: Settings, wanted: set[str], only: Filter, *, to_topic: str | None, dry_run: bool
    ) -> None:
        self._settings = settings
        self._wanted = wanted
        self._only = only
        self._to_topic = to_topic
        self._dry_run = dry_run
        self._producer: ConfirmedProducer | None = None
        self._faults: dict[str, str | None] = {}
        self._waiting: list[tuple[str, asyncio.Future[Any]]] = []
        self._waiting_bytes = 0
        self._done = 0
        self._failed = 0
        self._told = 0

    async def run(self, start_ms: int) -> int:
        """Replay, say how many, and return the exit code."""
        cut_short = False
        try:
            async with topic_reader(
                self._settings, [self._settings.dead_letter_topic], start_ms=start_ms
            ) as reader:
                if not self._dry_run:
                    await self._start_producer()
                await self._replay(reader)
        except asyncio.CancelledError:
            cut_short = True
            if (task := asyncio.current_task()) is not None:
                task.uncancel()
        except click.ClickException as error:
            # What was sent until then is counted all the same.
            cut_short = True
            click.echo(f"tocsin dead-letters: {visible(error.message)}", err=True)
        finally:
            await self._stop_producer()
        if self._failed > self._told:
            click.echo(f"tocsin dead-letters: and {self._failed - self._told} more", err=True)
        verb = "would replay" if self._dry_run else "replayed"
        click.echo(f"{verb} {self._done}, failed {self._failed}")
        return 1 if self._failed or cut_short else 0

    async def _replay(self, reader: TopicReader) -> None:
        missing = set(self._wanted)
        async for found in dead_letters(reader, Skipped(), repeats=bool(self._wanted)):
            if self._wanted:
                named = names_of(found) & missing
                if not named:
                    continue
                missing -= named
            elif not self._only.keeps(found.letter):
                continue
            await self._one(reader, found.letter)
            if self._wanted and not missing:
                break
        for name in sorted(missing):
            self._fail(unknown(self._settings, name))
        await self._settle()

    async def _one(self, reader: TopicReader, letter: DeadLetter) -> None:
        topic = self._to_topic or letter.topic
        if letter.truncated:
            self._fail(
                f"{letter.id} is cut: Kafka has only the beginning of its value, so it cannot be replayed."
            )
            return
        if (fault := await self._fault(reader, topic)) is not None:
            self._fail(f"{letter.id}: {fault}")
            return
        if self._producer is None:  # a dry run
            what = f"{letter.id} ({letter.reason}, {len(letter.value or b'')} bytes)"
            click.echo(visible(f"would send {what} to {topic}"))
            self._done += 1
            return
        await self._send(topic, letter, self._producer)

    async def _fault(self, reader: TopicReader, topic: str) -> str | None:
        if topic not in self._faults:
            try:
                found = (await fetch_topics(reader.client, [topic]))[topic]
            except KafkaError as error:
                raise click.ClickException(
                    f"Kafka at {self._settings.brokers} cannot be asked ({error})."
                ) from None
            fault = topic_fault(found)
            if fault is None and not found.may_write:
                fault = f"The topic {topic} may not be written by this user: grant Write on it."
            self._faults[topic] = fault
        return self._faults[topic]

    async def _send(self, topic: str, letter: DeadLetter, producer: ConfirmedProducer) -> None:
        headers = [*letter.headers, (REPLAYED_FROM, letter.id.encode())]
        try:
            async with asyncio.timeout(_CONFIRM_S):
                future = await producer.enqueue(Outgoing(topic, letter.value, letter.key, headers=headers))
        except (*NOT_TAKEN, TimeoutError):
            self._fail(f"{letter.id}: not taken within {_CONFIRM_S:.0f} s.")
            raise self._stuck() from None
        except RecordRefusedForSizeError as error:
            self._fail(f"{letter.id}: {_why(error.__cause__ or error)}")
            return
        except KafkaError as error:
            self._fail(f"{letter.id}: {_why(error)}")
            return
        future.add_done_callback(_look_at)
        self._waiting.append((letter.id, future))
        self._waiting_bytes += len(letter.value or b"")
        if len(self._waiting) >= _CHUNK_RECORDS or self._waiting_bytes >= _CHUNK_BYTES:
            await self._settle()

    async def _settle(self) -> None:
        """Wait until what was sent is confirmed, and count it."""
        if not self._waiting:
            return
        waiting, self._waiting, self._waiting_bytes = self._waiting, [], 0
        await asyncio.wait([future for _, future in waiting], timeout=_CONFIRM_S)
        unconfirmed = 0
        for name, future in waiting:
            if not future.done():
                unconfirmed += 1
            elif (error := future.exception()) is not None:
                self._fail(f"{name}: {_why(error)}")
            else:
                self._done += 1
        if unconfirmed:
            self._fail(f"{unconfirmed} were sent and not confirmed; they may have arrived.", unconfirmed)
            raise self._stuck()

    def _stuck(self) -> click.ClickException:
        # Waiting as long again for each of what is left would help nobody.
        return click.ClickException(
            f"Kafka at {self._settings.brokers} does not confirm: look at the brokers, and replay the rest."
        )

    async def _start_producer(self) -> None:
        producer = ConfirmedProducer(
            "replay",
            client_options(self._settings) | {"client_id": f"{self._settings.app_id}-replay"},
            linger_ms=0,
            # A batch larger than what a topic takes would be refused with all that is in it.
            batch_bytes=16 * 2**10,
            # The brokers' limit is the one that counts.
            largest_bytes=64 * 2**20,
            # Longer than anything is waited for here: what is not confirmed by then may still arrive.
            request_timeout_ms=40_000,
        )
        await producer.connect()
        self._producer = producer

    async def _stop_producer(self) -> None:
        if self._producer is None:
            return
        # Cut short: what is under way is settled, so that the count is true.
        if self._waiting:
            done, _ = await asyncio.wait([future for _, future in self._waiting], timeout=5.0)
            confirmed = sum(future.exception() is None for future in done)
            self._done += confirmed
            if unconfirmed := len(self._waiting) - confirmed:
                self._fail(f"{unconfirmed} were sent and not confirmed; they may have arrived.", unconfirmed)
            self._waiting = []
        if not await self._producer.stop(5.0):
            click.echo("tocsin dead-letters: the connection did not close in time.", err=True)

    def _fail(self, sentence: str, number: int = 1) -> None:
        self._failed += number
        if self._told < _SHOWN_FAILURES or number > 1:
            self._told += number
            click.echo(f"tocsin dead-letters: {visible(sentence)}", err=True)


def _look_at(future: asyncio.Future[Any]) -> None:
    # One that fails when nobody waits any more is not worth a traceback.
    if not future.cancelled():
        future.exception()


def _why(error: BaseException) -> str:
    return f"{type(error).__name__.removesuffix('Error')}: {error}".rstrip(": .") + "."
