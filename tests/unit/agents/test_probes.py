"""What a worker does with the records that `tocsin probe` publishes, and with forged ones."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import orjson
import pytest

from agents.ingest import Ingest
from agents.probes import MOST_BODY_BYTES, TYPE, without_value
from streams.notifications import Priority, encode
from streams.outgoing import Outgoing
from streams.settings import load_settings
from streams.transport.batch import RecordBatch
from tables.reserved_types import DEAD_LETTERS, OVERFLOW, PROBES
from tables.rows import VersionedRows
from tables.source_counter import SourceCounter
from tables.totals import Count
from tables.views.counts_query import CountsQuery


class NoStore:
    def scan(self, _start: bytes, _end: bytes) -> list[tuple[bytes, bytes]]:
        return []


class Sent:
    """Stands for the sending of effects."""

    def __init__(self) -> None:
        self.records: list[Outgoing] = []

    def of(self, _: Any) -> Sent:
        return self

    def send_now(self, _tp: Any, _offset: int, record: Outgoing, _smaller: Any, *_: Any) -> bool:
        self.records.append(record)
        return True

    async def send(self, _tp: Any, _offset: int, record: Outgoing, _smaller: Any, *_: Any) -> None:
        self.records.append(record)

    async def send_all(self, _tp: Any, _offsets: Any, records: Any, _smaller: Any, *_: Any) -> None:
        self.records += records


def new_counter(cap: int = 100) -> SourceCounter:
    return SourceCounter("id:0", VersionedRows(NoStore(), "w"), max_event_types=cap, lateness_s=3600)


def notification(event_type: str, priority: Priority, payload: Any = None) -> bytes:
    return encode("p", event_type, priority, payload or {}, int(time.time() * 1000), f"id of {event_type}")


async def handled(
    *values: bytes, priority: Priority = Priority.CRITICAL, counter: SourceCounter | None = None
) -> tuple[dict[str, int], list[Outgoing]]:
    """Counts by event type, and what was sent."""
    counter = counter or new_counter()
    sent = Sent()
    ingest = Ingest(load_settings(app_id="me"), sent)  # type: ignore[arg-type]
    topic = f"notifications.{priority.lower()}"
    now_ms = int(time.time() * 1000)
    records = [
        SimpleNamespace(
            topic=topic,
            partition=0,
            offset=offset,
            timestamp=now_ms,
            timestamp_type=1,
            value=value,
            key=None,
            headers=(),
        )
        for offset, value in enumerate(values)
    ]
    await ingest.handle(RecordBatch(priority, topic, 0, records, None), counter)
    counter.flush(time.time())
    return dict(counter.totals.counts), sent.records


@pytest.mark.parametrize("priority", [Priority.CRITICAL, Priority.ERROR])
async def test_the_answer_is_an_alert_in_all_but_topic_and_type(priority: Priority) -> None:
    counts, (answer, alert) = await handled(
        notification(PROBES, priority), notification("disk.full", priority), priority=priority
    )
    assert counts == {PROBES: 1, "disk.full": 1}
    assert (answer.topic, alert.topic) == ("me-probes", f"alerts.{priority.lower()}")
    assert dict(answer.headers)["ce_type"] == TYPE.encode()
    assert dict(alert.headers)["ce_type"] != TYPE.encode()
    assert dict(answer.headers).keys() == dict(alert.headers).keys()
    one, other = orjson.loads(answer.value or b""), orjson.loads(alert.value or b"")
    assert one.keys() == other.keys()
    assert one["examples"] == [
        {
            "topic": f"notifications.{priority.lower()}",
            "partition": 0,
            "offset": 0,
            "message_id": f"id of {PROBES}",
        }
    ]


@pytest.mark.parametrize("priority", [Priority.WARN, Priority.DEBUG])
async def test_a_probe_of_a_priority_that_is_not_forwarded_is_only_counted(priority: Priority) -> None:
    counts, sent = await handled(notification(PROBES, priority), priority=priority)
    assert (counts, sent) == ({PROBES: 1}, [])


async def test_other_reserved_types_are_alerts_under_another_name() -> None:
    counts, sent = await handled(notification(DEAD_LETTERS, Priority.CRITICAL))
    assert counts == {f"{DEAD_LETTERS} as published": 1}
    assert [each.topic for each in sent] == ["alerts.critical"]


async def test_a_forged_probe_with_a_large_body_has_a_small_answer() -> None:
    value = notification(PROBES, Priority.CRITICAL, {"x": "y" * MOST_BODY_BYTES})
    _, (answer,) = await handled(value)
    assert len(answer.value or b"") < 2000
    assert orjson.loads(answer.value or b"")["truncated"] is True
    assert without_value(answer).value is None
    assert without_value(answer).headers == answer.headers


async def test_probes_take_no_place_under_the_cap_and_are_always_named() -> None:
    types = [PROBES, "a", "b", PROBES, "c", PROBES]
    values = [notification(each, Priority.INFO) for each in types]
    counts, _ = await handled(*values, priority=Priority.INFO, counter=new_counter(cap=2))
    assert counts == {PROBES: 3, "a": 1, "b": 1, OVERFLOW: 1}
    counts, _ = await handled(*values[::-1], priority=Priority.INFO, counter=new_counter(cap=2))
    assert counts == {PROBES: 3, "c": 1, "b": 1, OVERFLOW: 1}


def test_lists_of_counts_leave_probes_out_unless_they_are_named() -> None:
    items = [Count(event_type, "CRITICAL", 1, 0) for event_type in ("a", PROBES, DEAD_LETTERS)]

    def named(pattern: str | None) -> list[str]:
        return [each.event_type for each in CountsQuery(event_type=pattern).filtered(items)]

    assert named(None) == named("*") == ["a", DEAD_LETTERS]
    assert named(PROBES) == [PROBES]
    assert named("(*") == [PROBES, DEAD_LETTERS]
