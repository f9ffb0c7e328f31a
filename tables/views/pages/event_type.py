"""The page ``/event``: one event type, how often it came in each priority, and its latest alerts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from aiohttp import web

from streams.notifications.priority import Priority
from streams.notifications.visible import visible
from streams.quantities import quantity
from tables.recent_alerts import Alert
from tables.views.counts_query import BadQueryError, rank_of
from tables.views.event_query import EventQuery, parse_event_query
from tables.views.pages.alert_rows import alert_rows
from tables.views.pages.layout import Layout
from tables.views.pages.links import event_address, event_id, is_long
from tables.views.pages.matrix_rows import short_time
from tables.views.pages.step_charts import step_path
from tables.views.pages.templating import number
from tables.views.times import rfc3339

#: Height of the charts, in units of their own.
_HEIGHT: Final = 40
_MOST_ALERTS: Final = 20
_STEP: Final = 100
_DAY_S: Final = 86_400
WINDOWS: Final = {"5m": "5 minutes", "1h": "hour", "24h": "24 hours", "30d": "30 days"}


def span_words(start_s: int, step_s: int, *, with_date: bool) -> str:
    """The time of one value of the chart, in UTC."""
    start, end = datetime.fromtimestamp(start_s, UTC), datetime.fromtimestamp(start_s + step_s, UTC)
    if step_s >= _DAY_S:
        return f"{start:%Y-%m-%d}"
    form = "%H:%M:%S" if step_s < 60 else "%H:%M"
    day = f"{start:%Y-%m-%d} " if with_date else ""
    return f"{day}{start:{form}} to {end:{form}}"


def chart(name: str, values: Sequence[int], times: Sequence[str]) -> dict[str, Any]:
    """The chart of one priority: what the template draws, and what it says.

    Args:
        name: of the priority.
        values: the oldest first.
        times: of each value, for people.
    """
    largest = max(values, default=0)
    most = f", at most {number(largest)} in {times[values.index(largest)]} UTC" if largest else ""
    all_of_them = quantity(sum(values), "notification", show=number)
    return {
        "name": name,
        "total": sum(values),
        "largest": largest,
        "label": f"{name}: {all_of_them}{most}. The values are in the table below.",
        "path": step_path(values, largest, _HEIGHT),
        "titles": [f"{time}: {number(value)} {name}" for time, value in zip(times, values, strict=True)],
    }


class EventPage:
    """The handler of the page."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Add the route."""
        router.add_get("/event", self.page)

    async def page(self, request: web.Request) -> web.Response:
        """The page; wrong parameters are told on it, and an event type that nobody has counted."""
        try:
            query = parse_event_query(request.query, self._layout.live.now_s)
        except BadQueryError as error:
            return await self._nothing(request, str(error), 400)
        event_type = query.event_type or await self._by_id(query.event_id)
        if event_type is None or not self._layout.sources.counts.totals.known(event_type):
            return await self._nothing(request, "No notification of this event type was counted yet.", 404)

        async def shown() -> Mapping[str, Any]:
            return await self._shown(event_type, query)

        return await self._layout.render(request, "event.html", shown, here="counts")

    async def _nothing(self, request: web.Request, mistake: str, status: int) -> web.Response:
        async def shown() -> Mapping[str, Any]:
            return {"mistake": mistake, "is_empty": not self._layout.sources.counts.totals.priorities}

        return await self._layout.render(request, "event.html", shown, here="counts", status=status)

    async def _by_id(self, wanted: str) -> str | None:
        totals = self._layout.sources.counts.totals
        async with self._layout.live.lane.work() as pieces:
            for priority in totals.priorities:
                for some in totals.since_ever_in_steps(priority, _STEP):
                    for each in some:
                        if is_long(each.event_type) and event_id(each.event_type) == wanted:
                            return each.event_type
                    await pieces.rest()
        return None

    async def _shown(self, event_type: str, query: EventQuery) -> dict[str, Any]:
        layout, series, step_s = self._layout, query.series, query.step_s
        known = layout.sources.counts.totals.known(event_type)
        names = sorted(known, key=lambda name: (rank_of(name), name))
        wanted = names if series.priority is None else [series.priority]
        starts = query.starts
        is_one_day = starts[0] // _DAY_S == (starts[-1] + step_s - 1) // _DAY_S
        times = [span_words(start, step_s, with_date=not is_one_day) for start in starts]
        charts, columns = [], []
        for name in wanted:
            values = query.summed(await layout.live.series(event_type, name, series))
            columns.append(values)
            async with layout.live.lane.work():
                charts.append(chart(name, values, times))
        return {
            "mistake": None,
            "event_type": visible(event_type),
            "priority": series.priority,
            "window": query.window,
            "span": f"{short_day(starts[0])} to {short_day(starts[-1] + step_s)} UTC",
            "begin": _local(series.start_s),
            "end": _local(series.end_s),
            "windows": [
                (name, words, event_address(event_type, window=name, priority=series.priority or ""))
                for name, words in WINDOWS.items()
            ],
            "priorities": [
                (name, event_address(event_type, window=query.window, priority=name)) for name in names
            ],
            "all_priorities": event_address(event_type, window=query.window),
            "type_field": ("id", event_id(event_type)) if is_long(event_type) else ("type", event_type),
            "charts": charts,
            "places": range(len(starts)),
            "height": _HEIGHT,
            "ticks": [times[place] for place in sorted({0, len(times) // 2, len(times) - 1})],
            "figures": [
                (times[place], [values[place] for values in columns]) for place in reversed(range(len(times)))
            ],
            "totals": [
                (
                    name,
                    next((each["total"] for each in charts if each["name"] == name), None),
                    known[name][0],
                    short_time(known[name][1], layout.live.now_s),
                    rfc3339(known[name][1] / 1000),
                )
                for name in names
            ],
            "alerts": alert_rows(
                await self._alerts(event_type, series.priority),
                layout.sources.clock(),
                lambda _: False,  # it is this one
            ),
            "keeps_alerts": bool(layout.sources.alerts.most),
        }

    async def _alerts(self, event_type: str, priority: str | None) -> list[Alert]:
        """The latest alerts, newest first."""
        source = self._layout.sources.alerts
        if not source.most:
            return []
        # A name is no pattern: one with wildcards is looked for among all.
        pattern = None if "*" in event_type or "?" in event_type else event_type
        async with self._layout.live.lane.work():
            found = await source.newest(
                priority=Priority.parse(priority or ""),
                event_type=pattern,
                most=None if pattern is None else _MOST_ALERTS,
            )
        return [alert for alert in found if alert.event_type == event_type][:_MOST_ALERTS]


def short_day(time_s: int) -> str:
    """Date, hours and minutes in UTC."""
    return f"{datetime.fromtimestamp(time_s, UTC):%Y-%m-%d %H:%M}"


def _local(time_s: int) -> str:
    """A time as a field for date and time wants it."""
    return f"{datetime.fromtimestamp(time_s, UTC):%Y-%m-%dT%H:%M}"
