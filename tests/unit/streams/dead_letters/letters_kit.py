"""A dead-letter topic in memory, as a reader hands it out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiokafka import TopicPartition
from faust.types import TP

from streams.dead_letters.letters import dead_letter, replay_note
from streams.notifications import Reason, Rejection
from streams.outgoing import Outgoing
from streams.records import UnreadableRecord
from streams.settings import load_settings

SETTINGS = load_settings(web_payloads=True)
TOPIC = SETTINGS.dead_letter_topic


@dataclass
class Log:
    """A dead-letter topic of some partitions, as a reader hands it out."""

    partitions: int = 2
    records: list[list[UnreadableRecord]] = field(default_factory=list)
    begins: list[int] = field(default_factory=list)
    read: int = 0
    client: None = None
    topic_id: str = "first"
    error: str | None = None
    may_read: bool = True

    def __post_init__(self) -> None:
        self.records = [[] for _ in range(self.partitions)]
        self.begins = [0] * self.partitions

    def put(self, partition: int, out: Outgoing, time_ms: int = 0) -> None:
        place = len(self.records[partition])
        self.records[partition].append(
            UnreadableRecord(
                TOPIC,
                partition,
                place,
                "",
                timestamp=time_ms or place,
                key=out.key,
                value=out.value,
                headers=tuple(out.headers or ()),  # type: ignore[arg-type]
            )
        )

    def letter(self, partition: int, number: int, **more: Any) -> str:
        """Put a dead letter, and return its id."""
        self.put(partition, made(number, **more), number)
        return f"source:{number}"

    def note(self, partition: int, letter_id: str) -> None:
        self.put(partition, replay_note(TOPIC, partition, letter_id, "in"))

    # ---------------------------------------------------------------- as a TopicReader

    def open(self, partitions: Sequence[TopicPartition]) -> None:
        assert [tp.partition for tp in partitions] == [*range(self.partitions)]

    async def beginnings(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        return {tp: self.begins[tp.partition] for tp in partitions}

    async def ends(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        return {tp: len(self.records[tp.partition]) for tp in partitions}

    async def records_(self, tp: TopicPartition, start: int, upper: int) -> AsyncIterator[Any]:
        for first in range(start, upper, 100):
            found = self.records[tp.partition][first : min(upper, first + 100)]
            self.read += len(found)
            yield found


class Reader:
    """The log, with its method of that name."""

    def __init__(self, log: Log) -> None:
        self.client = None
        self.open, self.beginnings, self.ends, self.records = (
            log.open,
            log.beginnings,
            log.ends,
            log.records_,
        )


def made(
    number: int, value: bytes = b"bad", reason: Reason = Reason.NOT_JSON, topic: str = "notifications.error"
) -> Outgoing:
    record = UnreadableRecord(topic, 0, number, "", found=value)
    return dead_letter(TOPIC, TP(topic, 0), record, "source", Rejection(reason, "why"))
