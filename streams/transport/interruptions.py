"""Serving what is most urgent in the middle of a batch of another class.

A batch is some milliseconds of work, in which the event loop reads no socket: what comes meanwhile would wait
for its end. An agent asks here between two pieces of its work, and waits where something has come.

What comes in bulk does not interrupt: it has waited already, and each interruption costs some of the time
that it needs itself. A batch is interrupted once at most.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from streams.notifications.priority import Priority
from streams.records import Record
from streams.scheduling.scheduler import Scheduler
from streams.transport.batch import RecordBatch
from streams.transport.turns import let_others_pass

#: Most records of a batch of the most urgent class that is not of a bulk.
_FEW = 32


class Interruptions:
    """Says when a batch is to be interrupted, and does it.

    Args:
        scheduler: has what came.
        most_urgent: the class that interrupts others.
        has_arrivals: whether something of that class may have come that is not in the scheduler yet.
        serve: awaited to serve a batch of that class, if there is one; returns whether there was.
    """

    def __init__(
        self,
        scheduler: Scheduler[Priority, int, Record],
        most_urgent: Priority,
        has_arrivals: Callable[[], bool],
        serve: Callable[[], Awaitable[bool]],
    ) -> None:
        self._scheduler = scheduler
        self._most_urgent = most_urgent
        self._has_arrivals = has_arrivals
        self._serve = serve
        self._comes_in_bulk = False

    def note(self, batch: RecordBatch) -> None:
        """Note each batch that goes into service."""
        if batch.priority is self._most_urgent:
            self._comes_in_bulk = len(batch.records) > _FEW

    def due(self, batch: RecordBatch) -> Awaitable[None] | None:
        """What the agent of a batch is to await now; None, most often, when it may go on."""
        if self._comes_in_bulk or batch.interrupted or batch.priority is self._most_urgent:
            return None
        # What the age guard has chosen has a budget of its own.
        if batch.dispatch.guarded or not self._scheduler.may_interrupt():
            return None
        return self._interrupt(batch) if self._has_come() or self._has_arrivals() else None

    def _has_come(self) -> bool:
        return self._scheduler.first() is self._most_urgent

    async def _interrupt(self, batch: RecordBatch) -> None:
        """Let what has come on its way to the scheduler, and serve a batch of it."""
        began = time.monotonic()
        # Also where nothing is found: brokers send what is no record, too.
        batch.interrupted = True
        try:
            await let_others_pass(until=self._has_come)
            if await self._serve():
                await let_others_pass()  # so that its alerts are on their way
        finally:
            batch.parked_s += time.monotonic() - began
