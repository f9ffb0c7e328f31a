"""The time a notification is counted under."""

from __future__ import annotations

import pytest

from streams.notifications import bucket_time_ms
from streams.notifications.timestamps import make_timestamp_parser


@pytest.mark.parametrize(
    ("own", "broker", "expected"),
    [
        (1_000_000, 1_000_000, (1_000_000, False)),
        (997_000, 1_000_000, (997_000, False)),  # the edge of lateness
        (996_999, 1_000_000, (1_000_000, True)),
        (1_600_000, 1_000_000, (1_600_000, False)),  # the edge of the future
        (1_600_001, 1_000_000, (1_000_000, True)),
        (None, 1_000_000, (1_000_000, False)),
        (5, -1, (5, False)),
        (None, -1, (0, False)),
    ],
)
def test_own_time_within_bounds_else_the_brokers(
    own: int | None, broker: int, expected: tuple[int, bool]
) -> None:
    assert bucket_time_ms(own, broker, lateness_ms=3_000) == expected


@pytest.mark.parametrize("stated", ["1970-01-01 00:00:00", "2100-01-01 00:00:00"])
def test_timestamps_of_1970_and_2100_are_read_but_not_believed(stated: str) -> None:
    own = make_timestamp_parser()(stated)
    assert own is not None
    broker = 1_304_978_414_621
    assert bucket_time_ms(own, broker, lateness_ms=3_600_000) == (broker, True)


def test_no_time_is_before_1970() -> None:
    """A topic with the producers' own times may hold any time; counts are kept from 1970 on."""
    assert bucket_time_ms(-5, -1, 1000) == (0, False)
    assert bucket_time_ms(-5, 10, 1000) == (0, False)
