"""The alerts of a run of tidy notifications are those that each would have by itself."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from faust.types import TP
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.alert_labels import AlertLabels
from agents.forwarding import Forwarding
from agents.tally import RunTally
from streams.notifications import Notification, Priority, bucket_time_ms
from streams.notifications.masking import Masker
from streams.packed_records import PackedRecords
from tables.buckets import FUTURE_S
from tests.property.test_tally import (
    BROKER_MS,
    DECODE,
    LATENESS_MS,
    LIMITS,
    TYPES,
    alike,
    tidy,
    times,
    values,
)

CARRIED = ("message-id", "traceparent")
#: Of records in turn: what goes on to the alert, and what does not.
HEADERS: list[list[tuple[str, bytes]]] = [
    [],
    [("x", b"y")],
    [("message-id", b"2f1c"), ("traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")],
]


class OfSeveral(Forwarding):
    """A broken variant: takes what is read of the first for all."""

    def alerts(self, records: Any, times_ms: Any, reads: Any) -> PackedRecords:
        return super().alerts(records, times_ms, [reads[0]] * len(reads))


def check(found: list[tuple[bytes | None, int]], kind: type[Forwarding] = Forwarding) -> int:
    """Hold the alerts of all runs to those of each record; return how many were made in runs."""
    tally = RunTally(Priority.WARN, LIMITS, LATENESS_MS, keep=True)
    for event_type in TYPES:
        tally.learn(event_type)
    made_by = [
        each("alerts.warn", TP("notifications.warn", 1), "id:1", AlertLabels(Priority.WARN), Masker(["n"]))
        for each in (kind, Forwarding)
    ]
    records = [
        SimpleNamespace(
            offset=offset,
            value=value,
            timestamp=broker_ms,
            timestamp_type=1,
            headers=HEADERS[offset % len(HEADERS)],
        )
        for offset, (value, broker_ms) in enumerate(found)
    ]
    index = in_runs = 0
    while index < len(records):
        run = tally.run(records, index)
        taken = records[index : run.end]
        assert len(run.read) == len(run.times_ms) == len(taken)
        if taken:
            made = made_by[0].alerts(taken, run.times_ms, run.read)
            for record, alert in zip(taken, made, strict=True):
                read = DECODE(record.value, Priority.WARN)
                assert isinstance(read, Notification)
                event_ms, _ = bucket_time_ms(
                    read.event_time_ms, record.timestamp, LATENESS_MS, FUTURE_S * 1000
                )
                alone = made_by[1].alert(record.offset, record.value, event_ms, read, headers=record.headers)
                assert alert == alone
                carried = [each for each in record.headers if each[0] != "x"]
                assert [each for each in alert.headers if each[0] in CARRIED] == carried
        in_runs += len(taken)
        index = run.end + run.stopped
    return in_runs


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(values(), times), max_size=12))
def test_whatever_comes(found: list[tuple[bytes | None, int]]) -> None:
    check(found)


@settings(max_examples=300, deadline=None)
@given(alike(), st.booleans())
def test_records_that_are_alike(found: list[tuple[bytes | None, int]], with_ids: bool) -> None:
    if with_ids:
        found = [
            (value and value[:-1] + b',"message_id":"%d"}' % number, at)
            for number, (value, at) in enumerate(found)
        ]
    check(found)


def named(number: int, **changes: Any) -> tuple[bytes, int]:
    return tidy(number, message_id=f"m{number}", publisher_id=f"p{number % 3}", **changes), BROKER_MS


def test_tidy_notifications_are_made_into_alerts_together() -> None:
    found: list[tuple[bytes | None, int]] = [named(number) for number in range(50)]
    assert check(found) == 50
    with pytest.raises(AssertionError):
        check(found, OfSeveral)


def test_an_id_that_lies_elsewhere_is_not_overlooked() -> None:
    value, at = tidy(1, metadata={"message_id": "elsewhere"}), BROKER_MS
    assert b"elsewhere" in value
    assert check([(value, at)]) == 0  # read by itself


def test_secrets_in_a_run_are_masked_where_they_are() -> None:
    enveloped = orjson.dumps({"oslo.message": named(3, token="s3cret")[0].decode()})
    found: list[tuple[bytes | None, int]] = [named(1), named(2, token="s3cret"), named(4)]
    assert check(found) == 3
    assert check([(enveloped, BROKER_MS)] * 2) == 2
