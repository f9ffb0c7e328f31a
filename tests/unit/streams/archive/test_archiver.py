"""An archiver whose topic is gone: what is known to be lost with it has a mark, and reading begins again."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from aiokafka import TopicPartition
from aiokafka.errors import KafkaConnectionError

from streams.archive.archiver import Archiver
from streams.archive.files import ArchiveWriter
from streams.archive.lines import archived
from streams.archive.writing import Position
from streams.settings import Settings


class _Lane:
    """A lane of one topic that is behind."""

    def __init__(self, behind: Mapping[int, range]) -> None:
        self.topic_id = "old"
        self.positions = {partition: offsets.start for partition, offsets in behind.items()}
        self._behind = behind
        self.assigned: list[tuple[Any, str]] = []

    async def revoke(self) -> Mapping[int, range]:
        behind, self._behind = self._behind, {}
        return behind

    async def assign(self, offsets: Any, topic_id: str, _: Any) -> None:
        self.assigned.append((offsets, topic_id))


async def test_what_is_lost_with_a_topic_has_a_mark_before_the_new_one_is_read(tmp_path: Path) -> None:
    settings = Settings()
    writer = ArchiveWriter(tmp_path, "a", roll_bytes=10**6, roll_s=60)
    archiver = Archiver(settings, writer, "g")
    gone, same = (settings.notification_topic(each) for each in list(settings.priorities)[:2])
    lanes = {gone: _Lane({0: range(5, 8), 1: range(2, 2)}), same: _Lane({0: range(1, 9)})}
    archiver._lanes = lanes  # type: ignore[assignment]
    archiver._begun, archiver._topic_ids = True, dict.fromkeys(lanes, "old")
    archiver._tps = {TopicPartition(gone, 0), TopicPartition(gone, 1), TopicPartition(same, 0)}
    committed: list[Any] = []

    class Member:
        async def committed(self, _: Any) -> Any:
            ids = {gone: "new", same: "old"}
            offsets = {TopicPartition(same, 0): 1}
            return SimpleNamespace(topic_ids=ids, offsets=offsets, last_epochs={}, of_former={})

        async def commit(self, positions: Any) -> None:
            assert not positions

        def forget(self) -> None:
            committed.append("forgotten")

    archiver._member = Member()  # type: ignore[assignment]
    archiver._out._commit = lambda positions: _noted(committed, positions)
    await archiver.take_up(anew=True)
    assert archiver._begin is not None
    await archiver._begin
    archiver._failure.cancel()
    (path,) = tmp_path.iterdir()
    writer.finish()
    (finished,) = tmp_path.iterdir()
    assert path.name != finished.name
    (line,) = _lines(finished)
    mark = archived(line)
    assert (mark.topic, mark.offset, mark.end_offset, mark.topic_id) == (gone, 5, 8, "old")
    assert mark.unreadable == "deleted with its topic before it was archived"
    assert committed[0][TopicPartition(gone, 0)].topic_id == "old"
    assert committed[1:] == ["forgotten"]
    assert lanes[gone].assigned == [({0: None, 1: None}, "new")]
    assert lanes[same].assigned == [({0: 1}, "old")]
    assert archiver.working_ids() == {gone: "new", same: "old"}


async def test_what_a_commit_could_not_is_committed_when_partitions_are_let_go(tmp_path: Path) -> None:
    settings = Settings()
    archiver = Archiver(settings, ArchiveWriter(tmp_path, "a", roll_bytes=10**6, roll_s=60), "g")
    tp = TopicPartition(settings.notification_topic(next(iter(settings.priorities))), 0)
    sent: list[Any] = []

    class Consumer:
        async def commit(self, offsets: Mapping[Any, Any]) -> None:
            sent.append({place: each.offset for place, each in offsets.items()})
            if len(sent) == 1:
                raise KafkaConnectionError

    archiver._member._consumer = Consumer()  # type: ignore[assignment]
    archiver._out.take(tp, b"line\n", 1, Position(5))
    assert await archiver._out.write()
    # It is durable, and nothing came since.
    await archiver._revoked()
    archiver._failure.cancel()
    assert sent == [{tp: 5}, {tp: 5}]


async def _noted(committed: list[Any], positions: Any) -> None:
    committed.append(positions)
    await asyncio.sleep(0)


def _lines(path: Path) -> list[bytes]:
    with gzip.open(path) as file:
        return file.readlines()
