"""The part of the API that answers for alerts. It only reads.

``GET /api/v1/alerts``
    The last alerts, newest first. ``priority``, ``event_type`` and ``publisher`` (with ``*`` and ``?``),
    ``limit`` (100, at most 1000) and ``cursor``.

``GET /api/v1/alerts/groups``
    The same by event type and publisher, with counts over time. ``window`` (1h) besides.

``GET /api/v1/alerts/{topic}/{partition}/{offset}``
    One alert by its place, with its labels, and what was published where that may be shown.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, TypeVar, cast

import msgspec
from aiohttp import web

from streams.notifications.masking import Masker
from tables.buckets import WINDOWS
from tables.recent_alerts import Alert
from tables.views.alert_bodies import (
    AlertBody,
    AlertDeadLetterItem,
    AlertGroupItem,
    AlertGroupsBody,
    AlertItem,
    AlertPlaceItem,
    AlertsBody,
    ExampleItem,
    KeptItem,
    PlaceItem,
)
from tables.views.alert_contents import AlertContents, contents_of
from tables.views.alert_groups import AlertGroup, Span, publisher_of, summary_of
from tables.views.alerts_query import AlertsQuery, alert_address, page_of, parse_alerts_query, parse_place
from tables.views.answers import Answer, Answers, answered, json_answer
from tables.views.counts_query import parameters
from tables.views.live_alerts import AlertsSnapshot, LiveAlerts
from tables.views.prefix import Prefix
from tables.views.problems import Problem
from tables.views.reader_lane import Pieces
from tables.views.sources import Sources
from tables.views.times import rfc3339

#: Items that are put into JSON in one step.
_STEP: Final = 5
_encode: Final = msgspec.json.Encoder().encode

_Item = TypeVar("_Item")
_Made = TypeVar("_Made")


class AlertsApi:
    """Handlers of alerts.

    Args:
        sources: of the settings and the time.
        alerts: the last alerts.
        answers: keeps what was answered.
        prefix: under which path the web views are seen.
    """

    def __init__(self, sources: Sources, alerts: LiveAlerts, answers: Answers, prefix: Prefix) -> None:
        self._sources = sources
        self._alerts = alerts
        self._answers = answers
        self._prefix = prefix
        self._masker = Masker(sources.settings.web_masked_keys)

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Add the routes."""
        router.add_get("/api/v1/alerts", self.alerts)
        router.add_get("/api/v1/alerts/groups", self.groups)
        router.add_get("/api/v1/alerts/{topic}/{partition}/{offset}", self.alert)

    async def alerts(self, request: web.Request) -> web.Response:
        """The last alerts."""
        return await self._listed(request, groups=False)

    async def groups(self, request: web.Request) -> web.Response:
        """The last alerts by event type and publisher."""
        return await self._listed(request, groups=True)

    async def _listed(self, request: web.Request, *, groups: bool) -> web.Response:
        query = parse_alerts_query(request.query, groups=groups)
        self._check_kept()
        snapshot, prefix = await self._alerts.snapshot(), self._prefix.public_prefix(request)
        make = self._groups_answer if groups else self._alerts_answer
        answer = await self._answers.get(
            (self, groups, query, prefix),
            snapshot,
            partial(make, snapshot, query, prefix),
            len(request.query_string) + len(prefix),
        )
        return await answered(request, answer)

    async def alert(self, request: web.Request) -> web.Response:
        """One alert."""
        parameters(request.query, ())
        place = parse_place(*(request.match_info[name] for name in ("topic", "partition", "offset")))
        self._check_kept()
        snapshot, prefix = await self._alerts.snapshot(), self._prefix.public_prefix(request)
        answer = await self._answers.get(
            (self, place, prefix),
            snapshot,
            partial(self._alert_answer, snapshot, place, prefix),
            len(request.path) + len(prefix),
        )
        return await answered(request, answer)

    def _check_kept(self) -> None:
        if (why_not := self._alerts.none_kept) is not None:
            raise Problem(404, why_not)

    async def _alerts_answer(self, snapshot: AlertsSnapshot, query: AlertsQuery, prefix: str) -> Answer:
        found, cursor = page_of(await self._alerts.find(snapshot, query), query, lambda alert: alert.key)
        async with self._alerts.lane.work() as pieces:
            as_of = rfc3339(snapshot.as_of_s)
            body = AlertsBody(
                as_of,
                snapshot.complete,
                _places(snapshot),
                snapshot.trouble,
                _kept(snapshot),
                await _encoded(found, lambda alert: _item(alert, prefix), pieces),
                cursor,
            )
            return json_answer(_encode(body), as_of)

    async def _groups_answer(self, snapshot: AlertsSnapshot, query: AlertsQuery, prefix: str) -> Answer:
        found, cursor = page_of(
            await self._alerts.groups(snapshot, query), query, lambda group: group.newest.key
        )
        span = Span.until(self._sources.clock(), WINDOWS[query.window])
        async with self._alerts.lane.work() as pieces:
            as_of = rfc3339(snapshot.as_of_s)
            body = AlertGroupsBody(
                as_of,
                snapshot.complete,
                _places(snapshot),
                snapshot.trouble,
                _kept(snapshot),
                query.window,
                rfc3339(span.start_s, "seconds"),
                span.bucket_s,
                await _encoded(found, lambda group: _group(group, span, prefix), pieces),
                cursor,
            )
            return json_answer(_encode(body), as_of)

    async def _alert_answer(
        self, snapshot: AlertsSnapshot, place: tuple[str, int, int], prefix: str
    ) -> Answer:
        alert = await self._alerts.at(*place)
        if alert is None:
            raise Problem(404, snapshot.not_kept)
        contents = await self._alerts.run(
            contents_of(alert, self._masker, payloads=self._sources.settings.web_payloads)
        )
        async with self._alerts.lane.work():
            as_of = rfc3339(snapshot.as_of_s)
            return json_answer(_encode(_body(snapshot, alert, contents, prefix)), as_of)


def _body(snapshot: AlertsSnapshot, alert: Alert, contents: AlertContents, prefix: str) -> AlertBody:
    letter = contents.dead_letter
    return AlertBody(
        as_of=rfc3339(snapshot.as_of_s),
        complete=snapshot.complete,
        missing_partitions=_places(snapshot),
        alert=_item(alert, prefix),
        starts_at=alert.starts_at,
        labels=contents.labels,
        annotations=contents.annotations,
        repairs=contents.repairs,
        examples=[
            ExampleItem(each.topic, each.partition, each.offset, each.message_id)
            for each in contents.examples
        ],
        dead_letter=None if letter is None else AlertDeadLetterItem(letter.topic, letter.id, letter.reason),
        notification=contents.notification,
        notification_left_out=contents.left_out or None,
    )


def _places(snapshot: AlertsSnapshot) -> list[PlaceItem]:
    return [PlaceItem(topic, partition) for topic, partition in snapshot.missing]


def _kept(snapshot: AlertsSnapshot) -> list[KeptItem]:
    return [
        KeptItem(each.priority.value, each.alerts, rfc3339(each.since_ms / 1000)) for each in snapshot.kept
    ]


def _link(alert: Alert, prefix: str) -> str:
    return f"{prefix}/{alert_address(alert)}"


def _item(alert: Alert, prefix: str) -> AlertItem:
    return AlertItem(
        at=rfc3339(alert.time_ms / 1000),
        priority=alert.priority.value,
        event_type=alert.event_type,
        publisher=publisher_of(alert),
        summary=summary_of(alert),
        id=alert.ce_id,
        topic=alert.topic,
        partition=alert.partition,
        offset=alert.offset,
        link=_link(alert, prefix),
    )


def _group(group: AlertGroup, span: Span, prefix: str) -> AlertGroupItem:
    return AlertGroupItem(
        priority=group.priority.value,
        event_type=group.event_type,
        publisher=group.publisher,
        count=group.count,
        first=rfc3339(group.times_ms[-1] / 1000),
        last=rfc3339(group.times_ms[0] / 1000),
        summary=summary_of(group.newest),
        latest=[
            AlertPlaceItem(each.ce_id, each.topic, each.partition, each.offset, _link(each, prefix))
            for each in group.latest
        ],
        buckets=span.counted(group.times_ms),
    )


async def _encoded(items: Sequence[_Item], made: Callable[[_Item], _Made], pieces: Pieces) -> list[_Made]:
    """Items of an answer, already as JSON, for the body that they are part of."""
    parts = []
    for start in range(0, len(items), _STEP):
        parts.append(_encode([made(each) for each in items[start : start + _STEP]])[1:-1])
        await pieces.rest()
    # msgspec puts what is raw where the list would be.
    return cast("list[_Made]", msgspec.Raw(b"[" + b",".join(parts) + b"]"))
