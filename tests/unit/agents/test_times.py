"""Times of records and notifications: what is counted where, noted for the metrics, and said in alerts."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import orjson
import pytest

from agents.ingest import Ingest
from agents.skew import RecentSkew
from streams.notifications import Priority, RecordTime
from streams.outgoing import Outgoing
from streams.settings import load_settings
from streams.transport.batch import RecordBatch
from tables.rows import VersionedRows
from tables.source_counter import SourceCounter
from tests.property.counting_model import Store

NOW_S = 1_700_000_000


class Sent:
    def __init__(self) -> None:
        self.records: list[Outgoing] = []

    def of(self, _: Any) -> Sent:
        return self

    def send_now(self, _tp: Any, _offset: int, record: Outgoing, _smaller: Any, *_: Any) -> bool:
        self.records.append(record)
        return True


async def ingested(
    records: list[Any], priority: Priority = Priority.DEBUG
) -> tuple[Ingest, SourceCounter, list[Outgoing]]:
    sent = Sent()
    ingest = Ingest(load_settings(), sent)  # type: ignore[arg-type]
    counter = SourceCounter("s:0", VersionedRows(Store(), "w"), max_event_types=10, lateness_s=3600)
    for start in range(0, len(records), 100):
        some = records[start : start + 100]
        await ingest.handle(
            RecordBatch(priority, f"notifications.{priority.lower()}", 0, some, None), counter
        )
    return ingest, counter, sent.records


def record(offset: int, timestamp: int, kind: int, stated: str | None = None, priority: str = "DEBUG") -> Any:
    body: dict[str, Any] = {"event_type": "a", "publisher_id": "p", "priority": priority, "payload": {}}
    body["message_id"] = str(offset)
    if stated is not None:
        body["timestamp"] = stated
    return SimpleNamespace(
        offset=offset,
        timestamp=timestamp,
        timestamp_type=kind,
        key=None,
        headers=(),
        value=orjson.dumps(body),
    )


def buckets(counter: SourceCounter) -> dict[int, int]:
    return {bucket: counts.total() for bucket, counts in counter.take_pending().items()}


@pytest.mark.parametrize(
    ("timestamp", "reason"),
    [
        (NOW_S * 1000, RecordTime.PUBLISHERS),
        (NOW_S, RecordTime.SECONDS),
        (NOW_S * 10**6, RecordTime.MICROSECONDS),
        (NOW_S * 10**9, RecordTime.NANOSECONDS),
    ],
)
async def test_a_publisher_s_time_is_counted_where_it_belongs_and_noted(
    timestamp: int, reason: RecordTime
) -> None:
    ingest, counter, _ = await ingested([record(n, timestamp, 0, None) for n in range(300)])
    assert buckets(counter) == {NOW_S: 300}
    assert ingest.stats.record_times == {(Priority.DEBUG, reason): 300}
    assert counter.watermark_ms == NOW_S * 1000


async def test_the_broker_s_time_is_nothing_to_note() -> None:
    ingest, counter, _ = await ingested([record(n, NOW_S * 1000, 1, None) for n in range(300)])
    assert buckets(counter) == {NOW_S: 300}
    assert +ingest.stats.record_times == {}


@pytest.mark.parametrize("timestamp", [-1, 77])
async def test_an_alert_says_no_time_where_nobody_knows_one(timestamp: int) -> None:
    ingest, _, alerts = await ingested([record(0, timestamp, 0, None, "CRITICAL")], Priority.CRITICAL)
    (alert,) = alerts
    value = orjson.loads(alert.value or b"")
    assert "startsAt" not in value
    assert value["generatorURL"] == ""
    assert "ce_time" not in dict(alert.headers)
    assert sum(ingest.stats.record_times.values()) == 1
    # The control: one that is known.
    _, _, (known,) = await ingested([record(0, NOW_S, 0, None, "CRITICAL")], Priority.CRITICAL)
    assert orjson.loads(known.value or b"")["startsAt"] == "2023-11-14T22:13:20.000Z"
    assert dict(known.headers)["ce_time"] == b"2023-11-14T22:13:20.000Z"


@pytest.mark.parametrize("alike", [True, False])
async def test_a_slow_publisher_shows_in_the_figures(alike: bool) -> None:
    midnight = 1_700_006_400  # 2023-11-15 00:00:00
    stated = "2023-11-15 00:00:00.000000"
    records = [record(n, (midnight + 3000) * 1000, 1, stated) for n in range(300)]
    if not alike:
        for each in records:
            each.value = each.value.replace(b'"publisher_id":"p"', '"publisher_id":"é"'.encode())
    ingest, counter, _ = await ingested(records)
    assert buckets(counter) == {midnight: 300}
    assert ingest.stats.late[Priority.DEBUG] == 300
    found = ingest.stats.skew.most()[Priority.DEBUG]
    assert 2990 <= found.behind_s <= 3000
    assert found.ahead_s == 0


def test_skew_is_of_the_last_minute_or_two() -> None:
    now = [0.0]
    skew = RecentSkew(lambda: now[0])
    skew.note(Priority.WARN, 50.0, 0.0)
    skew.note(Priority.WARN, 20.0, 3.0)
    now[0] = 61.0
    skew.note(Priority.WARN, 1.0, 0.0)
    found = skew.most()[Priority.WARN]
    assert (found.behind_s, found.ahead_s) == (50.0, 3.0)
    now[0] = 122.0
    assert skew.most()[Priority.WARN].behind_s == 1.0
    now[0] = 400.0
    assert skew.most() == {}
