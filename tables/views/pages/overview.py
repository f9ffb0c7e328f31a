"""The page ``/``: what an operator keeps on the wall."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from aiohttp import web

from streams.notifications.priority import Priority
from tables.fleet.totals import ClassTotals
from tables.views.healthz import ask
from tables.views.minute_counts import LastHour, LiveMinutes
from tables.views.pages.alert_rows import alert_rows
from tables.views.pages.layout import Layout
from tables.views.pages.links import moved
from tables.views.sources import Sources
from tables.views.strips import Figures, Strip, sentence, strips
from tables.views.times import age

#: Alerts of each priority that are shown.
_MOST_ALERTS: Final = 7
#: Priorities whose alerts are shown.
_SHOWN: Final = (Priority.CRITICAL, Priority.ERROR)
_OTHERS: Final = "No worker was heard from lately, so nobody knows what waits."
_STARTS: Final = "What waits is not known yet: this worker starts."
_NOT_READY: Final = "What waits is not known while this worker is not ready."
_BEHIND: Final = "What waits is not known while the counts are not up to date."


class OverviewPage:
    """The handler of the page.

    Args:
        layout: of all pages.
        of_worker: whether it is a page of a worker.
    """

    def __init__(self, layout: Layout, *, of_worker: bool = True) -> None:
        self._layout = layout
        self._of_worker = of_worker
        self._minutes = LiveMinutes(layout.sources.counts, layout.live)
        layout.pages.append("./")

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Add the route."""
        router.add_get("/", self.page)

    async def page(self, request: web.Request) -> web.Response:
        """The page; who comes with parameters has a bookmark of what is now the page Counts."""
        if (address := moved(request.query.items())) is not None:
            return web.Response(status=302, headers={"Location": address})
        return await self._layout.render(request, "overview.html", self._shown, here="./")

    async def _shown(self) -> Mapping[str, Any]:
        sources = self._layout.sources
        hour = await self._minutes.hour()
        # Of all workers that were heard from, else of this one.
        async with self._layout.live.lane.work() as pieces:
            fleet = (await pieces.outcome(sources.fleet.looking())).totals.classes
        figures: Mapping[str, Figures] = fleet or {
            priority.value: state for priority, state in sources.scheduler.snapshot().items()
        }
        unknown = self._unknown(any_figures=bool(figures))
        found = _strips(sources, hour, *((figures, fleet) if unknown is None else ({}, {})))
        waiting = [strip for strip in found if strip.waits]
        return {
            "is_empty": sources.counts.complete and not sources.counts.totals.priorities and not waiting,
            "sentence": sentence(found),
            "is_bad": any(strip.is_forwarded for strip in waiting),
            "unknown": unknown,
            "strips": [_shown_strip(strip) for strip in found],
            "alerts": [await self._alerts(priority, hour) for priority in _SHOWN],
            "alerts_trouble": sources.alerts.trouble,
            "alerts_kept": sources.alerts.most > 0,
        }

    def _unknown(self, *, any_figures: bool) -> str | None:
        """Why nobody can say here what waits, a sentence; None where figures that are current say it."""
        sources = self._layout.sources
        if self._of_worker:
            if not any_figures:
                return _STARTS
            if not (ask(sources.health.ready).ok and ask(sources.health.live).ok):
                return _NOT_READY
        if not sources.counts.complete:
            return _BEHIND
        return None if any_figures else sources.fleet.trouble or _OTHERS

    async def _alerts(self, priority: Priority, hour: LastHour) -> dict[str, Any]:
        """The latest alerts of a priority."""
        sources = self._layout.sources
        is_forwarded = priority in sources.settings.forward_priorities
        found = []
        if is_forwarded:
            async with self._layout.live.lane.work():
                found = await sources.alerts.newest(priority=priority, most=_MOST_ALERTS)
        now_s = sources.clock()
        return {
            "priority": priority.value,
            "is_forwarded": is_forwarded,
            "minute": hour.latest.get(priority.value, 0),
            "hour": sum(hour.of(priority.value)),
            "rows": alert_rows(found, now_s, sources.counts.totals.known),
        }


def _strips(
    sources: Sources, hour: LastHour, figures: Mapping[str, Figures], fleet: Mapping[str, ClassTotals]
) -> list[Strip]:
    """The strips with these figures, and the rates of ``fleet``."""
    settings = sources.settings
    return strips(
        hour,
        figures,
        {name: each.counted_per_s for name, each in fleet.items()},
        named=[priority.value for priority in settings.priorities],
        forwarded=[priority.value for priority in settings.forward_priorities],
    )


def _shown_strip(strip: Strip) -> dict[str, Any]:
    figures = strip.figures
    most, whole = max(strip.minutes), sum(strip.minutes)
    return {
        "name": strip.priority,
        "state": strip.state,
        "look": "ok" if not strip.waits else "bad" if strip.is_forwarded else "wait",
        "per_s": strip.per_s,
        "minutes": strip.minutes,
        "label": f"Last hour by the minute: {whole} in all, at most {most} in a minute",
        "hour": whole,
        "figures": figures,
        "oldest": age(figures.oldest_age_s) if figures and figures.lag_records else "",
        "got": 100 * figures.achieved_share if figures else 0,
        "due": 100 * figures.configured_share if figures else 0,
    }
