"""What is kept of the alert topics depends on the topics alone, and is bounded."""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterable, Mapping, Sequence

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.notifications.priority import Priority
from streams.records import UnreadableRecord
from tables.recent_alerts import Alert, AlertMemory, Place, alert_uuid
from tests.unit.tables.views.views_kit import run

TOPICS = {"alerts.critical": Priority.CRITICAL, "alerts.error": Priority.ERROR}
PARTITIONS = 2


def record(
    place: Place,
    offset: int,
    event_type: str = "disk.full",
    *,
    time_ms: int = 0,
    ce_id: str | None = None,
    value: bytes | None = None,
) -> UnreadableRecord:
    """A record of an alert topic."""
    identity = ce_id or f"{place[0]}-{place[1]}-{offset}"
    body = {"labels": {"alertname": event_type, "publisher_id": "compute.host1"}, "annotations": {}}
    return UnreadableRecord(
        *place,
        offset,
        "",
        timestamp=time_ms,
        value=orjson.dumps(body) if value is None else value,
        headers=(("ce_id", identity.encode()), ("ce_subject", event_type.encode())),
    )


def memory(most: int = 5, *patterns: str) -> AlertMemory:
    return AlertMemory(TOPICS, dict.fromkeys(TOPICS, PARTITIONS), most, patterns)


def take(into: AlertMemory, place: Place, records: Iterable[UnreadableRecord]) -> None:
    for each in records:
        for _ in into.take(place, [each]):
            pass
        into.forget(place, each.offset + 1 - into.reach)


def places(alerts: Sequence[Alert]) -> list[tuple[str, int, int]]:
    return [(each.topic, each.partition, each.offset) for each in alerts]


def test_alerts_come_newest_first_by_time_and_place() -> None:
    kept = memory()
    take(kept, ("alerts.error", 0), [record(("alerts.error", 0), n, time_ms=10 * n) for n in range(3)])
    take(kept, ("alerts.error", 1), [record(("alerts.error", 1), 7, time_ms=10)])
    take(kept, ("alerts.critical", 0), [record(("alerts.critical", 0), 4, time_ms=15)])
    assert places(run(kept.newest())) == [
        ("alerts.error", 0, 2),
        ("alerts.critical", 0, 4),
        ("alerts.error", 1, 7),
        ("alerts.error", 0, 1),
        ("alerts.error", 0, 0),
    ]
    assert places(run(kept.newest(priority=Priority.CRITICAL))) == [("alerts.critical", 0, 4)]
    assert places(run(kept.newest(most=1))) == [("alerts.error", 0, 2)]


def test_event_types_are_found_by_patterns() -> None:
    kept = memory()
    place = ("alerts.error", 0)
    take(kept, place, [record(place, n, name) for n, name in enumerate(["compute.a", "compute.b", "disk"])])
    assert places(run(kept.newest(event_type="compute.*"))) == [(*place, 1), (*place, 0)]
    assert places(run(kept.newest(event_type="compute.?"))) == [(*place, 1), (*place, 0)]
    assert places(run(kept.newest(event_type="disk"))) == [(*place, 2)]
    assert run(kept.newest(event_type="[d]isk")) == []
    assert run(kept.newest(event_type="disk", priority=Priority.CRITICAL)) == []


def test_an_alert_is_found_by_its_place_wherever_it_is_kept() -> None:
    kept = memory(5, "disk.*")
    place = ("alerts.error", 0)
    take(kept, place, [record(place, 1, "disk.full"), *(record(place, n, "storm") for n in range(2, 100))])
    for offset, found in ((1, "disk.full"), (99, "storm"), (2, None), (100, None)):
        alert = run(kept.at(place, offset))
        assert (alert and alert.event_type) == found
        assert alert is None or places([alert]) == [(*place, offset)]
    assert run(kept.at(("alerts.error", 1), 1)) is None
    assert run(kept.at(("nothing", 7), 1)) is None


def test_a_named_pattern_keeps_its_alerts_through_a_storm_of_others() -> None:
    named, other = memory(5, "disk.*"), memory(5)
    place = ("alerts.error", 0)
    for kept in (named, other):
        take(kept, place, [record(place, n, "disk.full") for n in range(3)])
        take(kept, place, [record(place, n, "storm") for n in range(3, 1003)])
    assert [each.offset for each in run(named.newest(event_type="disk.*"))] == [2, 1, 0]
    assert run(other.newest(event_type="disk.*")) == []
    assert len(run(named.newest())) == 5


def test_a_repeat_is_shown_once_where_the_first_was() -> None:
    kept = memory()
    place = ("alerts.error", 0)
    take(kept, place, [record(place, n, time_ms=n, ce_id=name) for n, name in enumerate("abac")])
    found = run(kept.newest())
    assert [(each.ce_id, each.offset) for each in found] == [("c", 3), ("b", 1), ("a", 0)]


def test_memory_is_bounded_in_bytes_and_leaves_no_hole() -> None:
    kept = memory(5000)
    busy, quiet = ("alerts.error", 0), ("alerts.error", 1)
    take(kept, quiet, [record(quiet, 0, time_ms=0), record(quiet, 1, time_ms=10_000)])
    large = b'{"labels":{},"x":"' + b"x" * 60_000 + b'"}'
    take(kept, busy, [record(busy, n, time_ms=n, value=large) for n in range(1, 1001)])
    found = run(kept.newest())
    assert sum(each.nbytes for each in found) < 4 * 2**20
    oldest = found[-1]
    assert (
        oldest.topic,
        oldest.partition,
    ) == busy  # the quiet one's older alert would hide that some are missing
    assert [each.offset for each in found[1:]] == list(range(1000, 1001 - len(found), -1))
    assert places(found)[0] == (*quiet, 1)


def test_a_large_notification_is_left_out_and_the_rest_of_the_alert_stays() -> None:
    place = ("alerts.error", 0)
    begin = b'{"labels":{"alertname":"a","publisher_id":"p1"},"annotations":{"summary":"s"}'
    value = begin + b',"notification":{"payload":"' + b"x" * 100_000 + b'"}}'
    alert = Alert(*place, Priority.ERROR, record(place, 1, value=value))
    assert alert.truncated
    assert (alert.publisher_id, alert.summary) == ("p1", "s")
    assert orjson.loads(alert.body)["notification"] is None
    named = Alert(*place, Priority.ERROR, record(place, 1, value=b'{"labels":"' + b"x" * 100_000 + b'"}'))
    assert orjson.loads(named.body) == {"truncated": True}
    assert named.publisher_id == ""


@pytest.mark.parametrize("value", [b"", b"\xff\xfe", b"[1]", b'{"labels":{"publisher_id":7}}', b"{"])
def test_what_is_no_alert_is_kept_all_the_same(value: bytes) -> None:
    strange = UnreadableRecord("alerts.error", 1, 9, "", timestamp=-1, value=value, headers=())
    alert = Alert("alerts.error", 1, Priority.ERROR, strange)
    assert (alert.publisher_id, alert.summary, alert.event_type) == ("", "", "")
    assert alert.ce_id == "alerts.error/1/9"
    assert alert.time_ms == 0


def test_hostile_headers_are_bounded() -> None:
    headers = (("ce_id", b"x" * 10**6), ("ce_subject", b"\xff" * 10**6), ("ce_time", b"\x00" * 10**6))
    hostile = UnreadableRecord("alerts.error", 1, 9, "", value=b"{}", headers=headers)
    alert = Alert("alerts.error", 1, Priority.ERROR, hostile)
    assert alert.nbytes < 20_000
    assert alert.ce_id == "alerts.error/1/9"


def test_ids_that_are_uuids_stay_and_others_are_made() -> None:
    own = uuid.uuid4()
    assert alert_uuid("tocsin", str(own)) == own
    made = alert_uuid("tocsin", "0123456789abcdef0123456789abcdef")
    assert made.version == 5
    assert made == alert_uuid("tocsin", "0123456789abcdef0123456789abcdef")
    assert made != alert_uuid("other", "0123456789abcdef0123456789abcdef")
    assert made != alert_uuid("tocsin", "0123456789abcdef0123456789abcdee")


Logs = Mapping[Place, Sequence[UnreadableRecord]]
_places = [(topic, n) for topic in TOPICS for n in range(PARTITIONS)]


@st.composite
def logs(draw: st.DrawFn) -> Logs:
    """Partitions with alerts of some types and sizes, with holes between their offsets, times in order."""
    found = {}
    for place in _places:
        offset, time_ms, records = 0, 0, []
        for _ in range(draw(st.integers(0, 25))):
            offset += draw(st.sampled_from([1, 1, 1, 4]))
            time_ms += draw(st.integers(0, 3))
            size = draw(st.sampled_from([10, 50_000]))
            name = draw(st.sampled_from(["compute.a", "compute.b", "disk"]))
            records.append(record(place, offset, name, time_ms=time_ms, value=b" " * size))
        found[place] = records
    return found


def read_from_the_start(log: Logs, kept: AlertMemory, seed: int) -> None:
    """Take all in, in any order of the partitions, as a worker that has run for long."""
    left = {place: list(records) for place, records in log.items()}
    chance = random.Random(seed)
    while waiting := [place for place, records in left.items() if records]:
        place = chance.choice(waiting)
        some, left[place] = left[place][:3], left[place][3:]
        take(kept, place, some)


def read_back(log: Logs, kept: AlertMemory, chunk: int) -> None:
    """Take in as much as is needed from the ends back, as a worker that has just started."""
    for place, records in log.items():
        end = records[-1].offset + 1 if records else 0
        within = [each for each in records if each.offset >= end - kept.reach]
        while within and not kept.is_full(place):
            within, some = within[:-chunk], within[-chunk:]
            for _ in kept.take_older(place, some):
                pass


def answers(kept: AlertMemory) -> list[list[tuple[str, int, int]]]:
    return [
        places(run(kept.newest(priority=priority, event_type=event_type)))
        for priority in (None, *TOPICS.values())
        for event_type in (None, "compute.*", "disk", "compute.a")
    ]


@given(logs(), st.integers(1, 12), st.integers(0, 9), st.integers(1, 7))
def test_any_worker_has_the_same_alerts(log: Logs, most: int, seed: int, chunk: int) -> None:
    long, new = memory(most, "compute.*", "disk"), memory(most, "compute.*", "disk")
    read_from_the_start(log, long, seed)
    read_back(log, new, chunk)
    assert answers(long) == answers(new)


def test_the_comparison_sees_a_worker_that_keeps_what_the_others_have_not() -> None:
    """A negative control: a memory whose alerts never get out of reach."""
    place = _places[0]
    log = {place: [record(place, n, time_ms=n) for n in (1, 100)]}
    long, new = memory(5), memory(5)
    for _ in long.take(place, log[place]):
        pass
    read_back(log, new, 3)
    assert answers(long) != answers(new)
