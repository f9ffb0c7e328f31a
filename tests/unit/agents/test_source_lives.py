"""Where sources are read from, and in which partition of the table their rows lie."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from faust.types import TP

from agents.source_lives import SourceLives
from streams.notifications import Priority
from tables.rows import VersionedRows

TOPIC = "notifications.error"
NOTHING: Mapping[Any, Any] = MappingProxyType({})


class NoStore:
    def scan(self, _start: bytes, _end: bytes) -> list[tuple[bytes, bytes]]:
        return []


class Table:
    """A table without rows, that notes which of its partitions are read."""

    changelog_topic = "changelog"

    def __init__(self) -> None:
        self.read: list[int] = []

    def rows(self, partition: int) -> VersionedRows:
        self.read.append(partition)
        return VersionedRows(NoStore(), "w")

    def written(self, _partition: int) -> int:
        return -1


class Brokers:
    """Brokers whose logs are as they were."""

    lives = leader_epochs = written = last_epochs = NOTHING

    async def epoch_ends(self, _epochs: Any) -> dict[TP, tuple[int, int]]:
        return {}

    async def ends(self, tps: Any) -> dict[TP, int]:
        return dict.fromkeys(tps, 100)

    async def records_at(self, _places: Any) -> Mapping[TP, Any]:
        return {}

    async def begin_again(self, _offsets: Any) -> None:
        raise AssertionError("nothing is to be read again")

    def forget_committed(self, _tps: Any) -> None:
        """Any offset may be committed."""


async def settled(
    table: Table, committed: dict[TP, int | None], inherited: dict[TP, int], slices: int = 8
) -> dict[TP, int | None] | None:
    lives = SourceLives(table, {TOPIC: Priority.ERROR}, "partials", slices)  # type: ignore[arg-type]
    ids = {TOPIC: "id"}
    return await lives.settle(Brokers(), set(committed), committed, inherited, ids, lambda: True)


async def test_it_goes_on_from_where_another_pool_was_if_that_is_further() -> None:
    one, other, third, unassigned = (TP(TOPIC, number) for number in range(4))
    committed = {one: None, other: 9, third: 3}
    begin = await settled(Table(), committed, {one: 7, other: 7, third: 7, unassigned: 7})
    assert begin == {one: 7, other: 9, third: 7}


async def test_rows_of_more_partitions_than_slices_lie_in_those_of_the_slices() -> None:
    table = Table()
    await settled(table, {TP(TOPIC, number): None for number in range(6)}, {}, slices=4)
    assert sorted(table.read) == [0, 1, 2, 3]
