"""What a group has committed, and what is committed with an offset."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from faust.types import TP

from streams.upstream.topic_ids import (
    TopicDescription,
    epoch_of,
    fetch_topics,
    is_committed_of,
    life_of,
    never_read_of,
    written_of,
)


class NotedOffset(int):
    """An offset to commit, and what to commit with it; to Faust it is a number like any other."""

    note: str

    def __new__(cls, offset: int, note: str) -> NotedOffset:
        """Make one."""
        made = super().__new__(cls, offset)
        made.note = note
        return made


@dataclass(frozen=True, slots=True)
class Committed:
    """What a group has committed of topics, those that are there now.

    Attributes:
        topic_ids: id by name, of those that are there and may be seen.
        offsets: next offset to read, of these topics with these ids.
        never_read: how many records below that offset nobody read, where there are any.
        lives: name of the life of the source that the offset is one of, where it is not the first.
        written: offset of the changelog up to which rows were there by then, where it is known.
        last_epochs: leader epoch of the record before the offset, where it is known.
        leader_epochs: the present one of each partition, as far as the brokers have told.
        of_former: partitions whose offset was committed of an earlier topic of the name, with that offset.
    """

    topic_ids: Mapping[str, str]
    offsets: Mapping[TP, int]
    never_read: Mapping[TP, int]
    lives: Mapping[TP, str] = field(default_factory=dict)
    written: Mapping[TP, int] = field(default_factory=dict)
    last_epochs: Mapping[TP, int] = field(default_factory=dict)
    leader_epochs: Mapping[TP, int] = field(default_factory=dict)
    of_former: Mapping[TP, int] = field(default_factory=dict)


def committed_of(described: Mapping[str, TopicDescription], found: Mapping[TP, Any]) -> Committed:
    """What is committed of the topics that are there now, not of earlier ones of their names.

    Args:
        described: the topics.
        found: offset and metadata that the group has committed of each partition.
    """
    ids = {name: topic.topic_id for name, topic in described.items() if topic.error is None}
    notes = {
        tp: committed.metadata
        for tp, committed in found.items()
        if tp.topic in ids and is_committed_of(committed.metadata, ids[tp.topic])
    }
    return Committed(
        ids,
        {tp: found[tp].offset for tp in notes},
        {tp: never for tp, note in notes.items() if (never := never_read_of(note))},
        {tp: life for tp, note in notes.items() if (life := life_of(note))},
        {tp: at for tp, note in notes.items() if (at := written_of(note)) >= 0},
        {tp: epoch for tp, note in notes.items() if (epoch := epoch_of(note)) >= 0},
        {
            TP(name, number): epoch
            for name, topic in described.items()
            for number, epoch in topic.leader_epochs.items()
        },
        {tp: each.offset for tp, each in found.items() if tp.topic in ids and tp not in notes},
    )


async def committed_by_id(consumer: Any, tps: Collection[TP], topics: Collection[str]) -> Committed:
    """What the group of a consumer has committed of topics that are there now, as `committed_of` tells.

    Args:
        consumer: of aiokafka, a member of the group.
        tps: of which partitions.
        topics: whose ids are wanted, those of the partitions among them.

    Raises:
        KafkaError: the brokers do not answer.
    """
    described = await fetch_topics(consumer, topics)
    found = await consumer._coordinator.fetch_committed_offsets(list(tps)) if tps else {}
    return committed_of(described, {TP(*tp): each for tp, each in found.items()})
