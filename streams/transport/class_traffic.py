"""What the web views and metrics are shown of each priority's traffic."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from streams.notifications.priority import Priority
from streams.notifications.record_time import record_time
from streams.records import Record
from streams.scheduling.buffers import ClassBuffer
from streams.scheduling.scheduler import Scheduler
from streams.transport.fetch_lane import FetchLane


@dataclass(slots=True)
class ClassTraffic:
    """What a class has and gets, for the web views."""

    weight: float
    configured_share: float
    achieved_share: float
    buffered_records: int
    buffered_bytes: int
    lag_records: int
    oldest_age_s: float
    dispatched_records: int
    service_seconds: float
    #: Start tag of the next batch, in seconds of service per unit of weight.
    virtual_time: float = 0.0
    #: Share of the service time of the last minute, from 0 to 1.
    minute_share: float = 0.0


def lag_of(lane: FetchLane, buffer: ClassBuffer[int, Record], now_s: float) -> tuple[int, float]:
    """Records not yet handed to agents, and the age in seconds of the oldest buffered one.

    Args:
        lane: that fetches the class.
        buffer: the scheduler's, of the class.
        now_s: seconds since 1970.
    """
    lag = 0
    for partition, position in lane.positions.items():
        end = lane.end_offset(partition)
        lag += max(0, (end or 0) - lane.past_markers(partition, position))
    times = (record_time(head.timestamp, head.timestamp_type)[0] for head in buffer.heads())
    oldest = min((each for each in times if each >= 0), default=None)
    age = 0.0 if not oldest else max(0.0, now_s - oldest / 1000)
    return lag + len(buffer), age


def class_traffic(
    scheduler: Scheduler[Priority, int, Record],
    lanes: Mapping[Priority, FetchLane],
    minute_shares: Mapping[Priority, float],
    now_s: float,
) -> dict[Priority, ClassTraffic]:
    """What every class has and gets now.

    Args:
        scheduler: of all classes.
        lanes: that fetch them.
        minute_shares: of the service time of the last minute, from 0 to 1.
        now_s: seconds since 1970.
    """
    shown = {}
    for priority, state in scheduler.snapshot().items():
        lag, age = lag_of(lanes[priority], scheduler.buffer(priority), now_s)
        shown[priority] = ClassTraffic(
            weight=state.weight,
            configured_share=state.configured_share,
            achieved_share=state.achieved_share,
            buffered_records=state.buffered_records,
            buffered_bytes=state.buffered_bytes,
            lag_records=lag,
            oldest_age_s=age,
            dispatched_records=state.dispatched_records,
            service_seconds=state.service_seconds,
            virtual_time=state.virtual_time,
            minute_share=minute_shares.get(priority, 0.0),
        )
    return shown
