"""Alerts in groups: each is in one group, and in one bucket of it."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.notifications.priority import Priority
from streams.records import UnreadableRecord
from tables.recent_alerts import Alert
from tables.views.alert_groups import LATEST, SPARK_BUCKETS, Span, grouped, matching, merged
from tables.views.alerts_query import AlertsQuery, page_of, parse_alerts_query
from tests.unit.tables.views.views_kit import NOW_S, run

PRIORITIES = (Priority.CRITICAL, Priority.ERROR)


def alert(offset: int, priority: Priority, event_type: str, publisher: str, time_s: int) -> Alert:
    topic = f"alerts.{priority.value.lower()}"
    value = f'{{"labels":{{"publisher_id":"{publisher}"}}}}'.encode()
    headers = (("ce_id", b"%d" % offset), ("ce_subject", event_type.encode()))
    record = UnreadableRecord(topic, 0, offset, "", time_s * 1000 + 5, value=value, headers=headers)
    return Alert(topic, 0, priority, record)


@st.composite
def many(draw: st.DrawFn) -> list[Alert]:
    """Alerts, newest first."""
    drawn = draw(
        st.lists(
            st.tuples(
                st.sampled_from(PRIORITIES),
                st.sampled_from(["a", "b.c", "b.d"]),
                st.sampled_from(["", "p", "q"]),
                st.integers(NOW_S - 10_000, NOW_S + 100),
            ),
            max_size=60,
        )
    )
    alerts = [alert(number, *each) for number, each in enumerate(drawn)]
    return sorted(alerts, key=lambda each: each.key, reverse=True)


@given(many())
def test_every_alert_is_in_the_one_group_that_is_its_own(alerts: list[Alert]) -> None:
    groups = run(grouped(alerts))
    keys = Counter((each.priority, each.event_type, each.publisher_id) for each in alerts)
    assert {(each.priority, each.event_type, each.publisher): each.count for each in groups} == keys
    newest = [each.newest.key for each in groups]
    assert newest == sorted(newest, reverse=True)
    for group in groups:
        own = [
            each
            for each in alerts
            if (each.priority, each.event_type, each.publisher_id)
            == (group.priority, group.event_type, group.publisher)
        ]
        assert group.latest == own[:LATEST]
        assert group.times_ms == [each.time_ms for each in own]


@given(many(), st.sampled_from([60, 300, 3600, 86_400]))
def test_every_alert_of_the_span_is_in_one_bucket(alerts: list[Alert], length_s: int) -> None:
    span = Span.until(NOW_S, length_s)
    assert span.start_s <= NOW_S - length_s + span.bucket_s
    assert span.start_s + span.bucket_s * span.buckets > NOW_S
    counts = span.counted(each.time_ms for each in alerts)
    assert len(counts) == SPARK_BUCKETS
    inside = [each.time_ms // 1000 for each in alerts if each.time_ms >= span.start_s * 1000]
    assert sum(counts) == len(inside)
    for place, count in enumerate(counts[:-1]):
        start = span.start_s + place * span.bucket_s
        assert count == sum(start <= each < start + span.bucket_s for each in inside)


def test_an_alert_from_ahead_of_this_clock_is_in_the_last_bucket() -> None:
    span = Span.until(NOW_S, 60)
    assert span.counted([(NOW_S + 500) * 1000]) == [0] * 59 + [1]
    assert span.counted([(NOW_S - 60) * 1000]) == [0] * 60
    assert span.counted([(NOW_S - 59) * 1000]) == [1] + [0] * 59


@given(st.lists(many(), max_size=3))
def test_several_lists_become_one(lists: list[list[Alert]]) -> None:
    found = run(merged(lists))
    expected = sorted((each.key for some in lists for each in some), reverse=True)
    assert [each.key for each in found] == expected
    # Where clocks differed, a list is not in the order of time.
    found = run(merged([sorted(some, key=lambda each: each.offset, reverse=True) for some in lists]))
    assert [each.key for each in found] == expected


@given(many(), st.integers(1, 7))
def test_pages_put_together_are_the_whole(alerts: list[Alert], limit: int) -> None:
    groups = run(grouped(alerts))
    found: list[object] = []
    asked = {"limit": str(limit)}
    while True:
        query = parse_alerts_query(asked)
        page, cursor = page_of(groups, query, lambda group: group.newest.key)
        assert len(page) <= limit
        found += page
        if cursor is None:
            break
        asked["cursor"] = cursor
    assert found == groups


def test_a_cursor_of_an_alert_that_is_gone_goes_on_behind_it() -> None:
    alerts = [alert(number, Priority.ERROR, "a", "p", NOW_S - number) for number in range(6)]
    query = AlertsQuery(limit=2, after=alerts[2].key)
    without = [each for each in alerts if each is not alerts[2]]
    assert page_of(without, query, lambda each: each.key)[0] == alerts[3:5]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (AlertsQuery(), [0, 1, 2]),
        (AlertsQuery(priority=Priority.ERROR), [1, 2]),
        (AlertsQuery(event_type="b.?"), [1]),
        (AlertsQuery(publisher=""), []),
        (AlertsQuery(publisher="q"), [1, 2]),
        (AlertsQuery(event_type="[a]"), []),
    ],
)
def test_what_a_query_asks_for(query: AlertsQuery, expected: list[int]) -> None:
    alerts = [
        alert(0, Priority.CRITICAL, "a", "p", NOW_S),
        alert(1, Priority.ERROR, "b.c", "q", NOW_S - 1),
        alert(2, Priority.ERROR, "a", "q", NOW_S - 2),
    ]
    assert [each.offset for each in run(matching(alerts, query))] == expected
