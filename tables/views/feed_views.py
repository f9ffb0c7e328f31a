"""``/feeds/…``: alerts as Atom feeds.

``GET /feeds/alerts.atom``
    All forwarded alerts, newest first; ``page`` for the next ones.

``GET /feeds/alerts/{priority}.atom``
    Those of one priority.

``GET /feeds/events/{pattern}.atom``
    Those of the event types that match a pattern with ``*`` and ``?``.

Every worker gives the same answer: nothing in it depends on which one is asked.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Final

from aiohttp import ETag, web
from yarl import URL

from streams.notifications.priority import Priority
from tables.feeds import Feed
from tables.views.answers import KEPT_BY_CLIENT
from tables.views.atom import CONTENT_TYPE, Page, pages_of
from tables.views.counts_query import parameters
from tables.views.prefix import Prefix
from tables.views.problems import Problem
from tables.views.reader_lane import ReaderLane
from tables.views.sources import Sources

_MOST_WILDCARDS: Final = 8
_MOST_PATTERN: Final = 4096
_PAGE: Final = re.compile(r"[1-9][0-9]{0,3}")
#: Documents that are kept, and their bytes together.
_MOST_KEPT: Final = 32
_MOST_KEPT_BYTES: Final = 8 * 2**20
#: Seconds that must have passed since the newest alert before its time can stand for the whole document.
_SETTLED_S: Final = 2.0
_AGAIN_S: Final = "2"


@dataclass(slots=True, frozen=True)
class Document:
    """A page of a feed as it is sent.

    Attributes:
        changes: of the alerts, as it was made.
        body: the document.
        etag: of it.
        updated_s: when the newest alert of the feed came, in seconds since 1970; 0 for none.
        links: relation and address of each link.
    """

    changes: int
    body: bytes
    etag: str
    updated_s: float
    links: list[tuple[str, str]]


class FeedViews:
    """Handlers of the feeds.

    Args:
        sources: of the alerts.
        lane: in which all work for readers is done.
        prefix: under which path the web views are seen.
    """

    def __init__(self, sources: Sources, lane: ReaderLane, prefix: Prefix) -> None:
        self._sources = sources
        self._lane = lane
        self._prefix = prefix
        #: Address of this worker, feed, number of the page -> document
        self._kept: dict[tuple[str, Feed, int], Document] = {}

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Add the routes."""
        router.add_get("/feeds/alerts.atom", self.alerts, name="feed-alerts")
        router.add_get("/feeds/alerts/{priority}.atom", self.of_priority, name="feed-priority")
        router.add_get("/feeds/events/{pattern:.+}.atom", self.of_event_types, name="feed-events")

    async def alerts(self, request: web.Request) -> web.Response:
        """All alerts."""
        return await self._answer(request, Feed())

    async def of_priority(self, request: web.Request) -> web.Response:
        """Alerts of one priority."""
        priority = Priority.parse(request.match_info["priority"])
        if priority is None or priority not in self._sources.settings.forward_priorities:
            forwarded = ", ".join(each.value.lower() for each in self._sources.settings.forward_priorities)
            raise Problem(
                404, f"There are feeds of the priorities that are forwarded: {forwarded or 'none'}."
            )
        return await self._answer(request, Feed(priority=priority))

    async def of_event_types(self, request: web.Request) -> web.Response:
        """Alerts of some event types."""
        pattern = request.match_info["pattern"]
        if len(pattern) > _MOST_PATTERN or pattern.count("*") + pattern.count("?") > _MOST_WILDCARDS:
            raise Problem(
                400, f"A pattern has at most {_MOST_WILDCARDS} wildcards and {_MOST_PATTERN} characters."
            )
        return await self._answer(request, Feed(pattern=pattern))

    async def _answer(self, request: web.Request, feed: Feed) -> web.Response:
        alerts = self._sources.alerts
        given = parameters(request.query, ("page",)).get("page", "1")
        if _PAGE.fullmatch(given) is None:
            raise Problem(400, "The page is a number from 1 to 9999.")
        if not alerts.most:
            raise Problem(404, "This worker keeps no alerts: give TOCSIN_FEED_ENTRIES more than 0.")
        if not alerts.complete:
            trouble = alerts.trouble or "This worker has not read the last alerts yet; ask again."
            raise Problem(503, trouble, headers=[("Retry-After", _AGAIN_S)])
        document = await self._document(self._base(request), feed, int(given))
        response = web.Response(body=document.body, headers={"Content-Type": f"{CONTENT_TYPE};type=feed"})
        response.etag = ETag(document.etag)
        # Other alerts may still come in the second of the newest one.
        if 0 < document.updated_s <= self._sources.clock() - _SETTLED_S:
            response.headers["Last-Modified"] = format_datetime(
                datetime.fromtimestamp(int(document.updated_s), UTC), usegmt=True
            )
        for relation, address in document.links:
            response.headers.add("Link", f'<{address}>; rel="{relation}"')
        response.headers["Cache-Control"] = KEPT_BY_CLIENT
        if _is_known(request, response):
            response.body = None
            response.set_status(304)
        return response

    def _base(self, request: web.Request) -> str:
        if self._sources.settings.feed_url:
            return self._sources.settings.feed_url
        try:
            origin = URL.build(scheme=request.scheme, authority=request.host).origin()
            return f"{origin}{self._prefix.public_prefix(request)}"
        except ValueError:
            raise Problem(400) from None

    async def _document(self, base: str, feed: Feed, number: int) -> Document:
        alerts, settings = self._sources.alerts, self._sources.settings
        key = base, feed, number
        changes = alerts.changes
        kept = self._kept.pop(key, None)
        if kept is None or kept.changes != changes:
            async with self._lane.work():
                found = await alerts.newest(priority=feed.priority, event_type=feed.pattern)
            pages = pages_of(found)
            if number > len(pages):
                raise Problem(404, "The feed has fewer pages now; begin with the first.")
            updated_ms = found[0].time_ms if found else 0
            page = Page(
                feed,
                settings.app_id,
                number,
                len(pages),
                base,
                settings.feed_hub,
                pages[number - 1],
                updated_ms,
            )
            parts = []
            async with self._lane.work() as pieces:
                for part in page.written():
                    parts.append(part)
                    await pieces.rest()
            body = b"".join(parts)
            etag = hashlib.blake2b(body, digest_size=16).hexdigest()
            kept = Document(changes, body, etag, updated_ms / 1000, page.links)
        self._kept[key] = kept  # at the end: it is the last to go now
        nbytes = sum(len(each.body) for each in self._kept.values())
        while len(self._kept) > _MOST_KEPT or nbytes > _MOST_KEPT_BYTES:
            nbytes -= len(self._kept.pop(next(iter(self._kept))).body)
        return kept


def _is_known(request: web.Request, response: web.Response) -> bool:
    """Whether the client says that it has this document (RFC 9110, 13.2.2)."""
    if (tags := request.if_none_match) is not None:
        return any(each.value in {"*", response.etag.value if response.etag else ""} for each in tags)
    since, modified = request.if_modified_since, response.last_modified
    return since is not None and modified is not None and modified <= since
