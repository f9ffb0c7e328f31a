"""Getting past a record that the Kafka client cannot take apart: nothing before it and behind it is lost."""

from __future__ import annotations

from collections.abc import Collection
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaConnectionError

from streams.records import UnreadableRecord
from streams.transport.step_over import step_over

A, B, C = (TopicPartition("t", number) for number in range(3))


class Client:
    """Stands for a consumer of which some records raise; as aiokafka, it gives one record at a time."""

    def __init__(self, ends: dict[TopicPartition, int], bad: Collection[tuple[TopicPartition, int]]) -> None:
        self.ends = ends
        self.bad = bad
        self.places: dict[TopicPartition, int] = {}
        self.away = False

    def seek(self, tp: TopicPartition, offset: int) -> None:
        self.places[tp] = offset

    async def getmany(self, tp: TopicPartition, *, timeout_ms: int, max_records: int) -> dict[Any, Any]:
        assert timeout_ms > 0
        assert max_records == 1
        if self.away:
            raise KafkaConnectionError("away")
        place = self.places[tp]
        if place >= self.ends[tp]:
            return {}
        self.places[tp] = place + 1
        if (tp, place) in self.bad:
            raise ValueError("hostile")
        return {tp: [SimpleNamespace(offset=place)]}


async def taken(
    client: Client, positions: dict[TopicPartition, int]
) -> list[tuple[TopicPartition, int, str]]:
    """Partition, offset and "good" or "bad" of all that is yielded; each position is the offset after it."""
    found = []
    async for tp, (record,), position in step_over(client, positions):
        assert position == record.offset + 1
        found.append((tp, record.offset, "bad" if isinstance(record, UnreadableRecord) else "good"))
    return found


async def test_up_to_the_first_bad_record_and_not_beyond() -> None:
    client = Client({A: 12, B: 9, C: 5}, {(B, 7), (C, 1)})
    assert await taken(client, {A: 10, B: 6, C: 0}) == [
        (A, 10, "good"),
        (A, 11, "good"),
        (B, 6, "good"),
        (B, 7, "bad"),
    ]
    # The client goes on behind the bad record, and where nothing was taken from the same place as before.
    assert client.places == {A: 12, B: 8, C: 0}


async def test_the_stand_in_says_where_it_was_and_what_was_wrong() -> None:
    client = Client({A: 5}, {(A, 4)})
    async for _, (record,), _ in step_over(client, {A: 4}):
        assert (record.topic, record.partition, record.offset) == ("t", 0, 4)
        assert record.error == "ValueError: hostile"


async def test_brokers_that_are_away_are_no_bad_record() -> None:
    client = Client({A: 5}, ())
    client.away = True
    with pytest.raises(KafkaConnectionError):
        await taken(client, {A: 4})
    assert client.places == {A: 4}
