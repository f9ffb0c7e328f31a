"""The pages ``/alerts``, what was forwarded lately, and ``/alert``, one of them.

Rules whose alerts have a life cycle will have a section of their own before the groups; ``alerts.html`` says
where.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlencode

from aiohttp import web

from streams.notifications.masking import Masker
from tables.buckets import WINDOWS
from tables.recent_alerts import Alert
from tables.views.alert_contents import contents_of
from tables.views.alert_groups import AlertGroup, Span, grouped
from tables.views.alerts_query import (
    MOST_WILDCARDS,
    AlertsQuery,
    alert_address,
    page_of,
    parse_alerts_query,
    parse_place,
)
from tables.views.answers import tag
from tables.views.counts_query import BadQueryError, parameters
from tables.views.live_alerts import AlertsSnapshot, Kept
from tables.views.pages.alert_rows import Known, alert_row, alert_rows, place_of
from tables.views.pages.layout import WINDOW_WORDS, Layout
from tables.views.times import rfc3339

#: What an alert's own address names.
_PLACE: Final = ("topic", "partition", "offset")
#: Groups of a page, and alerts that are listed one by one.
PAGE_GROUPS: Final = 50
_MOST_GROUPS: Final = 200
_LISTED: Final = 20
#: Characters of names that a link narrows down to.
_MOST_LINKED: Final = 500
#: Partitions that are named.
_MOST_NAMED: Final = 10


class AlertsPage:
    """The handlers of both pages."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        settings = layout.sources.settings
        self._masker = Masker(settings.web_masked_keys)
        layout.pages.append("alerts")

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Add the routes."""
        router.add_get("/alerts", self.page)
        router.add_get("/alert", self.alert)

    async def page(self, request: web.Request) -> web.Response:
        """Groups and the latest alerts; wrong parameters are told on it."""
        mistake = None
        try:
            query = parse_alerts_query(request.query, groups=True, limit=PAGE_GROUPS, most=_MOST_GROUPS)
        except BadQueryError as error:
            mistake, query = str(error), AlertsQuery(limit=PAGE_GROUPS)

        async def shown() -> Mapping[str, Any]:
            return await self._shown(query) | {"mistake": mistake}

        status = 400 if mistake else 200
        return await self._layout.render(request, "alerts.html", shown, here="alerts", status=status)

    async def _shown(self, query: AlertsQuery) -> dict[str, Any]:
        sources, alerts = self._layout.sources, self._layout.alerts
        now_s = sources.clock()
        known = sources.counts.totals.known
        snapshot = await alerts.snapshot()
        found = await alerts.find(snapshot, query)
        groups, cursor = page_of(await alerts.run(grouped(found)), query, lambda group: group.newest.key)
        span = Span.until(now_s, WINDOWS[query.window])
        items: list[dict[str, Any]] = []
        async with alerts.lane.work() as pieces:
            for group in groups:
                items.append(_group(group, query, span, now_s, known))
                await pieces.rest()
        is_first = query.after is None
        return {
            "asked": _asked(query),
            "windows": WINDOW_WORDS,
            "priorities": [each.value for each in alerts.priorities],
            "groups": items,
            "cursor": cursor,
            "is_first_page": is_first,
            "latest": alert_rows(found[:_LISTED] if is_first else [], now_s, known),
            "is_filtered": query.is_filtered or query.priority is not None,
            "none_kept": alerts.none_kept,
            "alerts_as_of": rfc3339(snapshot.as_of_s),
            "alerts_as_of_time": (rfc3339(snapshot.as_of_s, "seconds") or "")[11:19],
            "notes": _notes(snapshot),
            "kept": [_kept(each) for each in snapshot.kept if each.alerts],
        }

    async def alert(self, request: web.Request) -> web.Response:
        """One alert by its place."""
        alerts = self._layout.alerts
        alert, why_not, status = None, alerts.none_kept, 404
        try:
            given = parameters(request.query, _PLACE)
            place = parse_place(*_place_in(given))
        except BadQueryError as error:
            why_not, status = str(error), 400
        else:
            alert = await alerts.at(*place)
            if alert is None and why_not is None:
                why_not = (await alerts.snapshot()).not_kept

        async def shown() -> Mapping[str, Any]:
            return {"mistake": why_not} if alert is None else await self._alert(alert)

        status = status if alert is None else 200
        return await self._layout.render(request, "alert.html", shown, here="alerts", status=status)

    async def _alert(self, alert: Alert) -> dict[str, Any]:
        sources = self._layout.sources
        contents = await self._layout.alerts.run(
            contents_of(alert, self._masker, payloads=sources.settings.web_payloads)
        )
        is_event_type = contents.labels.get("alertname") == alert.event_type
        return {
            "mistake": None,
            "alert": alert_row(alert, sources.clock(), sources.counts.totals.known),
            "id": alert.ce_id,
            "starts_at": alert.starts_at,
            "event_query": urlencode({"type": alert.event_type})
            if is_event_type and len(alert.event_type) <= _MOST_LINKED
            else "",
            "contents": contents,
        }


def _place_in(given: Mapping[str, str]) -> list[str]:
    """Topic, partition and offset in an address.

    Raises:
        BadQueryError: it lacks some.
    """
    lacking = [name for name in _PLACE if not given.get(name)]
    if lacking:
        named = " and ".join(filter(None, (", ".join(lacking[:-1]), lacking[-1])))
        raise BadQueryError(f"The address lacks {named}: that of an alert has topic, partition and offset.")
    return [given[name] for name in _PLACE]


def _asked(query: AlertsQuery) -> dict[str, str]:
    """The parameters of a query, without its place."""
    asked = {
        "event_type": query.event_type or "",
        "publisher": query.publisher or "",
        "priority": "" if query.priority is None else query.priority.value,
        "window": query.window,
    }
    if query.limit != PAGE_GROUPS:
        asked["limit"] = str(query.limit)
    return asked


def _group(group: AlertGroup, query: AlertsQuery, span: Span, now_s: float, known: Known) -> dict[str, Any]:
    counts = span.counted(group.times_ms)
    key = f"{group.priority.value}\xff{group.event_type}\xff{group.publisher}"
    return {
        "key": tag(key.encode("utf-8", "replace")),
        "row": alert_row(group.newest, now_s, known),
        "narrower": _narrower(group, query),
        "count": group.count,
        "buckets": counts,
        "in_window": sum(counts),
        "latest": [(place_of(each), alert_address(each)) for each in group.latest],
    }


def _narrower(group: AlertGroup, query: AlertsQuery) -> str:
    """The parameters that narrow down to a group; "" where its names are none that can be asked for."""
    names = [group.event_type, group.publisher]
    if sum(map(len, names)) > _MOST_LINKED:
        return ""
    if any(name.count("*") + name.count("?") > MOST_WILDCARDS for name in names):
        return ""
    asked = {
        "event_type": group.event_type,
        "publisher": group.publisher,
        "priority": group.priority.value,
        "window": query.window,
    }
    return urlencode({name: value for name, value in asked.items() if value}, errors="replace")


def _notes(snapshot: AlertsSnapshot) -> list[str]:
    """Why the page is not up to date, in sentences; empty when it is."""
    if snapshot.trouble is not None:
        return [snapshot.trouble]
    if snapshot.missing:
        named = ", ".join(f"{topic}/{partition}" for topic, partition in snapshot.missing[:_MOST_NAMED])
        more = " and more" if len(snapshot.missing) > _MOST_NAMED else ""
        return [
            f"Not up to date: the brokers do not answer for {named}{more}, so that alerts may be missing."
        ]
    return [] if snapshot.complete else ["Still reading the last alerts: more may come."]


def _kept(kept: Kept) -> dict[str, Any]:
    return {
        "priority": kept.priority.value,
        "alerts": kept.alerts,
        "since": rfc3339(kept.since_ms / 1000, "seconds"),
    }
