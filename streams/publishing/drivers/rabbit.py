"""The driver that pushes messages to RabbitMQ, so that oslo.messaging's notification listener reads them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections import deque
from itertools import cycle, islice, takewhile
from typing import Any, Final

try:
    import aio_pika
    from aio_pika.exceptions import (
        AMQPError,
        ChannelClosed,
        ChannelNotFoundEntity,
        DeliveryError,
        PublishError,
    )
    from aiormq.channel import Channel
    from pamqp.commands import Basic
    from yarl import URL
except ImportError as error:
    from streams.settings import ConfigurationError

    raise ConfigurationError(f"the package {error.name} is missing: pip install 'tocsin[rabbit]'") from error

from streams.outgoing import Outgoing, size_of
from streams.publishing.loop_driver import LoopDriver
from streams.publishing.oslo_form import Body, enveloped, flat
from streams.publishing.rabbit_urls import rabbit_urls, without_password
from streams.retries import Backoff, Retries
from streams.settings import ConfigurationError, Settings, load_settings

_FORMS: Final = {"envelope": enveloped, "flat": flat}
_QUEUE_TYPES: Final = ("classic", "quorum")
#: Messages that are under way without a confirmation.
_AHEAD: Final = 1000
_CHUNK: Final = 100
#: Tries of a message that RabbitMQ refuses, or that closes its channel; a lost connection is no try.
_MOST_TRIES: Final = 4
#: Between two tries to connect.
_AGAIN: Final = Backoff(0.1, factor=2, most_s=5.0)
#: Between two tries of a message that was refused.
_REFUSED_S: Final = 0.25
_CONNECT_S: Final = 10.0
_CLOSE_S: Final = 1.0
_PERSISTENT: Final = 2


class _Letter:
    """A message on its way, with its body, which stays the same however often it is sent."""

    __slots__ = ("body", "message", "suspect", "tries")

    def __init__(self, message: Outgoing, body: Body) -> None:
        self.message = message
        self.body = body
        self.tries = 0
        self.suspect = False  # it was under way when RabbitMQ closed a channel: it goes alone


class _Quiet(logging.Filter):
    """Leaves out what the client says in threads of this driver, which says it itself, at a limited rate."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not str(record.threadName).startswith(f"tocsin-{_NAME}")


_NAME: Final = "rabbit"
#: One for all drivers: a logger takes the same filter once.
_QUIET: Final = _Quiet()


class _Confirmed:
    """A channel with publisher confirms, and what is under way on it."""

    def __init__(self, connection: Any, channel: Channel, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self.connection = connection
        self.channel = channel
        self.sending: dict[asyncio.Task[None], _Letter] = {}
        self.bytes = 0
        self.suspect = False  # one is under way
        self.lost: Exception | None = None

    def is_lost(self) -> bool:
        return self.lost is not None

    @property
    def full(self) -> bool:
        return self.suspect or len(self.sending) >= _AHEAD or self.bytes >= self._most_bytes


class RabbitDriver(LoopDriver):
    """Delivers to RabbitMQ with publisher confirms; sends again until it is confirmed, or the driver closed.

    A message goes to the topic exchange with its topic, such as ``notifications.error``, as routing key. The
    queue of that name, bound to the exchange, is looked for first, and made if it is missing, as
    oslo.messaging's publisher does; what is there already is used as it is. A message is persistent and
    mandatory: one that reaches no queue is tried again, and counts as failed in the end.

    What was not confirmed when a connection is lost is sent again, so RabbitMQ may hold it twice, with the
    same ``message_id`` among its properties.

    Args:
        settings: name the server; read from the environment when None and no ``url`` is given.
        url: such as ``amqp://user:password@host:5672/vhost``, or an oslo.messaging transport URL with
            several hosts, which are tried in turn; ``amqps://…?cafile=…`` for TLS;
            that of the settings (``TOCSIN_RABBIT_URL``) when None.
        exchange: name of the topic exchange; nova's is ``nova``, oslo.messaging's own default ``openstack``.
        form: ``envelope`` for that of oslo.messaging's ``messagingv2``, ``flat`` for that of the proposal.
        declare: make exchange, queues and bindings that are missing.
        durable: whether what is made survives a restart of RabbitMQ.
        queue_type: of a queue that is made: ``classic`` or ``quorum``.
        heartbeat_s: seconds between heartbeats; a connection without any for three times as long is lost.
        buffer_bytes: bound of the messages not yet confirmed.
        max_wait_s: the longest that ``push`` and ``apush`` hold up the caller. ``push`` called in
            a thread that runs an event loop never waits.
        max_message_bytes: larger messages fail at once.
        exit_wait_s: how long the interpreter's exit waits for what is still buffered.

    Raises:
        ConfigurationError: the URL or an option cannot be used.
    """

    def __init__(
        self,
        *,
        settings: Settings | None = None,
        url: str | None = None,
        exchange: str = "nova",
        form: str = "envelope",
        declare: bool = True,
        durable: bool = True,
        queue_type: str = "classic",
        heartbeat_s: int = 15,
        buffer_bytes: int = 32 * 2**20,
        max_wait_s: float = 0.25,
        max_message_bytes: int = 2**20,
        exit_wait_s: float = 2.0,
    ) -> None:
        if form not in _FORMS:
            raise ConfigurationError(f"form={form!r}: use envelope or flat.")
        if queue_type not in _QUEUE_TYPES:
            raise ConfigurationError(f"queue_type={queue_type!r}: use classic or quorum.")
        if queue_type == "quorum" and not durable:
            raise ConfigurationError("queue_type='quorum' needs durable=True: RabbitMQ has no other.")
        if not 1 <= heartbeat_s <= 3600:
            raise ConfigurationError(f"heartbeat_s={heartbeat_s}: use 1 to 3600 seconds.")
        self._urls = rabbit_urls(url if url is not None else _url_of(settings))
        self._exchange = exchange
        self._form = _FORMS[form]
        self._declare = declare
        self._durable = durable
        self._queue_type = queue_type
        self._heartbeat_s = heartbeat_s
        for name in ("aiormq.connection", "aiormq.channel", "aio_pika"):
            logging.getLogger(name).addFilter(_QUIET)
        super().__init__(
            _NAME,
            "RabbitMQ",
            buffer_bytes=buffer_bytes,
            max_wait_s=max_wait_s,
            max_message_bytes=max_message_bytes,
            exit_wait_s=exit_wait_s,
        )

    def _fresh(self) -> None:
        super()._fresh()
        #: To be sent before what is in the backlog.
        self._again: deque[_Letter] = deque()

    async def _deliver(self) -> None:
        """Connect and publish, over and over, until the driver is closed."""
        urls = cycle(self._urls)
        while not self._gave_up():
            retries = Retries(_AGAIN, wanted=lambda: not self._gave_up())
            while (wire := await self._connect(next(urls))) is None:
                if not await retries.pause():
                    return
            try:
                await self._publish(wire)
            finally:
                await self._disconnect(wire)
            if wire.lost is not None and not self._gave_up():
                self._log.warning(
                    "The connection to RabbitMQ is lost and will be made anew: %s", _reason(wire.lost)
                )
                self._set_away(True)

    # --- The connection --------------------------------------------------------------------

    async def _connect(self, url: str) -> _Confirmed | None:
        # Not by aio_pika.connect, which leaves a connection behind when it fails.
        connection = aio_pika.Connection(
            URL(url).update_query(heartbeat=str(self._heartbeat_s)),
            client_properties={"connection_name": f"tocsin-publisher-{os.getpid()}"},
        )
        try:
            async with asyncio.timeout(_CONNECT_S):
                await connection.connect()
                channel: Any = await connection.channel(publisher_confirms=True, on_return_raises=True)
                wire = _Confirmed(connection, await channel.get_underlay_channel(), self._ahead_bytes)
        except Exception as error:  # noqa: BLE001 -- whatever keeps it from connecting
            self._log.warning("RabbitMQ at %s does not answer: %s", without_password(url), _reason(error))
            self._set_away(True)
            await _close(connection)
            return None
        self._set_away(False)

        def closed(_: object, error: BaseException | None = None) -> None:
            self._lose(wire, error if isinstance(error, Exception) else ConnectionError("closed"))

        connection.close_callbacks.add(closed)
        return wire

    async def _disconnect(self, wire: _Confirmed) -> None:
        """Close, and put what was not confirmed in front of what waits."""
        for task in wire.sending:
            task.cancel()
        if wire.sending:
            await asyncio.gather(*wire.sending, return_exceptions=True)
        self._again.extendleft(reversed(wire.sending.values()))
        await _close(wire.connection)

    def _lose(self, wire: _Confirmed, error: Exception) -> None:
        if wire.lost is None:
            wire.lost = error
        self._wake.set()

    # --- Messages --------------------------------------------------------------------------

    async def _publish(self, wire: _Confirmed) -> None:
        """Publish until the connection is lost, or the driver is closed and nothing is left."""
        declared: set[str] = set()
        while not wire.is_lost() and not self._gave_up():
            letters = [] if wire.full else self._letters(wire)
            if not letters:
                await self._wait()
            for index, letter in enumerate(letters):
                if (topic := letter.message.topic) not in declared:
                    declared.add(topic)
                    try:
                        await self._make_way(wire.connection, topic)
                    except (AMQPError, OSError, RuntimeError) as error:
                        self._lose(wire, error)
                if wire.is_lost():
                    # In their order before those that wait.
                    self._again.extendleft(reversed(letters[index:]))
                    return
                self._start(wire, letter, declared)
            await asyncio.sleep(0)

    def _letters(self, wire: _Confirmed) -> list[_Letter]:
        if not self._again:
            return [_Letter(message, self._form(message.value or b"")) for message in self._take(_CHUNK)]
        letters = list(islice(takewhile(lambda letter: not letter.suspect, self._again), _CHUNK))
        if not letters and not wire.sending:
            letters = [self._again[0]]
        for _ in letters:
            self._again.popleft()
        return letters

    async def _wait(self) -> None:
        """Wait for messages, confirmations, a loss of the connection, or the end of the time to close in."""
        left = None if self._closing is None else max(0.0, self._closing - time.monotonic())
        try:
            async with asyncio.timeout(left):
                await self._news()
        except TimeoutError:
            pass

    def _start(self, wire: _Confirmed, letter: _Letter, declared: set[str]) -> None:
        task = asyncio.get_running_loop().create_task(self._send(wire.channel, letter))
        size = size_of(letter.message)
        wire.sending[task] = letter
        wire.suspect = letter.suspect
        wire.bytes += size

        def done(task: asyncio.Task[None]) -> None:
            if task.cancelled():
                return  # the connection is lost, or being closed, and the letter is put back then
            error = task.exception()
            del wire.sending[task]
            wire.bytes -= size
            wire.suspect = False
            self._wake.set()
            if error is None:
                self._settled([letter.message], None)
            elif isinstance(error, PublishError | DeliveryError):
                # It reached no queue, which may be gone since it was looked for; or a queue did not take it.
                declared.discard(letter.message.topic)
                self._try_again(letter, error)
            elif isinstance(error, ChannelClosed):
                # RabbitMQ closed the channel because of something that was under way: perhaps this.
                letter.suspect = True
                self._try_again(letter, error)
                self._lose(wire, error)
            elif isinstance(error, AMQPError | OSError | RuntimeError):
                self._again.append(letter)
                self._lose(wire, error)
            else:
                self._settled([letter.message], error if isinstance(error, Exception) else ValueError(error))

        task.add_done_callback(done)

    async def _send(self, channel: Channel, letter: _Letter) -> None:
        if letter.tries and not letter.suspect:
            await asyncio.sleep(_REFUSED_S * 2 ** (letter.tries - 1))
        message, body = letter.message, letter.body
        await channel.basic_publish(
            body.value,
            exchange=self._exchange,
            routing_key=message.topic,
            properties=Basic.Properties(
                content_type="application/json" if body.json else "application/octet-stream",
                content_encoding="utf-8" if body.json else "binary",
                delivery_mode=_PERSISTENT,
                message_id=body.message_id,
                headers={name: value.decode("utf-8", "backslashreplace") for name, value in message.headers},
            ),
            mandatory=True,
            wait=False,
        )

    def _try_again(self, letter: _Letter, error: Exception) -> None:
        letter.tries += 1
        if letter.tries >= _MOST_TRIES:
            self._settled([letter.message], error)
        else:
            self._again.append(letter)

    # --- Exchange and queues ---------------------------------------------------------------

    async def _make_way(self, connection: Any, topic: str) -> None:
        """Find exchange and queue of a topic, and make what is missing.

        What RabbitMQ refuses is no reason not to publish: nobody needs rights to declare what is there.
        """
        if not self._declare:
            return
        try:
            await self._have(connection, "exchange", topic)
            await self._have(connection, "queue", topic)
            channel = await connection.channel()
            queue = await channel.get_queue(topic, ensure=False)
            await queue.bind(self._exchange, topic)
            await channel.close()
        except ChannelClosed as error:
            self._log.warning("RabbitMQ did not let queue %s be declared: %s", topic, _reason(error))

    async def _have(self, connection: Any, what: str, topic: str) -> None:
        """Look for an exchange or queue, whatever its attributes, and declare it where there is none."""
        # Each on a channel of its own: what is not there, or refused, closes the channel.
        channel = await connection.channel()
        try:
            if what == "exchange":
                await channel.get_exchange(self._exchange, ensure=True)
            else:
                await channel.get_queue(topic, ensure=True)
            await channel.close()
            return
        except ChannelNotFoundEntity:
            pass
        channel = await connection.channel()
        if what == "exchange":
            await channel.declare_exchange(self._exchange, aio_pika.ExchangeType.TOPIC, durable=self._durable)
        else:
            arguments: Any = {"x-queue-type": "quorum"} if self._queue_type == "quorum" else None
            await channel.declare_queue(topic, durable=self._durable, arguments=arguments)
        await channel.close()


def _url_of(settings: Settings | None) -> str:
    found = (settings if settings is not None else load_settings()).rabbit_url
    if found is None:
        raise ConfigurationError(
            "The driver rabbit does not know where RabbitMQ is: set TOCSIN_RABBIT_URL or "
            "TOCSIN_RABBIT_URL_FILE, or give url, as in amqp://user:password@host:5672/vhost."
        )
    return found.get_secret_value()


def _reason(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {_CONNECT_S:g} s"
    return str(error) or type(error).__name__


async def _close(connection: Any) -> None:
    """Close a connection, and let the client's tasks come to their end, of which it may leave some behind."""
    with contextlib.suppress(TimeoutError, AMQPError, OSError, RuntimeError):
        async with asyncio.timeout(_CLOSE_S):
            await connection.close()
    if others := asyncio.all_tasks() - {asyncio.current_task()}:
        await asyncio.wait(others, timeout=_CLOSE_S)
