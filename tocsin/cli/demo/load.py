"""The demo's load and what comes of it in Kafka: published, forwarded, dead-lettered."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import Counter, deque
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any, Final, NamedTuple

import orjson
from aiokafka.errors import KafkaError

from streams.broker.client_options import client_options
from streams.broker.producers.batches import BatchSender
from streams.dead_letters.letters import ID, TOPIC
from streams.notifications.encoding import encode
from streams.notifications.priority import Priority
from streams.outgoing import Outgoing
from streams.publishing.bulk import Bulk, Tally
from streams.publishing.generator import Made, generate
from streams.quantities import quantity, thousands
from streams.records import PlacedRecord, ReadingFailedError
from streams.settings import Settings
from tocsin.cli.common.reading import topic_reader
from tocsin.cli.demo.worker_process import DemoError

#: Share of malformed messages, so that dead letters are seen too.
BAD_SHARE: Final = 0.005
_SEED: Final = 1
_CHUNK: Final = 200
_TIMEOUT_S: Final = 30.0
_SHOWN_ALERTS: Final = 50


class Alert(NamedTuple):
    """An alert as it is shown; ``time`` is when the notification says it happened."""

    time: str
    priority: Priority
    event_type: str
    publisher_id: str


class Load:
    """Publishes a made load, bursts and all, at the times at which it says it happens.

    Args:
        settings: of the worker: brokers, topics.
        rate: notifications a second, on average.
    """

    def __init__(self, settings: Settings, rate: float) -> None:
        self._settings = settings
        self._rate = rate
        self._tally = Tally()
        self._priorities = {settings.notification_topic(each): each for each in settings.priorities}
        self._topics = {priority: topic for topic, priority in self._priorities.items()}
        #: Notifications confirmed by Kafka, by priority.
        self.published: Counter[Priority] = Counter()

    async def run(self, seconds: float | None) -> None:
        """Publish for ``seconds``, for ever when None, and wait for the confirmations.

        Raises:
            DemoError: Kafka does not take it.
        """
        stuck = asyncio.Event()
        sender = BatchSender(client_options(self._settings), self._settled, connect_s=_TIMEOUT_S)
        try:
            await sender.start()
            bulk = Bulk(sender, self._tally, stuck, timeout_s=_TIMEOUT_S, rate=None)
            await bulk.send(self._chunks(seconds), self._message)
            await bulk.confirm()
        except (KafkaError, OSError) as error:
            raise DemoError(f"Nothing can be published ({error}).") from None
        finally:
            await sender.close(0)
        if stuck.is_set():
            raise DemoError(f"Kafka has confirmed nothing for {_TIMEOUT_S:.0f} s.")
        if self._tally.failed:
            why = "; ".join(self._tally.troubles)
            failed = quantity(self._tally.failed, "notification", show=thousands)
            raise DemoError(f"{failed} could not be published ({why}).")

    async def _chunks(self, seconds: float | None) -> AsyncIterator[Sequence[Made]]:
        loop = asyncio.get_running_loop()
        started = loop.time()
        until = None if seconds is None else started + seconds
        chunk: list[Made] = []
        for made in generate(_SEED, None, _now_ms(), rate=self._rate, bad_share=BAD_SHARE):
            due = started + made.offset_ms / 1000
            if chunk and (len(chunk) >= _CHUNK or due > loop.time()):
                yield chunk
                chunk = []
            if until is not None and max(due, loop.time()) >= until:
                await asyncio.sleep(max(0.0, until - loop.time()))
                return
            if (wait_s := due - loop.time()) > 0:
                await asyncio.sleep(wait_s)
            chunk.append(made)

    def _message(self, made: Made) -> Outgoing:
        value = made.raw
        if value is None:
            value = encode(
                made.publisher_id,
                made.event_type,
                made.priority,
                made.payload,
                _now_ms(),
                str(uuid.uuid4()),
            )
        return Outgoing(self._topics[made.priority], value)

    def _settled(self, messages: list[Outgoing], error: Exception | None) -> None:
        self._tally.settled(messages, error)
        if error is None:
            self.published.update(self._priorities[message.topic] for message in messages)


class Arrivals:
    """What arrives in the alert topics and in the dead letters; repeats after a crash are one."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._alert_topics = {settings.alert_topic(each.value): each for each in settings.forward_priorities}
        self._sources = {settings.notification_topic(each): each for each in settings.priorities}
        self._ids: set[bytes] = set()
        #: Alerts, by priority.
        self.forwarded: Counter[Priority] = Counter()
        #: Dead letters, by the priority of the topic they came from.
        self.dead_lettered: Counter[Priority] = Counter()
        #: The latest alerts, the newest last.
        self.alerts: deque[Alert] = deque(maxlen=_SHOWN_ALERTS)

    async def follow(self) -> None:
        """Read on and on, without a consumer group.

        Raises:
            DemoError: the brokers refuse.
        """
        topics = [*self._alert_topics, self._settings.dead_letter_topic]
        try:
            async with topic_reader(self._settings, topics, start_ms=0) as reader:
                async for batch in reader.follow():
                    for record in batch:
                        self._take(record)
        except ReadingFailedError as error:
            raise DemoError(str(error)) from None

    def _take(self, record: PlacedRecord) -> None:
        headers: dict[str, Any] = dict(record.headers)
        severity = self._alert_topics.get(record.topic)
        identity = headers.get("ce_id" if severity is not None else ID)
        if identity is None or identity in self._ids:
            return
        self._ids.add(identity)
        if severity is None:
            self.dead_lettered[self._sources[headers[TOPIC].decode()]] += 1
            return
        self.forwarded[severity] += 1
        body = orjson.loads(record.value or b"")
        labels = body["labels"]
        self.alerts.append(Alert(body["startsAt"], severity, labels["alertname"], labels["publisher_id"]))


def newest(alerts: Sequence[Alert] | deque[Alert], number: int) -> Iterator[Alert]:
    """At most ``number`` of the alerts, the newest first."""
    return (alert for alert, _ in zip(reversed(alerts), range(number), strict=False))


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
