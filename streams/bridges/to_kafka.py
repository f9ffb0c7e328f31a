"""From a bridge to Kafka: each message on its own has an awaitable confirmation, and the whole a bound."""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from aiokafka.errors import MessageSizeTooLargeError

from streams.bridges.refused import letter, shortened
from streams.broker.client_options import client_options
from streams.broker.producers.batches import BatchSender
from streams.broker.producers.errors import TOPIC_REFUSED, RecordRefusedForSizeError
from streams.cancellation import end
from streams.log_lines import LimitedLog
from streams.notifications.priority import Priority
from streams.outgoing import Outgoing, size_of
from streams.settings import Settings
from streams.upstream.connections import connect

#: Bytes that may be under way to Kafka without a confirmation.
AHEAD_BYTES: Final = 16 * 2**20
#: Seconds before what Kafka did not confirm is handed to the client again; doubled each time, up to a most.
_AGAIN_S: Final = 0.1
_AGAIN_MOST_S: Final = 5.0
_CONNECT_S: Final = 10.0
_TOPIC_WAIT_S: Final = 5.0


class _Sending:
    """A record under way, with whoever waits for it."""

    __slots__ = ("future", "record", "size", "tries")

    def __init__(self, record: Outgoing, future: asyncio.Future[None]) -> None:
        self.record = record
        self.future = future
        self.size = size_of(record)
        self.tries = 0


class KafkaWriter:
    """Puts messages on the topic of their priority, and tells of each when the brokers have it.

    What is not confirmed is sent again until it is, or until the writer is stopped; so a record may lie in
    Kafka twice after a fault. Belongs to the event loop it is started on.

    Args:
        settings: where the brokers are, and the names of the topics.
        ahead_bytes: bytes under way at which `full` is true, but for those to topics that take nothing, for
            they would hold up all others; `post` itself takes everything.
        linger_s: seconds that a batch waits for more records.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        ahead_bytes: int = AHEAD_BYTES,
        linger_s: float = 0.005,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._topics: Mapping[Priority, str] = {each: settings.notification_topic(each) for each in Priority}
        self._served = [self._topics[each] for each in settings.priorities]
        self._dead_letter_topic = settings.dead_letter_topic
        self._sender = BatchSender(
            client_options(settings),
            self._settled,
            linger_s=linger_s,
            topic_wait_s=_TOPIC_WAIT_S,
            connect_s=_CONNECT_S,
            client_id=f"{settings.app_id}-bridge-{os.getpid()}",
        )
        self._ahead_bytes = ahead_bytes
        self._clock = clock
        #: By the identity of the record, which the sender gives back.
        self._under_way: dict[int, _Sending] = {}
        self._again: deque[_Sending] = deque()
        #: Refused for their size together with others: each is tried alone.
        self._alone: deque[_Sending] = deque()
        self._resending: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self._stopped = False
        self._log = LimitedLog("tocsin.bridges.kafka")
        #: Bytes under way.
        self.bytes = 0
        #: Records that were not confirmed and sent again, for the metrics.
        self.failures = 0
        #: Topics of which Kafka takes nothing at present: since when, and why.
        self._failing: dict[str, tuple[float, str]] = {}
        self._bytes_of: Counter[str] = Counter()

    async def start(self, wanted: Callable[[], bool] = lambda: True) -> bool:
        """Connect; tries again while no broker is there and it is ``wanted``. Whether it is connected."""
        return await connect(self._sender.start, wanted)

    async def stop(self, within_s: float) -> bool:
        """Wait for confirmations up to so many seconds, disconnect, and cancel what is not confirmed.

        Returns:
            Whether everything was confirmed.
        """
        until = self._clock() + within_s
        while self._under_way and (left := until - self._clock()) > 0:
            self._changed.clear()
            try:
                async with asyncio.timeout(left):
                    await self._changed.wait()
            except TimeoutError:
                break
        in_order = not self._under_way
        self._stopped = True
        await end(self._resending)
        await self._sender.close(0.0)
        for sending in list(self._under_way.values()):
            self._done(sending)
            sending.future.cancel()
        return in_order

    # --- What a bridge calls ---------------------------------------------------------------

    async def send(
        self,
        value: bytes,
        headers: Sequence[tuple[str, bytes]] = (),
        *,
        priority: Priority,
        key: bytes | None = None,
    ) -> None:
        """Wait for room, send one message, and wait until the brokers have confirmed it.

        Args:
            value: the message as the worker shall read it.
            headers: of the record.
            priority: decides the topic.
            key: messages of one key lie on one partition, in order; without one they are spread, as
                publishing does it.

        Raises:
            RecordRefusedForSizeError: Kafka takes no record of this size in that topic.
            asyncio.CancelledError: the writer was stopped before it was confirmed.
        """
        await self.room()
        await self.post(value, headers, priority=priority, key=key)

    def post(
        self,
        value: bytes,
        headers: Sequence[tuple[str, bytes]] = (),
        *,
        priority: Priority,
        key: bytes | None = None,
    ) -> asyncio.Future[None]:
        """Hand one message over at once, whether or not there is room; the future is as `send` ends.

        It is cancelled when the writer is stopped.
        """
        return self._post(Outgoing(self._topics[priority], value, key, None, headers))

    async def dead_letter(
        self, value: bytes, headers: Sequence[tuple[str, bytes]], *, priority: Priority, detail: str
    ) -> None:
        """Put what Kafka refuses for its size into the dead-letter topic: whole, or else its beginning.

        Raises:
            RecordRefusedForSizeError: not even the beginning is taken.
            asyncio.CancelledError: the writer was stopped before it was confirmed.
        """
        whole = letter(self._dead_letter_topic, self._topics[priority], value, headers, detail=detail)
        try:
            await self._post(whole)
        except RecordRefusedForSizeError:
            await self._post(shortened(whole))

    @property
    def full(self) -> bool:
        """Whether as much is under way as may be; then wait for `room`, or refuse more."""
        stuck = sum(self._bytes_of[topic] for topic in self._failing)
        return self.bytes - stuck >= self._ahead_bytes

    async def room(self) -> None:
        """Wait until less than the bound is under way."""
        while self.full:
            self._changed.clear()
            await self._changed.wait()

    def reason(self, priority: Priority | None = None) -> str | None:
        """Why Kafka takes nothing at present, as one sentence; None while it does.

        Args:
            priority: whose topic is asked for; None for any that takes nothing.
        """
        failing = self._failing.values() if priority is None else [self._failing.get(self._topics[priority])]
        since, trouble = next(filter(None, failing), (0.0, ""))
        if not trouble:
            return None
        return f"Kafka has confirmed nothing for {self._clock() - since:.0f} s: {trouble}"

    @property
    def takes_nothing(self) -> bool:
        """Whether Kafka takes nothing of any priority of this deployment at present."""
        return all(topic in self._failing for topic in self._served)

    # --- Results ---------------------------------------------------------------------------

    def _post(self, record: Outgoing) -> asyncio.Future[None]:
        sending = _Sending(record, asyncio.get_running_loop().create_future())
        if self._stopped:
            sending.future.cancel()
            return sending.future
        self._under_way[id(record)] = sending
        self.bytes += sending.size
        self._bytes_of[record.topic] += sending.size
        self._sender.add(record)
        return sending.future

    def _done(self, sending: _Sending) -> None:
        self._under_way.pop(id(sending.record), None)
        self.bytes -= sending.size
        self._bytes_of[sending.record.topic] -= sending.size
        self._changed.set()

    def _settled(self, records: list[Outgoing], error: Exception | None) -> None:
        """Told by the sender what became of records that share one fate."""
        if self._stopped:
            return
        if error is None:
            self._failing.pop(records[0].topic, None)
            for record in records:
                sending = self._under_way[id(record)]
                self._done(sending)
                if not sending.future.done():
                    sending.future.set_result(None)
            return
        self.failures += len(records)
        if isinstance(error, MessageSizeTooLargeError):
            self._refused_for_size(records, error)
        else:
            self._failed(records, error)

    def _refused_for_size(self, records: list[Outgoing], error: Exception) -> None:
        self._failing.pop(records[0].topic, None)  # the brokers answer
        if len(records) > 1:
            # The brokers refused the batch: which of its records are too large shows when each goes alone.
            self._alone.extend(self._under_way[id(record)] for record in records)
            self._resend()
            return
        sending = self._under_way[id(records[0])]
        self._done(sending)
        if not sending.future.done():
            sending.future.set_exception(RecordRefusedForSizeError(f"{sending.record.topic}: {error}"))

    def _failed(self, records: list[Outgoing], error: Exception) -> None:
        topic = records[0].topic
        if isinstance(error, TOPIC_REFUSED):
            trouble = (
                f"the topic {topic} is not there or may not be written; create the topics with "
                "`tocsin topics apply`, or let this user write to it."
            )
        else:
            trouble = f"{str(error) or type(error).__name__}."
        since, _ = self._failing.get(topic, (self._clock(), ""))
        self._failing[topic] = since, trouble
        self._log.warning("Kafka did not confirm, so it is sent again: %s", trouble)
        for record in records:
            sending = self._under_way[id(record)]
            sending.tries += 1
            self._again.append(sending)
        self._resend()

    def _resend(self) -> None:
        self._changed.set()
        if self._resending is None or self._resending.done():
            self._resending = asyncio.get_running_loop().create_task(self._sent_again())

    async def _sent_again(self) -> None:
        while self._again or self._alone:
            if self._again:
                await asyncio.sleep(min(_AGAIN_MOST_S, _AGAIN_S * 2 ** min(10, self._again[0].tries - 1)))
                again, self._again = self._again, deque()
                for sending in again:
                    self._sender.add(sending.record)
            if self._alone:
                await self._send_alone(self._alone.popleft())

    async def _send_alone(self, sending: _Sending) -> None:
        # Naming a partition keeps it out of the batches of all others, which name none.
        del self._under_way[id(sending.record)]
        record = sending.record
        sending.record = Outgoing(record.topic, record.value, record.key, 0, record.headers)
        self._under_way[id(sending.record)] = sending
        self._sender.add(sending.record)
        while not (sending.future.done() or sending in self._alone or sending in self._again):
            self._changed.clear()
            await self._changed.wait()
