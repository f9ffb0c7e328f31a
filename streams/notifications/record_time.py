"""The time of a Kafka record, and whose it is. Pure.

Brokers put their own time on the records of a topic with ``message.timestamp.type=LogAppendTime``; in others
it is whatever the publisher's client wrote. The batch says which. A publisher's time is believed when it can
be one, also when it was written in another unit; a function of the record alone, so that a replay finds the
same.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

#: Of a record's time: the publisher's. 1 is the broker's, and None stands for records that say nothing.
CREATE_TIME: Final = 0
#: Milliseconds since 1970 that can be a publisher's time, from 2001 to 2286: then each unit of time has a
#: number of digits of its own.
LEAST_MS: Final = 10**12
BELOW_MS: Final = 10**13


class RecordTime(StrEnum):
    """What became of a record's time that is not the broker's: the label of a metric."""

    PUBLISHERS = "publishers"
    SECONDS = "seconds"
    MICROSECONDS = "microseconds"
    NANOSECONDS = "nanoseconds"
    UNUSABLE = "unusable"
    MISSING = "missing"


_UNITS: Final = (
    (RecordTime.SECONDS, 1000, 1),
    (RecordTime.MICROSECONDS, 1, 1000),
    (RecordTime.NANOSECONDS, 1, 1_000_000),
)


def record_time(timestamp_ms: int | None, timestamp_type: int | None) -> tuple[int, RecordTime | None]:
    """The time of a record in milliseconds since 1970; -1 when it has none that can be used.

    Args:
        timestamp_ms: as the record says; None or negative when it says nothing.
        timestamp_type: of its batch.

    Returns:
        The time, and what became of it; None when it is the broker's.
    """
    if timestamp_ms is None or timestamp_ms < 0:
        return -1, RecordTime.MISSING
    if timestamp_type != CREATE_TIME:
        return timestamp_ms, None
    if LEAST_MS <= timestamp_ms < BELOW_MS:
        return timestamp_ms, RecordTime.PUBLISHERS
    for unit, times, over in _UNITS:
        if LEAST_MS <= (in_ms := timestamp_ms * times // over) < BELOW_MS:
            return in_ms, unit
    return -1, RecordTime.UNUSABLE
