"""What is durable is committed, also where an earlier commit was not taken."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiokafka import TopicPartition

from streams.archive.writing import DurableThenCommit, Position

TP = TopicPartition("notifications.info", 0)


class Writer:
    def __init__(self) -> None:
        self.lines = b""

    def append(self, lines: bytes | bytearray) -> None:
        self.lines += lines


class Group:
    """Takes the second commit, and keeps what it did not take, as `streams.archive.membership` does."""

    def __init__(self) -> None:
        self.calls = 0
        self.uncommitted: dict[TopicPartition, Any] = {}
        self.committed: dict[TopicPartition, Any] = {}

    async def commit(self, positions: Mapping[TopicPartition, Any]) -> None:
        self.calls += 1
        self.uncommitted |= positions
        if self.calls > 1:
            self.committed |= self.uncommitted
            self.uncommitted.clear()


async def test_the_last_write_commits_what_a_commit_before_it_could_not() -> None:
    writer, group = Writer(), Group()
    out = DurableThenCommit(writer, group.commit, again_s=0.0, on_fault=lambda: None)
    out.take(TP, b"line\n", 1, Position(5, "id", -1))
    assert await out.write()
    assert not group.committed
    # The archiver ends; nothing came meanwhile.
    assert await out.write()
    assert (writer.lines, list(group.committed)) == (b"line\n", [TP])
