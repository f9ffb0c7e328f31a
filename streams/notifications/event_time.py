"""Which time a notification is counted under."""

from __future__ import annotations


def bucket_time_ms(
    own_ms: int | None, broker_ms: int, lateness_ms: int, future_ms: int = 600_000
) -> tuple[int, bool]:
    """Return the time a record is counted under, in UTC milliseconds since 1970.

    A function of the record alone, not of the clock or of other records: a replay finds the same
    bucket again. The record's own time holds when it lies within ``lateness_ms`` before and
    ``future_ms`` after the broker's (both ends included), the broker's otherwise. A record without
    a broker's time (Kafka's -1) is counted under its own, however old, or under 0 when it has
    none. No time is before 1970: 0 stands for those.

    Args:
        own_ms: the message's own timestamp; None when missing or broken.
        broker_ms: the timestamp of the Kafka record; negative when it has none.
        lateness_ms: how far before the broker's time the own time is believed.
        future_ms: how far after it.

    Returns:
        The time, and whether a stated own time was overruled by the broker's (count it as such).
    """
    if broker_ms < 0:
        return max(0, own_ms or 0), False
    if own_ms is None:
        return broker_ms, False
    if broker_ms - lateness_ms <= own_ms <= broker_ms + future_ms:
        return max(0, own_ms), False
    return broker_ms, True
