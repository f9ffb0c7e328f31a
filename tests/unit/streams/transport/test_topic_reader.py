"""The topic reader: every record that lies in the topics is handed out, those that raise by a stand-in."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaConnectionError

from streams.records import ReadingFailedError, UnreadableRecord
from streams.settings import Settings
from streams.transport.topic_reader import TopicReader
from streams.upstream.corrupt_batches import Corrupt
from tocsin.cli.common.reading import tell


def say(sentence: str) -> None:
    raise AssertionError(sentence)


A, B = TopicPartition("a", 0), TopicPartition("b", 0)


class Client:
    """Stands for a consumer; like aiokafka it loses what comes before a bad record."""

    def __init__(self, ends: dict[TopicPartition, int], bad: set[tuple[TopicPartition, int]]) -> None:
        self.tops = ends
        self.bad = bad
        self.places: dict[TopicPartition, int] = {}
        self.away = False

    def assign(self, partitions: list[TopicPartition]) -> None:
        self.places = dict.fromkeys(partitions, 0)

    def assignment(self) -> set[TopicPartition]:
        return set(self.places)

    def pause(self, *_: TopicPartition) -> None: ...

    def resume(self, *_: TopicPartition) -> None: ...

    def paused(self) -> set[TopicPartition]:
        return set()

    def seek(self, tp: TopicPartition, offset: int) -> None:
        self.places[tp] = offset

    async def position(self, tp: TopicPartition) -> int:
        return self.places[tp]

    async def beginning_offsets(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(partitions, 0)

    async def end_offsets(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        return {tp: self.tops[tp] for tp in partitions}

    async def getmany(self, *partitions: TopicPartition, timeout_ms: int, max_records: int) -> dict[Any, Any]:
        if self.away:
            raise KafkaConnectionError("away")
        found: dict[Any, Any] = {}
        for tp in partitions:
            while self.places[tp] < self.tops[tp] and sum(map(len, found.values())) < max_records:
                offset = self.places[tp]
                self.places[tp] += 1
                if (tp, offset) in self.bad:
                    raise ValueError("hostile")
                record = SimpleNamespace(topic=tp.topic, partition=0, offset=offset, timestamp=offset)
                found.setdefault(tp, []).append(record)
        return found


def offsets(records: list[Any], topic: str) -> list[tuple[int, bool]]:
    """Offset of each record of a topic, and whether it could be read."""
    return [(r.offset, not isinstance(r, UnreadableRecord)) for r in records if r.topic == topic]


@pytest.mark.parametrize("bad", [set(), {(A, 0)}, {(A, 2), (A, 3), (B, 4)}, {(B, 1), (A, 4)}])
async def test_side_by_side_to_the_end(bad: set[tuple[TopicPartition, int]]) -> None:
    reader = TopicReader(Settings(), Client({A: 5, B: 6}, bad), say)
    await reader.start_at([A, B], 0)
    found = [record async for batch in reader.to_end() for record in batch]
    assert sorted(offsets(found, "a")) == [(n, (A, n) not in bad) for n in range(5)]
    assert sorted(offsets(found, "b")) == [(n, (B, n) not in bad) for n in range(6)]
    assert not any(reader.is_new(record) for record in found)


@pytest.mark.parametrize("bad", [set(), {(A, 1)}, {(A, 2), (A, 3)}, {(A, 6)}])
async def test_one_partition_from_offset_to_offset(bad: set[tuple[TopicPartition, int]]) -> None:
    reader = TopicReader(Settings(), Client({A: 8, B: 8}, bad | {(B, 0)}), say)
    reader.open([A, B])
    found = [record async for batch in reader.records(A, 1, 7) for record in batch]
    assert offsets(found, "a") == [(n, (A, n) not in bad) for n in range(1, 7)]
    assert len(found) == 6


async def test_brokers_that_refuse_are_told_in_a_sentence() -> None:
    client = Client({A: 5}, set())
    reader = TopicReader(Settings(), client, say)
    await reader.start_at([A], 0)
    client.away = True
    with pytest.raises(ReadingFailedError, match=r"^Reading failed: .*away"):
        await anext(reader.follow())


async def test_stand_ins_are_handed_out_in_their_place_and_once(capsys: pytest.CaptureFixture[str]) -> None:
    client = Client({A: 6}, set())
    reader = TopicReader(Settings(), client, tell)
    reader.open([A])
    # As a consumer tells them: offsets 2 and 3 while it reads on from there, and once more.
    corrupt = Corrupt(2, 4, "its checksum is wrong")
    some = [UnreadableRecord("a", 0, offset, "corrupt", corrupt=True) for offset in (2, 3)]
    getmany = client.getmany

    async def told(*partitions: TopicPartition, **options: Any) -> Any:
        found = await getmany(*partitions, **options)
        if client.places[A] > 3 or not found:
            for _ in range(2):
                reader.left_out(A, corrupt)
                reader.keep(A, some)
        return {tp: [each for each in records if each.offset not in (2, 3)] for tp, records in found.items()}

    client.getmany = told  # type: ignore[method-assign]
    got = [record async for records in reader.records(A, 0, 6) for record in records]
    assert [record.offset for record in got] == [0, 1, 2, 3, 4, 5]
    assert [record.offset for record in got if isinstance(record, UnreadableRecord)] == [2, 3]
    assert reader.corrupt == {(A, 4): 2}
    assert capsys.readouterr().err == (
        "tocsin: WARNING: The offsets 2 to 3 of a, partition 0, cannot be read (its checksum is wrong): look "
        "at the disks of the brokers that hold it.\n"
    )
