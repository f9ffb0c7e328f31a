"""The driver that hands messages to several others, each of which gets what its rules accept."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from streams.forks import renew_after_fork
from streams.log_lines import LimitedLog
from streams.notifications.decoding import Decoder, Limits
from streams.notifications.notification import Rejection
from streams.outgoing import Outgoing
from streams.publishing.backlog import priority_of
from streams.publishing.buffered import ThreadDriver
from streams.publishing.driver import Driver, Stats, load_driver
from streams.publishing.routes import Routes
from streams.settings import ConfigurationError, Settings, load_settings

#: Bytes of a routing file.
_FILE_BYTES: Final = 2**20
#: The most that a buffer before a driver is charged for one message.
_MESSAGE_BYTES: Final = 2**29


class _Behind(ThreadDriver):
    """A driver behind a buffer and a thread of its own, so that it holds up nobody, whatever it does."""

    def __init__(self, name: str, driver: Driver, buffer_bytes: int, exit_wait_s: float) -> None:
        self.driver = driver
        super().__init__(
            f"routing-{name}",
            f"the driver {name}",
            buffer_bytes=buffer_bytes,
            max_wait_s=0.0,
            max_message_bytes=_MESSAGE_BYTES,
            exit_wait_s=exit_wait_s,
        )

    def _deliver(self, messages: list[Outgoing]) -> None:
        for message in messages:
            try:
                self.driver.push(message)
            except Exception as error:  # noqa: BLE001 -- a driver that breaks its contract
                self._settled([message], error)
            else:
                # What becomes of it now the driver counts itself.
                self._settled([message], None)

    @property
    def both(self) -> Stats:
        """What became of the messages, here and in the driver."""
        mine, its = self.stats, self.driver.stats
        return Stats(mine.pushed, its.delivered, mine.failed + its.failed, mine.dropped + its.dropped)


class RoutingDriver(Driver):
    """Hands each message to every driver whose rules accept it, through a buffer of each driver's own.

    The rules are those of oslo.messaging's routing file, which is read as it is: groups of drivers, each with
    patterns of shells in ``accepted_events`` and ``accepted_priorities``; what is absent accepts everything.
    ``messaging`` and ``messagingv2`` in it mean the driver ``rabbit``, in the flat form and in the envelope,
    where ``TOCSIN_RABBIT_URL`` or the option ``url`` is set, and else the driver ``kafka``; ``test`` means
    ``memory``.

    A driver that fails or hangs changes nothing for the caller or for the other drivers. What cannot be read
    as a notification has an empty event type, and the priority that its topic names.

    Args:
        settings: where the rules are, unless they are given here; read from the environment when None.
        file: oslo.messaging's routing file, in YAML.
        routes: the same as a mapping, in place of a file.
        options: by driver, its options.
        buffer_bytes: bound of the messages that wait for one driver.
        exit_wait_s: how long the interpreter's exit waits for each driver.

    Raises:
        ConfigurationError: there are no rules, they cannot be read, or a driver cannot be made.
    """

    def __init__(
        self,
        *,
        settings: Settings | None = None,
        file: str | Path | None = None,
        routes: Mapping[str, Any] | None = None,
        options: Mapping[str, Mapping[str, Any]] | None = None,
        buffer_bytes: int = 8 * 2**20,
        exit_wait_s: float = 2.0,
    ) -> None:
        settings = settings if settings is not None else load_settings()
        self._routes = _routes(settings, file, routes)
        self._decode = Decoder(Limits()).decode
        self._log = LimitedLog("tocsin.publishing.routing")
        self._unrouted = 0
        self.after_fork()
        renew_after_fork(self)
        given = {**settings.driver_options, **(options or {})}
        if unused := [name for name in given if name not in self._routes.drivers]:
            raise ConfigurationError(f"There are options for the driver {unused[0]}, which no route names.")
        self._behind: dict[str, _Behind] = {}
        try:
            for name in self._routes.drivers:
                driver = _made(name, settings, dict(given.get(name, {})))
                self._behind[name] = _Behind(name, driver, buffer_bytes, exit_wait_s)
        except ConfigurationError:
            self.close(0.0)
            raise

    def after_fork(self) -> None:
        """Make the lock anew in a child process; the drivers see to themselves."""
        self._lock = threading.Lock()

    def push(self, message: Outgoing) -> bool:
        """Hand ``message`` on; False when a driver's buffer had no room for it. Never waits."""
        taken = True
        for name in self._drivers_of(message):
            taken = self._behind[name].push(message) and taken
        return taken

    def _drivers_of(self, message: Outgoing) -> tuple[str, ...]:
        try:
            priority = priority_of(message.topic)
            found = self._decode(message.value, priority)
            event_type = "" if isinstance(found, Rejection) else found.event_type
            names: tuple[str, ...] = self._routes.drivers_of(event_type, priority.value.lower())
        except Exception:  # noqa: BLE001 -- no message may get through to the service; each driver refuses it
            return tuple(self._behind)
        if not names:
            with self._lock:
                self._unrouted += 1
        return names

    @property
    def stats(self) -> Stats:
        """The counts of all drivers together: a message that three drivers get counts three times."""
        return Stats(*map(sum, zip(*(behind.both for behind in self._behind.values()), strict=True)))

    @property
    def stats_by_driver(self) -> dict[str, Stats]:
        """The counts of each driver."""
        return {name: behind.both for name, behind in self._behind.items()}

    @property
    def unrouted(self) -> int:
        """Messages that no rule accepted: they go nowhere, as in oslo.messaging, and are not in ``stats``."""
        return self._unrouted

    @property
    def drivers(self) -> dict[str, Driver]:
        """The drivers by their names in the rules."""
        return {name: behind.driver for name, behind in self._behind.items()}

    def flush(self, timeout: float) -> bool:
        """Wait up to ``timeout`` seconds; True when nothing is on its way any more in any driver."""
        deadline = time.monotonic() + timeout
        done = True
        for behind in self._behind.values():
            done = behind.flush(max(0.0, deadline - time.monotonic())) and done
        for behind in self._behind.values():
            done = behind.driver.flush(max(0.0, deadline - time.monotonic())) and done
        return done

    def close(self, timeout: float = 5.0) -> None:
        """Deliver what is buffered, for up to ``timeout`` seconds, and close every driver, side by side."""
        deadline = time.monotonic() + timeout

        def close(behind: _Behind) -> None:
            behind.close(max(0.0, deadline - time.monotonic()))
            try:
                behind.driver.close(max(0.0, deadline - time.monotonic()))
            except Exception as error:  # noqa: BLE001 -- a driver that breaks its contract
                self._log.warning("The driver %s could not be closed: %r", behind.driver, error)

        closing = [
            threading.Thread(target=close, args=[behind], name="tocsin-routing-close", daemon=True)
            for behind in self._behind.values()
        ]
        for thread in closing:
            thread.start()
        for thread in closing:
            # A driver has a little longer to end its thread; one that hangs is left behind.
            thread.join(max(0.0, deadline - time.monotonic()) + 2.0)


def _routes(settings: Settings, file: str | Path | None, routes: Mapping[str, Any] | None) -> Routes:
    if (file is not None) and (routes is not None):
        raise ConfigurationError("The driver routing takes either a file or routes, not both.")
    if routes is None and file is None:
        if settings.routes and settings.routing_file is not None:
            raise ConfigurationError("Give TOCSIN_ROUTING_FILE or TOCSIN_ROUTES, not both.")
        file, routes = settings.routing_file, settings.routes or None
    content, where = (_yaml(Path(file)), str(file)) if file is not None else (routes, "TOCSIN_ROUTES")
    found = Routes(content, where)
    if not found.rules:
        raise ConfigurationError(
            "The driver routing has no routes: set TOCSIN_ROUTING_FILE to oslo.messaging's routing file, "
            "or write [routes.GROUP.DRIVER] into the settings file."
        )
    return found


def _yaml(path: Path) -> Any:
    try:
        import yaml  # noqa: PLC0415 -- of the extra tocsin[routing]
    except ImportError as error:
        raise ConfigurationError(
            "The routing file is YAML, and the package yaml is missing: pip install 'tocsin[routing]'."
        ) from error
    try:
        with path.open("rb") as file:
            text = file.read(_FILE_BYTES + 1)
        if len(text) > _FILE_BYTES:
            raise ConfigurationError(f"The routing file {path} is larger than {_FILE_BYTES} bytes.")
        return yaml.safe_load(text)
    except OSError as error:
        raise ConfigurationError(
            f"The routing file {path} cannot be read: {error.strerror or error}."
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise ConfigurationError(f"The routing file {path} is not valid YAML: {reason}.") from error


def _made(name: str, settings: Settings, options: dict[str, Any]) -> Driver:
    if name == "routing":
        raise ConfigurationError("A route cannot lead to the driver routing itself.")
    if name in ("messaging", "messagingv2"):
        if settings.rabbit_url is None and "url" not in options:
            return load_driver("kafka", settings=settings, **options)
        form = "envelope" if name == "messagingv2" else "flat"
        return load_driver("rabbit", settings=settings, **{"form": form, **options})
    return load_driver("memory" if name == "test" else name, settings=settings, **options)
