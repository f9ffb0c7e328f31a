"""The page ``/flow``: the way of a notification, all workers with partitions, dead letters by reason."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from aiohttp import web

from streams.notifications.visible import visible
from streams.quantities import quantity
from tables.fleet.memory import FORGET_S, SILENT_S, Member
from tables.fleet.state import Partitions
from tables.fleet.totals import order_of
from tables.views.pages.flow_drawing import Drawn, flow_drawing
from tables.views.pages.layout import Layout
from tables.views.times import age, rfc3339

#: Workers that are listed; the API has all.
MOST_WORKERS: Final = 100
#: Ranges of partitions, and reasons, that are listed of one state of one worker.
_MOST_RANGES: Final = 12
_MOST_REASONS: Final = 5
_STATES: Final = {
    "working": "",
    "recovering": "being recovered",
    "gone": "topic cannot be used",
    "unassigned": "given to nobody",
}
_WHY: Final = {
    "foreign": "of another app",
    "newer": "of a newer version",
    "unreadable": "that could not be read",
    "too-many": "of more workers than are kept",
}


def ranges(numbers: Iterable[int]) -> str:
    """Numbers as text, those that follow each other as one range: ``0 to 3, 7`` with a dash."""
    found: list[list[int]] = []
    for each in sorted(set(numbers)):
        if found and each == found[-1][1] + 1:
            found[-1][1] = each
        else:
            found.append([each, each])
    shown = [str(first) if first == last else f"{first}\u2013{last}" for first, last in found[:_MOST_RANGES]]
    return ", ".join(shown) + (" and more" if len(found) > _MOST_RANGES else "")


class FlowPage:
    """The handler of the page."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        layout.pages.append("flow")

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Add the route."""
        router.add_get("/flow", self.page)

    async def page(self, request: web.Request) -> web.Response:
        """The page."""
        return await self._layout.render(request, "flow.html", self._shown, here="flow")

    async def _shown(self) -> Mapping[str, Any]:
        sources = self._layout.sources
        settings, source = sources.settings, sources.fleet
        async with self._layout.live.lane.work() as pieces:
            as_of = source.as_of
            fleet = await pieces.outcome(source.looking())
            totals = fleet.totals
            topics = {each.value: settings.notification_topic(each) for each in settings.priorities}
            names = sorted({*topics, *totals.classes}, key=order_of)
            drawing = flow_drawing(
                Drawn(
                    classes=[(name, topics.get(name, ""), totals.classes.get(name)) for name in names],
                    workers=(totals.workers, totals.ready),
                    counts_topic=settings.event_counts_topic,
                    dead_letters_topic=settings.dead_letter_topic,
                    dead_letters=sum(totals.dead_letters.values()),
                )
            )
            await pieces.rest()
            workers = []
            for member in fleet.members[:MOST_WORKERS]:
                workers.append(_worker(member, as_of or sources.clock()))
                await pieces.rest()
        return {
            "drawing": drawing,
            "workers_together": totals,
            "classes": [(visible(name), totals.classes[name]) for name in names if name in totals.classes],
            "workers": workers,
            "more_workers": max(0, len(fleet.members) - MOST_WORKERS),
            "silent": sum(not member.heard for member in fleet.members),
            "silent_s": round(SILENT_S),
            "forget_min": round(FORGET_S / 60),
            "dead_letters": [
                (visible(priority), visible(reason), count, totals.dead_letter_bytes[priority, reason])
                for (priority, reason), count in sorted(
                    totals.dead_letters.items(),
                    key=lambda each: (-each[1], *order_of(each[0][0]), each[0][1]),
                )
            ],
            "repairs": [(visible(name), count) for name, count in totals.repairs.items()],
            "trouble": source.trouble,
            "states_complete": source.complete,
            "states_as_of": rfc3339(as_of, "seconds"),
            "left_out": [(number, _WHY[why]) for why, number in sorted(fleet.left_out.items())],
        }


def _worker(member: Member, now_s: float) -> dict[str, Any]:
    state = member.state
    words, kind = ("not heard from", "bad") if not member.heard else ("not ready", "bad")
    if member.heard and state.ready:
        words, kind = "ready", "ok"
    return {
        "id": member.id,
        "words": words,
        "kind": kind,
        "reasons": [visible(reason) for reason in state.reasons[:_MOST_REASONS]],
        "written": rfc3339(member.written_s, "seconds"),
        "ago": age(now_s - member.written_s),
        "up": age(member.written_s - state.since_s),
        "pool": visible(state.pool) or "main",
        "host": state.host,
        "version": visible(state.version),
        "mode": visible(state.mode),
        "counted_per_s": sum(each.counted_per_s for each in state.classes.values()),
        "lag_records": sum(each.lag_records for each in state.classes.values()),
        "loop_lag_ms": 1000 * state.loop_lag_s,
        "skew": f"{abs(state.clock_ahead_s):.0f} s {'ahead' if state.clock_ahead_s > 0 else 'behind'}"
        if abs(state.clock_ahead_s) >= 1
        else "",
        "partitions": _partitions(state.partitions),
    }


def _partitions(partitions: Sequence[Partitions]) -> list[dict[str, str]]:
    """Name, numbers and state of those of notifications, then of the rest."""
    shown = []
    for each in sorted(partitions, key=lambda part: part.priority is None):
        numbers = ranges(each.numbers)
        if each.more:
            numbers = f"{numbers} and {each.more} more" if numbers else quantity(each.more, "partition")
        shown.append(
            {
                "name": each.priority or each.topic,
                "numbers": numbers,
                "state": _STATES.get(each.state, visible(each.state)),
            }
        )
    return shown
