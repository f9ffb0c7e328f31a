"""The recovery of Faust's tables, which tells where it began and how far it is.

When it is done, nothing is fetched from the changelogs any more.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from faust.tables.recovery import Recovery
from faust.types import TP

from streams.upstream.faust_app import App
from streams.upstream.recovery_progress import TableProgress
from streams.upstream.stores import DamagedStoreError, TablePartition


class ObservedRecovery(Recovery):
    """Faust's recovery, which also keeps where each table partition began.

    Attributes:
        on_begin: called when an assignment has come, before anything is read.
        on_known: called when it is known how much there is to read.
    """

    def __init__(self, app: Any, tables: Any, **options: Any) -> None:
        super().__init__(app, tables, **options)
        self._kept: dict[TP, int | None] = {}
        self._begins: dict[TP, int] = {}
        self.on_begin: Callable[[], None] = lambda: None
        self.on_known: Callable[[], None] = lambda: None

    async def on_rebalance(self, *args: Any, **options: Any) -> None:
        """Note what the local copies hold: what is read begins with the greater of this and the oldest."""
        self._begins = {}
        self.on_begin()
        await self._check_stores()
        await super().on_rebalance(*args, **options)
        self._kept = {tp: self.active_offsets[tp] for tp in self.active_tps}

    async def _check_stores(self) -> None:
        """Set aside what is no copy of its changelog: Faust would go on from its offset, or end there.

        A copy in which damage is met is set aside, too.
        """
        assignor = self.app.assignor
        copies = {
            tp: TablePartition(table, tp.partition)
            for tp in assignor.assigned_actives() | assignor.assigned_standbys()
            if (table := self.tables._changelogs.get(tp.topic)) is not None
        }
        offsets: dict[TP, int] = {}
        for tp, copy in copies.items():
            with _set_aside_when_damaged(copy):
                if (offset := copy.offset()) is not None:
                    offsets[tp] = offset
        if offsets:
            for tp, found in (await self.app.consumer.records_at(offsets)).items():
                with _set_aside_when_damaged(copies[tp]):
                    copies[tp].check(found)

    async def on_recovery_completed(self, generation_id: int = 0) -> None:
        """Let changelogs rest: what comes to them from here on, this worker writes itself.

        Faust leaves that to its own fetching, which passes over them. aiokafka would fetch them all the same.
        """
        await self.app.consumer.rest(self.active_tps - self.standby_tps, generation_id)
        await super().on_recovery_completed(generation_id)

    async def _build_offsets(self, consumer: Any, tps: set[TP], destination: Any, title: str) -> None:
        await super()._build_offsets(consumer, tps, destination, title)
        if title == "active":
            self._begins = {tp: destination[tp] for tp in tps}
            self.on_known()

    def progress(self) -> list[TableProgress]:
        """How far each table partition is; empty before their offsets are known."""
        return [
            TableProgress(
                table=self.tp_to_table[tp].name,
                changelog=tp.topic,
                partition=tp.partition,
                kept=self._kept.get(tp),
                begin=begin,
                at=self.active_offsets.get(tp, begin),
                end=self.active_highwaters.get(tp, begin),
            )
            for tp, begin in sorted(self._begins.items())
        ]


@contextlib.contextmanager
def _set_aside_when_damaged(copy: TablePartition) -> Iterator[None]:
    try:
        yield
    except DamagedStoreError as error:
        copy.quarantine(error)


def install_observed_recovery(app: App) -> ObservedRecovery:
    """Make the app's recovery tell when it begins, and how far it is."""
    tables = app.tables
    recovery = tables._recovery = ObservedRecovery(app, tables, beacon=tables.beacon, loop=tables.loop)
    return recovery
