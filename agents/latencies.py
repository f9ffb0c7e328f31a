"""How long notifications take from being published until they are counted, and until their alerts are out.

From the time of a record (the broker's or the publisher's, whichever its topic has) to this worker's clock,
corrected by the brokers'. Pure: the time is an argument.

Records are noted as a span, by the times of its first and its last one, as if the others lay evenly between
them: looking at each would cost more than the answer is worth. Kafka's records of a partition are in order of
time but for publishers' clocks.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import ClassVar, Final

from faust.types import TP

from streams.notifications.priority import Priority

#: Upper bounds of the buckets, in seconds; a last bucket has everything above.
BOUNDS_S: Final = (
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
    60.0,
    300.0,
    1800.0,
    7200.0,
)
_BOUNDS_MS: Final = tuple(bound * 1000 for bound in BOUNDS_S)


class Latencies:
    """A histogram of latencies.

    Attributes:
        bounds_s: upper bounds of the buckets, in seconds.
        counts: of each bucket, and of what lies above.
        sum_s: of all latencies, in seconds.
    """

    __slots__ = ("counts", "sum_s")

    bounds_s: ClassVar[Sequence[float]] = BOUNDS_S

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_S) + 1)
        self.sum_s = 0.0

    def note(self, now_ms: float, first_ms: int, last_ms: int, number: int) -> None:
        """Note some records.

        Args:
            now_ms: the time, in milliseconds since 1970.
            first_ms: time of the first record; negative where it has none, and then nothing is noted.
            last_ms: time of the last one, likewise.
            number: of the records.
        """
        if first_ms < 0 or last_ms < 0 or number < 1:
            return
        # A publisher's clock may be ahead.
        least = max(0.0, now_ms - max(first_ms, last_ms))
        most = max(0.0, now_ms - min(first_ms, last_ms))
        self.sum_s += number * (least + most) / 2000
        bucket, last = bisect_left(_BOUNDS_MS, least), bisect_left(_BOUNDS_MS, most)
        noted = 0
        while bucket < last:
            until = round(number * (_BOUNDS_MS[bucket] - least) / (most - least))
            self.counts[bucket] += until - noted
            noted = until
            bucket += 1
        self.counts[bucket] += number - noted


class ClassLatencies:
    """The histograms of every priority.

    Args:
        priorities: notification topic -> its priority.
        forwarded: the priorities that have alerts.
        now_s: the brokers' time, in seconds since 1970.

    Attributes:
        counted: from publishing until a record is counted: the next flush makes that durable and public.
        alerted: from publishing until the brokers have confirmed the alert.
    """

    def __init__(
        self,
        priorities: Mapping[str, Priority],
        forwarded: Collection[Priority],
        now_s: Callable[[], float],
    ) -> None:
        self._priorities = priorities
        self._now_s = now_s
        self.counted = {priority: Latencies() for priority in priorities.values()}
        self.alerted = {priority: Latencies() for priority in forwarded}

    def note_counted(self, priority: Priority, first_ms: int, last_ms: int, number: int) -> None:
        """Records have been counted."""
        self.counted[priority].note(self._now_s() * 1000, first_ms, last_ms, number)

    def note_alerted(self, tp: TP, published_ms: tuple[int, int], number: int) -> None:
        """Alerts have been confirmed; ``published_ms`` are the times of the first record and the last."""
        self.alerted[self._priorities[tp.topic]].note(self._now_s() * 1000, *published_ms, number)
