"""A batch of consecutive records of one partition: what an ingest agent gets at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from faust.types import TP

from streams.notifications.priority import Priority
from streams.records import Record


@dataclass(slots=True, eq=False)
class RecordBatch:
    """Consecutive records of one partition of a notification topic, in offset order.

    Attributes:
        priority: of the topic.
        topic: Kafka topic.
        partition: number of the partition.
        records: at least one.
        dispatch: the scheduler's ticket, given back when the batch is done.
        taken: an agent has begun with it.
        dropped: it is of an assignment that has ended, and no agent may begin with it any more.
        parked_s: seconds for which it waited: for something outside, without a slot, or interrupted.
        interrupted: it has waited for something more urgent, which it does once at most.
        parked_since: when it began to, on the monotonic clock; None while it does not.
        tp: topic and partition.
    """

    priority: Priority
    topic: str
    partition: int
    records: Sequence[Record]
    dispatch: Any
    taken: bool = False
    dropped: bool = False
    interrupted: bool = False
    parked_s: float = 0.0
    parked_since: float | None = None
    tp: TP = field(init=False)

    def __post_init__(self) -> None:
        """Make the partition's name, which is asked for several times."""
        self.tp = TP(self.topic, self.partition)
