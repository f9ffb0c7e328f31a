"""Whose time a record has, and which one is believed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.notifications import RecordTime, record_time

NOW_MS = 1_700_000_000_123


@pytest.mark.parametrize(
    ("timestamp", "kind", "expected"),
    [
        (NOW_MS, 1, (NOW_MS, None)),
        (5, 1, (5, None)),  # a broker is believed, whatever its clock says
        (NOW_MS, None, (NOW_MS, None)),
        (NOW_MS, 0, (NOW_MS, RecordTime.PUBLISHERS)),
        (NOW_MS // 1000, 0, (NOW_MS // 1000 * 1000, RecordTime.SECONDS)),
        (NOW_MS * 1000 + 7, 0, (NOW_MS, RecordTime.MICROSECONDS)),
        (NOW_MS * 1_000_000 + 7, 0, (NOW_MS, RecordTime.NANOSECONDS)),
        (0, 0, (-1, RecordTime.UNUSABLE)),
        (12_345, 0, (-1, RecordTime.UNUSABLE)),
        (NOW_MS * 50, 0, (-1, RecordTime.UNUSABLE)),
        (-1, 0, (-1, RecordTime.MISSING)),
        (None, 0, (-1, RecordTime.MISSING)),
        (-1, 1, (-1, RecordTime.MISSING)),
    ],
)
def test_a_record_s_time(
    timestamp: int | None, kind: int | None, expected: tuple[int, RecordTime | None]
) -> None:
    assert record_time(timestamp, kind) == expected


@given(st.integers(10**12, 10**13 - 1))
def test_no_time_can_be_of_two_units(time_ms: int) -> None:
    found = [record_time(each, 0)[1] for each in (time_ms, time_ms // 1000, time_ms * 1000, time_ms * 10**6)]
    assert (
        found[: 4 if time_ms * 10**6 < 2**63 else 3]
        == [
            RecordTime.PUBLISHERS,
            RecordTime.SECONDS,
            RecordTime.MICROSECONDS,
            RecordTime.NANOSECONDS,
        ][: 4 if time_ms * 10**6 < 2**63 else 3]
    )
