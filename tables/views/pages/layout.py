"""What all pages share: the head with the state of the counts, the links between them, how they are made."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from aiohttp import web
from jinja2 import Environment

from streams import __version__
from tables.fleet.memory import SILENT_S
from tables.views.answers import TAG, Answer, Answers, tag
from tables.views.combined_counts import combiners_silent_s
from tables.views.healthz import ask
from tables.views.live_alerts import LiveAlerts
from tables.views.live_counts import Freshness, LiveCounts
from tables.views.sources import Sources
from tables.views.times import age, rfc3339

#: Counts that are older than this many seconds are called old.
STALE_S: Final = 15
#: Clocks that differ by this many seconds are told of.
_SKEW_S: Final = 5.0
#: Pages that are kept, and their bytes together.
_MOST_PAGES, _MOST_BYTES = 64, 8 * 2**20
#: Characters of a page that are put together at a time.
_PART: Final = 32 * 2**10

#: Address -> name, in the order of the links.
PAGES: Final = {
    "./": "Overview",
    "counts": "Counts",
    "alerts": "Alerts",
    "flow": "Flow",
    "dead-letters": "Dead letters",
}
#: Name of a window -> what a page calls it.
WINDOW_WORDS: Final = {
    "1m": "last minute",
    "5m": "last 5 minutes",
    "1h": "last hour",
    "24h": "last 24 hours",
    "30d": "last 30 days",
}


class Layout:
    """Makes pages of templates that extend ``layout.html``, once for all who ask at a time.

    Args:
        sources: whose state the head shows.
        live: counts, and the lane in which all work for readers is done.
        environment: of the templates.
        is_signed_in: whether a request comes from somebody who has signed in, and may sign out.
        of_worker: whether they are pages of a worker, which counts as long as it is ready.

    Attributes:
        alerts: the last alerts, for pages that show some.
    """

    def __init__(
        self,
        sources: Sources,
        live: LiveCounts,
        environment: Environment,
        is_signed_in: Callable[[web.Request], bool] = lambda _: False,
        *,
        of_worker: bool = True,
    ) -> None:
        self.sources = sources
        self.live = live
        self.alerts = LiveAlerts(sources, live.lane)
        self._moment: tuple[object, object] = (None, None)
        self._environment = environment
        self._is_signed_in = is_signed_in
        self._of_worker = of_worker
        self._kept = Answers(_MOST_PAGES, _MOST_BYTES)
        #: Addresses of `PAGES` that are served.
        self.pages: list[str] = []

    async def render(
        self,
        request: web.Request,
        template: str,
        shown: Callable[[], Awaitable[Mapping[str, Any]]],
        *,
        here: str = "",
        status: int = 200,
        keep: bool = True,
    ) -> web.Response:
        """A page.

        Args:
            request: that asks for it.
            template: its file.
            shown: finds what the template needs; it does its work in pieces, in ``live.lane``. ``up`` leads
                from a deeper address to that of the pages.
            here: the address of `PAGES` that it is, or belongs to.
            status: of the answer.
            keep: whether everybody who asks for the same address within half a second, signed in or not, gets
                the same page; False where that depends on who asks.
        """
        signed_in = self._is_signed_in(request)

        async def made() -> Answer:
            found = dict(await shown())
            return await self._made(template, {"up": ""} | found | self._head(here, signed_in=signed_in))

        if status != 200 or not keep:
            answer = await made()
        else:
            key = template, request.path, request.query_string, signed_in
            answer = await self._kept.get(key, self._now(), made, len(request.query_string))
        response = web.Response(body=answer.body, content_type="text/html", charset="utf-8", status=status)
        response[TAG] = answer.etag
        return response

    def _now(self) -> object:
        """The same object for as long as what was made of counts and alerts at its time serves."""
        counts, alerts = self.live.moment(), self.alerts.moment()
        if self._moment[0] is not counts or self._moment[1] is not alerts:
            self._moment = counts, alerts
        return self._moment

    async def _made(self, template: str, shown: Mapping[str, Any]) -> Answer:
        parts: list[str] = []
        # A large page takes some milliseconds to put together, too, so that this is done in pieces.
        body, tags, size = [], [], 0
        async with self.live.lane.work() as pieces:
            for part in self._environment.get_template(template).generate(shown):
                parts.append(part)
                size += len(part)
                if size > _PART:
                    body.append("".join(parts).encode())
                    tags.append(tag(body[-1]))
                    parts, size = [], 0
                await pieces.rest()
            body.append("".join(parts).encode())
            tags.append(tag(body[-1]))
        return Answer(b"".join(body), tag("".join(tags).encode()), "text/html; charset=utf-8")

    def _silence(self) -> tuple[str, str] | None:
        """Who is not heard from, in some words and in a sentence; None where that is not so, or not known."""
        fleet = self.sources.fleet
        if not self._of_worker and fleet.complete and not fleet.trouble and fleet.silent_s > SILENT_S:
            who, silent_s = "no worker", fleet.silent_s
            never = "so it is not known whether what is published is counted"
            since = "what is published since is not counted yet"
        elif (silent_s := combiners_silent_s(fleet)) > SILENT_S:
            who, never = "no worker of the main pool", "so what others count is not in these counts"
            since = "what others count since is not in these counts yet"
        else:
            return None
        words = f"{who} heard from"
        if math.isinf(silent_s):
            return words, f"{who.capitalize()} has been heard from, {never}."
        # It is read out when it changes, so the time in it is a coarse one.
        past = age(silent_s - silent_s % STALE_S)
        return words, f"{who.capitalize()} has been heard from for {past}: {since}."

    def _head(self, here: str, *, signed_in: bool) -> dict[str, Any]:
        sources = self.sources
        fresh = Freshness.of(sources.counts)
        behind_s = sources.clock() - fresh.as_of_s
        ready, live = ask(sources.health.ready), ask(sources.health.live)
        ahead_s = sources.stats.clock_ahead_s
        return {
            "pages": [(address, PAGES[address]) for address in PAGES if address in self.pages],
            "here": here,
            "health": {
                "state": "ok" if ready.ok and live.ok else "bad",
                "words": "ready" if ready.ok and live.ok else ("not ready" if live.ok else "stuck"),
                "reasons": live.reasons + ready.reasons,
            },
            "as_of": rfc3339(fresh.as_of_s),
            "as_of_time": (rfc3339(fresh.as_of_s, "seconds") or "")[11:19],
            # It is read out when it changes, so it is a coarse one.
            "as_of_old": age(behind_s - behind_s % STALE_S) if fresh.as_of_s and behind_s > STALE_S else None,
            "complete": fresh.complete,
            "silence": self._silence(),
            "missing": fresh.missing,
            "skew": f"{abs(ahead_s):.0f} s {'ahead of' if ahead_s > 0 else 'behind'}"
            if abs(ahead_s) >= _SKEW_S
            else None,
            "version": __version__,
            "signed_in": signed_in,
        }
