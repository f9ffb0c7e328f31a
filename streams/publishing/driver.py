"""The driver interface: a driver merely pushes messages out, and never takes down its service."""

from __future__ import annotations

import asyncio
import importlib
import threading
from abc import ABC, abstractmethod
from importlib.metadata import entry_points
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from streams.forks import renew_after_fork
from streams.log_lines import LimitedLog
from streams.outgoing import Outgoing

if TYPE_CHECKING:  # a service that publishes need not wait for what reads the settings
    from streams.settings import Settings

#: Entry-point group in which other packages offer drivers.
ENTRY_POINT_GROUP = "tocsin.drivers"

# Known without an installed distribution too, as in a checkout that is only on the path.
_BUILT_IN = {
    "burrow": "streams.publishing.drivers.burrow:BurrowDriver",
    "file": "streams.publishing.drivers.file:FileDriver",
    "kafka": "streams.publishing.drivers.kafka:KafkaDriver",
    "log": "streams.publishing.drivers.log:LogDriver",
    "memory": "streams.publishing.drivers.memory:MemoryDriver",
    "noop": "streams.publishing.drivers.noop:NoopDriver",
    "rabbit": "streams.publishing.drivers.rabbit:RabbitDriver",
    "routing": "streams.publishing.drivers.routing:RoutingDriver",
}


class Stats(NamedTuple):
    """What became of the messages so far; ``pushed`` less the other three is still on its way.

    Attributes:
        pushed: messages handed to the driver.
        delivered: messages whose delivery the other side confirmed.
        failed: messages that were tried and could not be delivered, or whose delivery was not confirmed.
        dropped: messages not even tried, since the buffer was full or the driver closed.
    """

    pushed: int = 0
    delivered: int = 0
    failed: int = 0
    dropped: int = 0


class Driver(ABC):
    """Pushes messages out.

    The contract: ``push`` and ``apush`` never raise, and never hold up the caller for longer
    than a bound that the driver states. What cannot be delivered is counted and logged at a
    limited rate, nothing more. Both may be called from any thread.

    A driver's constructor takes ``settings`` and its own options by keyword; that is where a
    wrong configuration is reported, as ConfigurationError.
    """

    @abstractmethod
    def push(self, message: Outgoing) -> bool:
        """Take ``message``; False when it is already known that it will not be delivered."""

    async def apush(self, message: Outgoing) -> bool:
        """Like ``push``, for asynchronous code: waits, if at all, without holding up the event loop."""
        return self.push(message)

    @property
    @abstractmethod
    def stats(self) -> Stats:
        """The counts so far."""

    def flush(self, timeout: float) -> bool:  # noqa: ARG002 -- a driver without a buffer has nothing to do
        """Wait up to ``timeout`` seconds; True when nothing is on its way any more."""
        return True

    def close(self, timeout: float = 5.0) -> None:  # noqa: B027 -- nothing to do without a buffer
        """Deliver what is buffered, for up to ``timeout`` seconds, and let go of everything.

        What is pushed afterwards is dropped. Closing twice does no harm.
        """

    async def aflush(self, timeout: float) -> bool:  # noqa: ASYNC109 -- the same words as flush
        """Like ``flush``, for asynchronous code."""
        return await asyncio.to_thread(self.flush, timeout)

    async def aclose(self, timeout: float = 5.0) -> None:  # noqa: ASYNC109 -- the same words as close
        """Like ``close``, for asynchronous code."""
        await asyncio.to_thread(self.close, timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()


class DirectDriver(Driver):
    """Base of drivers that deliver in the caller's thread: implement ``deliver``, which may raise.

    ``deliver`` must be quick: the caller waits for it.
    """

    def __init__(self) -> None:
        self.after_fork()
        renew_after_fork(self)
        self._pushed = self._delivered = self._failed = self._dropped = 0
        self._closed = False
        self._log = LimitedLog(f"tocsin.publishing.{type(self).__name__}")

    def after_fork(self) -> None:
        """Make the lock anew in a child process; the counts go on from the parent's."""
        self._lock = threading.Lock()

    @abstractmethod
    def deliver(self, message: Outgoing) -> None:
        """Deliver one message, or raise."""

    def push(self, message: Outgoing) -> bool:
        """Deliver ``message`` at once; False when that failed."""
        if self._closed:
            with self._lock:
                self._pushed += 1
                self._dropped += 1
            return False
        try:
            self.deliver(message)
        except Exception as error:  # noqa: BLE001 -- the contract: nothing gets through to the service
            with self._lock:
                self._pushed += 1
                self._failed += 1
            self._log.warning("A message to %s could not be delivered: %r", message.topic, error)
            return False
        with self._lock:
            self._pushed += 1
            self._delivered += 1
        return True

    @property
    def stats(self) -> Stats:
        """The counts so far."""
        with self._lock:
            return Stats(self._pushed, self._delivered, self._failed, self._dropped)

    def close(self, timeout: float = 5.0) -> None:  # noqa: ARG002 -- nothing is buffered
        """Drop whatever is pushed from now on."""
        self._closed = True


def available_drivers() -> dict[str, str]:
    """Drivers by name, each with its ``module:class``; installed ones win over built-in ones."""
    return _BUILT_IN | {entry.name: entry.value for entry in entry_points(group=ENTRY_POINT_GROUP)}


def load_driver(name: str, *, settings: Settings | None = None, **options: Any) -> Driver:
    """Make the driver called ``name``.

    Args:
        name: such as ``kafka``; see ``available_drivers``.
        settings: the settings; read from the environment by a driver that needs some, when None.
        options: the driver's own options.

    Raises:
        ConfigurationError: there is no such driver, it cannot be imported, or an option is wrong.
    """
    from streams.settings import ConfigurationError  # noqa: PLC0415 -- takes a tenth of a second

    drivers = available_drivers()
    if name not in drivers:
        raise ConfigurationError(
            f"There is no publishing driver {name!r}; available: {', '.join(sorted(drivers))}."
        )
    where = drivers[name]
    try:
        module, _, attribute = where.partition(":")
        factory = getattr(importlib.import_module(module), attribute)
    except Exception as error:
        raise ConfigurationError(
            f"The publishing driver {name!r} ({where}) cannot be imported: {error}."
        ) from error
    try:
        driver = factory(settings=settings, **options)
    except TypeError as error:
        raise ConfigurationError(
            f"The publishing driver {name!r} does not take these options: {error}."
        ) from error
    if not isinstance(driver, Driver):
        raise ConfigurationError(
            f"The publishing driver {name!r} ({where}) is no Driver of streams.publishing.driver."
        )
    return driver
