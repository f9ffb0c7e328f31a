"""The driver that pushes messages to Burrow, the queue service that the proposal names as a third driver."""

from __future__ import annotations

import asyncio
from typing import Final
from urllib.parse import quote, urlsplit

import aiohttp
from yarl import URL

from streams.outgoing import Outgoing
from streams.publishing.loop_driver import LoopDriver
from streams.publishing.oslo_form import flat
from streams.retries import Backoff, Retries
from streams.settings import ConfigurationError, Settings

#: Messages that are under way at a time, each on a connection.
_AHEAD: Final = 16
#: Between two tries of a message.
_AGAIN: Final = Backoff(0.1, factor=2, most_s=5.0)
#: Answers after which the same message may be taken later; any other from 400 on means that it never will.
_LATER: Final = frozenset({408, 425, 429})


class BurrowDriver(LoopDriver):
    """Delivers to Burrow's HTTP API v1.0: ``PUT /v1.0/<account>/<topic>/<message id>``, one queue per topic.

    A message is tried until Burrow takes it, refuses it, or the driver is closed. Burrow keeps one message
    for each id, so one that is sent twice is there once. The body is the notification in the flat form.

    Args:
        settings: not used.
        url: of Burrow, such as ``http://host:8080``.
        account: whose queues they are.
        ttl_s: seconds after which Burrow forgets a message; what it is set up with when None (10 minutes).
        hide_s: seconds for which it does not list a message.
        timeout_s: seconds to wait for an answer.
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
        url: str,
        settings: Settings | None = None,  # noqa: ARG002 -- every driver takes it
        account: str = "nova",
        ttl_s: int | None = None,
        hide_s: int = 0,
        timeout_s: float = 10.0,
        buffer_bytes: int = 32 * 2**20,
        max_wait_s: float = 0.25,
        max_message_bytes: int = 2**20,
        exit_wait_s: float = 2.0,
    ) -> None:
        try:
            parts = urlsplit(url)
            usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            usable = False
        if not usable:
            raise ConfigurationError("The driver burrow needs a URL such as http://host:8080.")
        if not account or account.strip(".") == "":
            raise ConfigurationError(f"account={account!r}: give the name of an account.")
        if (ttl_s is not None and ttl_s < 1) or hide_s < 0 or timeout_s <= 0:
            raise ConfigurationError(
                f"ttl_s={ttl_s}, hide_s={hide_s}, timeout_s={timeout_s}: "
                "use at least 1 s, 0 s and more than 0 s."
            )
        self._base = f"{url.rstrip('/')}/v1.0/{quote(account, safe='')}"
        self._where = f"{parts.hostname}:{parts.port or (443 if parts.scheme == 'https' else 80)}"
        attributes = {"ttl": ttl_s, "hide": hide_s or None}
        self._attributes = {name: str(value) for name, value in attributes.items() if value is not None}
        self._timeout_s = timeout_s
        super().__init__(
            "burrow",
            "Burrow",
            buffer_bytes=buffer_bytes,
            max_wait_s=max_wait_s,
            max_message_bytes=max_message_bytes,
            exit_wait_s=exit_wait_s,
        )

    async def _deliver(self) -> None:
        timeout = aiohttp.ClientTimeout(total=self._timeout_s)
        async with aiohttp.ClientSession(
            timeout=timeout, connector=aiohttp.TCPConnector(limit=_AHEAD)
        ) as session:
            sending: set[asyncio.Task[None]] = set()
            try:
                while not self._gave_up():
                    while len(sending) < _AHEAD and (messages := self._take(1)):
                        task = asyncio.get_running_loop().create_task(self._put(session, messages[0]))
                        sending.add(task)
                        task.add_done_callback(sending.discard)
                        task.add_done_callback(lambda _: self._wake.set())
                    await self._news()
            finally:
                for task in sending:
                    task.cancel()
                await asyncio.gather(*sending, return_exceptions=True)

    async def _put(self, session: aiohttp.ClientSession, message: Outgoing) -> None:
        """Send one message until its fate is known; it stays unknown when the driver gives up."""
        body = flat(message.value or b"")
        path = f"{self._base}/{quote(message.topic, safe='')}/{quote(body.message_id, safe='')}"
        url = URL(path, encoded=True).with_query(self._attributes)
        retries = Retries(_AGAIN, wanted=lambda: not self._gave_up())
        while True:
            try:
                async with session.put(url, data=body.value) as answer:
                    status = answer.status
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                reason = str(error) or f"no answer within {self._timeout_s:g} s"
            else:
                if status < 300:
                    self._set_away(False)
                    self._settled([message], None)
                    return
                reason = f"it answers {status}"
                if status < 500 and status not in _LATER:
                    self._settled([message], RuntimeError(f"Burrow refuses it with {status}"))
                    return
            self._log.warning("Burrow at %s does not take messages: %s", self._where, reason)
            self._set_away(True)
            if not await retries.pause():
                self._wake.set()
                return
