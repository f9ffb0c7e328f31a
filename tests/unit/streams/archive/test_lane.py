"""A lane of an archive hands over every offset of a log: as a record, or as one that is missing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaConnectionError

from streams.archive import lane as module
from streams.archive.lane import ArchiveLane, Missing, Taken

_TP = TopicPartition("t", 0)

Step = Callable[["_Lane"], list[int]]


class _Lane(ArchiveLane):
    """A lane whose client is the test's: each step does something, and gives offsets of records."""

    def __init__(self, *steps: Step) -> None:
        self.taken: list[Taken] = []
        self.failed: list[BaseException] = []
        super().__init__("t", {}, self._taken, on_failed=self.failed.append)
        self._steps = list(steps)
        self.on_reset: Any = None
        self.on_diverged: Any = None
        self.client_epochs: Mapping[int, int] = {}
        self.seeks = 0
        self.end: asyncio.Event = asyncio.Event()
        self.passed: tuple[int, int] | None = None
        self.others: list[int] = []

    async def _taken(self, taken: Taken) -> None:
        self.taken.append(taken)

    async def _connect(  # type: ignore[override]
        self, offsets: Any, topic_id: Any, on_reset: Any = None, *, epochs: Any, on_diverged: Any
    ) -> Any:
        self.on_reset, self.on_diverged, self.client_epochs = on_reset, on_diverged, epochs
        return self

    async def getmany(self, **_: Any) -> dict[TopicPartition, list[Any]]:
        if not self._steps:
            self.end.set()
            await asyncio.Event().wait()
        offsets = self._steps.pop(0)(self)
        fetched = {_TP: offsets, TopicPartition("t", 1): self.others}
        return {tp: [SimpleNamespace(offset=at) for at in some] for tp, some in fetched.items() if some}

    async def seek_to_beginning(self, tp: TopicPartition) -> None:
        assert tp == _TP
        self.seeks += 1

    async def position(self, tp: TopicPartition) -> int:
        assert tp == _TP
        return 0

    async def read(self, start: int | None, epochs: Mapping[int, int] = {}) -> list[Any]:
        """What it hands over: offsets, or those that are missing."""
        await self.assign({0: start, 1: 8}, "id", epochs)
        await self.end.wait()
        await self.revoke()
        assert self.failed == []
        return [
            each.records.offsets if isinstance(each.records, Missing) else [r.offset for r in each.records]
            for each in self.taken
        ]


@pytest.fixture(autouse=True)
def _no_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "tell_epochs", lambda *_: None)
    monkeypatch.setattr(module, "passed_over", lambda consumer, tp: consumer.passed if tp == _TP else None)


def _reset(before: int, offset: int, *records: int) -> Step:
    def step(lane: _Lane) -> list[int]:
        lane.on_reset(0, before, offset)
        return list(records)

    return step


async def test_what_was_deleted_comes_before_what_lies_behind_it() -> None:
    lane = _Lane(lambda _: [3, 4], _reset(5, 9, 9, 10), _reset(11, 20), lambda _: [20])
    assert await lane.read(3) == [[3, 4], range(5, 9), [9, 10], range(11, 20), [20]]
    assert [each.position for each in lane.taken] == [5, 9, 11, 20, 21]


async def test_what_is_deleted_before_a_log_is_first_read_is_not_missing() -> None:
    assert await _Lane(_reset(6, 9, 9)).read(None) == [range(6, 9), [9]]
    assert await _Lane(lambda _: [9]).read(None) == [[9]]


async def test_a_log_that_ends_before_is_read_from_where_it_begins(caplog: pytest.LogCaptureFixture) -> None:
    lane = _Lane(lambda _: [5, 6], _reset(7, 2, 2, 3))
    assert await lane.read(5) == [[5, 6], [2, 3]]
    assert "has lost its end" in caplog.text


async def test_what_came_of_a_log_before_it_was_another_is_left_out() -> None:
    def diverged(lane: _Lane) -> list[int]:
        assert lane.client_epochs == {0: 4}
        lane.on_diverged(0, 7)
        return [7, 8]

    def again(lane: _Lane) -> list[int]:
        assert lane.client_epochs == {}
        return [0, 1]

    lane = _Lane(lambda _: [5, 6], diverged, again)
    assert await lane.read(5, {0: 4}) == [[5, 6], [0, 1]]
    assert (lane.seeks, [each.leader_epoch for each in lane.taken]) == (1, [4, -1])


async def test_a_log_that_is_another_is_noticed_though_the_broker_goes_meanwhile() -> None:
    def away(lane: _Lane) -> list[int]:
        lane.on_diverged(0, 5)
        seek = lane.seek_to_beginning

        async def failing(_: TopicPartition) -> None:
            lane.seek_to_beginning = seek  # type: ignore[method-assign]
            raise KafkaConnectionError

        lane.seek_to_beginning = failing  # type: ignore[method-assign]
        lane.others = [8]
        return [5]

    def back(lane: _Lane) -> list[int]:
        lane.others = []
        return [6]

    lane = _Lane(away, back, lambda _: [0, 1, 2])
    # What comes of other partitions meanwhile is not lost.
    assert (await lane.read(5, {0: 4}), lane.seeks) == ([[8], [0, 1, 2]], 1)


async def test_a_position_has_the_epoch_of_the_record_before_it() -> None:
    def two_epochs(lane: _Lane) -> list[int]:
        lane._epoch_met(0, 7, 5)
        return [3, 4]

    def rest(lane: _Lane) -> list[int]:
        assert lane.client_epochs == {0: 7}
        return [5]

    lane = _Lane(lambda _: [2], two_epochs, rest)
    assert await lane.read(2, {0: 6}) == [[2], [3, 4], [5]]
    assert [each.leader_epoch for each in lane.taken] == [6, 6, 7]


async def test_markers_of_transactions_are_passed() -> None:
    def marker(lane: _Lane) -> list[int]:
        lane.passed = 5, 6
        return []

    lane = _Lane(lambda _: [4], marker, lambda _: [], lambda _: [6])
    assert await lane.read(4) == [[4], [], [6]]
    assert [each.position for each in lane.taken] == [5, 6, 7]
