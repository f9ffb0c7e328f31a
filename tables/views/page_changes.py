"""``GET /live``: tells the pages that are open, by server-sent events, that there is something new.

What is new they ask for by the page's own address, so that it is made once for all who have the same page.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Hashable
from typing import Final

from aiohttp import web

from streams.cancellation import end
from tables.views.event_streams import GoingOn, send_events
from tables.views.live_channel import Reader, event
from tables.views.problems import Problem

log = logging.getLogger(__name__)

#: Seconds between two looks for what has changed, and after which a change is told though there was none:
#: ages and the time of the counts go on.
TICK_S: Final = 0.2
_LATEST_S: Final = 2.0
#: Seconds for which an answer that was made just before a change may be kept.
_KEPT_S: Final = 0.5


class PageChanges:
    """The handler of the stream.

    Args:
        basis: what pages are made of; something has changed when it is not equal to what it was.
        is_full: whether so many of these, with the readers of the live stream of the API, are too many.
        going_on: for how long a stream may go on.
        monotonic: seconds, only for differences.
    """

    def __init__(
        self,
        basis: Callable[[], Hashable],
        is_full: Callable[[int], bool],
        going_on: GoingOn,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._basis = basis
        self._is_full = is_full
        self._going_on = going_on
        self._monotonic = monotonic
        self._readers: set[Reader] = set()
        self._task: asyncio.Task[None] | None = None
        self._number = 0
        self._told: Hashable = None
        self._told_at = -_LATEST_S
        self._tell_again_at = math.inf
        #: Pages that were dropped because they were slow, and those that were refused.
        self.dropped = 0
        self.refused = 0

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Add the route."""
        router.add_get("/live", self.changes)

    @property
    def readers(self) -> int:
        """Pages that listen; those that have gone are no longer counted."""
        self._readers = {reader for reader in self._readers if reader.is_there}
        return len(self._readers)

    async def changes(self, request: web.Request) -> web.StreamResponse:
        """The stream, for as long as the page is open."""
        if self._is_full(self.readers):
            self.refused += 1
            raise Problem(
                503,
                "There are as many open pages and readers of the stream as TOCSIN_WEB_LIVE_CLIENTS allows; "
                "this page asks for itself now and then.",
                [("Retry-After", "5")],
            )
        return await send_events(request, self._going_on, self._read)

    async def _read(self, reader: Reader) -> None:
        self._readers.add(reader)
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="web-page-changes")
        try:
            await reader.gone.wait()
        finally:
            self._readers.discard(reader)

    async def stop(self) -> None:
        """End all connections."""
        for reader in self._readers:
            reader.end()
        await end(self._task)
        self._task = None

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            try:
                self.tick()
            except Exception:
                log.exception("Looking for what has changed failed; pages ask again in a moment.")

    def tick(self) -> None:
        """Tell the readers, if something has changed or it is time."""
        now_s = self._monotonic()
        basis = self._basis()
        is_changed = basis != self._told
        if is_changed:
            self._tell_again_at = now_s + _KEPT_S
        # It is told again when no answer is kept any more that was made just before the change.
        if not (is_changed or now_s >= min(self._tell_again_at, self._told_at + _LATEST_S)):
            return
        if not is_changed and now_s >= self._tell_again_at:
            self._tell_again_at = math.inf
        self._told, self._told_at = basis, now_s
        self._number += 1
        told = event("changed", "page", self._number, b"%d" % self._number)
        for reader in list(self._readers):
            if not reader.is_there:
                continue
            if reader.takes(now_s):
                reader.send(told)
            elif reader.is_slow(now_s):
                self.dropped += 1
                reader.end()
