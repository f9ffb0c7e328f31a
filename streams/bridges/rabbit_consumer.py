"""One queue of RabbitMQ, consumed on a channel of its own, so that its acknowledgements are its own too."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, NamedTuple

from streams.bridges.acknowledgements import Acknowledgements
from streams.bridges.prefetch import Prefetch
from streams.notifications.priority import Priority


class Delivery(NamedTuple):
    """A message that came and is not acknowledged.

    Attributes:
        consumer: that it came by.
        tag: of its channel.
        message: as the client gives it.
        size: bytes of the body.
    """

    consumer: Consumer
    tag: int
    message: Any
    size: int


class Consumer:
    """Consumes one queue on one connection; make a new one for the next connection.

    Args:
        queue: its name.
        priority: of what lies in it.
        prefetch: messages at most that are held without acknowledgement.
        bound_bytes: bytes of them at most; what comes beyond goes back to its place in the queue.
        came: told of each delivery that is taken; give it back with `settled` once Kafka has it.
    """

    def __init__(
        self,
        queue: str,
        priority: Priority,
        *,
        prefetch: int,
        bound_bytes: int,
        came: Callable[[Delivery], None],
    ) -> None:
        self.queue = queue
        self.priority = priority
        self._came = came
        self._prefetch = Prefetch(prefetch, bound_bytes)
        self._open = Acknowledgements()
        self._given_back: list[int] = []
        self._wake = asyncio.Event()
        #: Consumes no more, but still acknowledges; and then no longer than what is settled now.
        self._stopped = self._at_once = False
        #: To be cancelled, and to consume again once nothing is held, with another limit.
        self._anew = False
        self._tag: str | None = None
        self._consumes = False
        #: Whether this channel has acknowledged anything.
        self._acknowledged = False
        self._lost: Exception | None = None
        #: Whether it does not run.
        self.ended = asyncio.Event()
        self.ended.set()
        #: Messages that were handed over to Kafka, which has not confirmed them.
        self.under_way = 0

    @property
    def held(self) -> int:
        """Messages that are taken and not settled."""
        return self._prefetch.number

    @property
    def held_bytes(self) -> int:
        """Bytes of them."""
        return self._prefetch.held_bytes

    @property
    def consuming(self) -> bool:
        """Whether the queue is there, and what comes into it is taken."""
        return self._consumes and not self.ended.is_set()

    def handed_over(self) -> None:
        """One of its messages is on its way to Kafka."""
        self.under_way += 1

    def settled(self, delivery: Delivery) -> None:
        """Kafka has confirmed it: RabbitMQ may forget it."""
        self.under_way -= 1
        self._open.settled(delivery.tag)
        self._anew |= self._prefetch.left(delivery.size)
        self._wake.set()

    def stop(self, *, at_once: bool = False) -> None:
        """Consume no more; `run` ends once Kafka has confirmed what is under way.

        Args:
            at_once: acknowledge what is confirmed by now, and leave the rest to RabbitMQ.
        """
        self._stopped, self._at_once = True, at_once
        self._wake.set()

    async def run(self, connection: Any) -> None:
        """Consume, and acknowledge what is settled, until this is stopped or the channel is lost.

        Raises:
            ChannelNotFoundEntity: there is no such queue.
            AMQPError, OSError, RuntimeError: the channel or the connection is lost.
        """
        self.ended.clear()
        try:
            await self._run(connection)
        finally:
            self.ended.set()

    async def _run(self, connection: Any) -> None:
        channel = await connection.channel(publisher_confirms=False)
        channel.close_callbacks.add(self._closed)
        wire = await channel.get_underlay_channel()
        wire.on_consumer_cancel_callbacks.add(self._cancelled)
        self._wake.set()
        while True:
            await self._wake.wait()
            self._wake.clear()
            if self._lost is not None:
                raise self._lost
            # At the very end, it is cancelled after the acknowledgements.
            if self._tag is not None and (self.under_way if self._stopped else self._anew):
                await self._cancel(wire)
            last = self._stopped and (self._at_once or not self.under_way)
            await self._acknowledge(wire)
            if last:
                await self._await_acknowledged(wire)
                await channel.close()
                return
            if self._tag is None and not self._stopped and not self.held:
                # The limit is one of each consumer, so what an earlier one holds would come on top of it.
                self._anew = False
                await self._consume(wire, self._prefetch.limit)
                self._consumes = True

    async def _await_acknowledged(self, wire: Any) -> None:
        """Wait until the queue has done what was acknowledged on this channel.

        A quorum queue does it later, and forgets what is left of it when the channel closes
        (rabbitmq/rabbitmq-server#10327). It answers the end of a consumer after all that came before it.
        """
        if not self._acknowledged:
            return
        if self._tag is None:
            await self._consume(wire, 1)
        await self._cancel(wire)

    async def _consume(self, wire: Any, limit: int) -> None:
        await wire.basic_qos(prefetch_count=limit)
        self._tag = (await wire.basic_consume(self.queue, self._delivered)).consumer_tag

    async def _cancel(self, wire: Any) -> None:
        tag, self._tag = self._tag, None
        await wire.basic_cancel(tag)

    async def _acknowledge(self, wire: Any) -> None:
        """Acknowledge what is settled, and give back what was too much."""
        # Both taken at one time: one acknowledgement may cover all tags before its own, and those that go
        # back must have left before it.
        back: list[int] = []
        if self._tag is None or not self._stopped:
            # To a consumer that goes on, they would come again at once; otherwise the end of the channel
            # brings them back.
            back, self._given_back = self._given_back, []
        done = self._open.take()
        self._acknowledged |= bool(done)
        for tag in back:
            await wire.basic_nack(tag, requeue=True, wait=False)
        for tag, all_before in done:
            await wire.basic_ack(tag, multiple=all_before, wait=False)

    async def _delivered(self, message: Any) -> None:
        tag = message.delivery.delivery_tag
        size = len(message.body)
        self._open.delivered(tag)
        if not self._stopped and self._prefetch.fits(size):
            self._came(Delivery(self, tag, message, size))
            return
        self._open.returned(tag)
        self._given_back.append(tag)
        self._anew = True
        self._wake.set()

    def _closed(self, _: object, error: BaseException | None = None) -> None:
        self._lose(error if isinstance(error, Exception) else ConnectionError("the channel was closed"))

    def _cancelled(self, _: object) -> None:
        self._lose(ConnectionError(f"RabbitMQ ended the consuming of {self.queue}, which may be deleted"))

    def _lose(self, error: Exception) -> None:
        self._lost = self._lost or error
        self._wake.set()
