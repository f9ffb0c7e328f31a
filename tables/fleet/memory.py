"""The newest state of each worker, in bounded memory, and which of them were heard from. Pure.

Times are arguments: ``steady`` is of a clock that only goes on, and rows have the brokers' time. How old a
row is, is told from the newest row of the topic, so that no clock has to be set: whoever writes now says by
the time of that row what time it is. Before one was seen to be written, the reader's own clock has to do.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Final

from streams.notifications.visible import visible
from tables.fleet.state import LeftOut, LeftOutError, WorkerState, decode_key, decode_state
from tables.fleet.totals import FleetTotals, at_once, merging

#: Seconds after which a worker counts as not heard from, and after which it is forgotten.
SILENT_S: Final = 15.0
FORGET_S: Final = 300.0
#: Workers that are remembered, bytes of their rows together, and processes that wrote under one id.
MOST_WORKERS: Final = 1000
MOST_ROW_BYTES: Final = 4 * 2**20
_MOST_RUNS: Final = 4


@dataclass(frozen=True, slots=True)
class Member:
    """A worker of the fleet.

    Attributes:
        id: of the worker.
        state: what it wrote last.
        written_s: when, by the brokers' time, in seconds since 1970.
        heard: whether that was lately.
    """

    id: str
    state: WorkerState
    written_s: float
    heard: bool


@dataclass(frozen=True, slots=True)
class Fleet:
    """All workers, as known now; the same object for as long as nothing in it is other.

    Attributes:
        members: by pool and id.
        totals: over those that were heard from.
        left_out: rows that were no state of one of our workers, by why.
    """

    members: tuple[Member, ...] = ()
    totals: FleetTotals = field(default_factory=FleetTotals)
    left_out: Mapping[LeftOut, int] = field(default_factory=dict)


@dataclass(slots=True)
class _Row:
    state: WorkerState
    written_s: float
    nbytes: int
    #: How many changes there were when it was taken.
    number: int
    #: Another process wrote under the same id since.
    replaced: bool = False
    #: As it was shown last.
    member: Member | None = None


class FleetMemory:
    """Takes rows of the status topic, in the order in which they lie there.

    Args:
        app: ``TOCSIN_APP_ID``; rows of others are left out.
        most: workers that are remembered.
        most_bytes: of their rows together.
    """

    def __init__(self, app: str, most: int = MOST_WORKERS, most_bytes: int = MOST_ROW_BYTES) -> None:
        self._app = app
        self._most = most
        self._most_bytes = most_bytes
        #: Id -> process -> its row; a process that was killed and the one in its place have the same id. Who
        #: wrote last is the last.
        self._rows: dict[str, dict[str, _Row]] = {}
        self._nbytes = 0
        #: The worker that has this memory: its id, its state, and the number of changes before its first one.
        self._own: tuple[str, WorkerState, int] | None = None
        #: Brokers' time of the newest row, and when it was taken.
        self._newest: tuple[float, float] | None = None
        #: Brokers' time of the newest row of a worker that combines counts: one of the main pool.
        self._newest_combiner_s: float | None = None
        self._live = False
        self.left_out: Counter[LeftOut] = Counter()
        #: Grows with all that is taken.
        self.changes = 0
        self._shown: tuple[object, Fleet] | None = None

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def nbytes(self) -> int:
        """Bytes of all rows that are remembered."""
        return self._nbytes

    def own(self, worker: str, state: WorkerState) -> None:
        """Take the state of the worker that has this memory; it needs no topic for that."""
        self._own = visible(worker), state, self.changes if self._own is None else self._own[2]
        self.changes += 1

    def take(
        self, key: bytes | None, value: bytes | None, written_s: float, steady: float, *, live: bool
    ) -> None:
        """Take a row.

        Args:
            key: of the record.
            value: of the record; None where its worker has ended in order.
            written_s: the record's time, in seconds since 1970.
            steady: now.
            live: whether it was written since the topic was read to its end once.

        Raises:
            LeftOutError: it is no state of one of our workers, and is counted as left out.
        """
        self.changes += 1
        try:
            worker = decode_key(key)
            state = None if value is None else decode_state(value, self._app)
        except LeftOutError as error:
            self.left_out[error.why] += 1
            raise
        self._newest = written_s, steady
        self._live = self._live or live
        if state is None or value is None:
            self._forget(worker)
            return
        if not state.pool:
            self._newest_combiner_s = written_s
        runs = self._rows[worker] = self._rows.pop(worker, {})
        before = runs.pop(state.run, None)
        if before is None:
            for other in runs.values():
                other.replaced = True
        else:
            self._nbytes -= before.nbytes
        runs[state.run] = _Row(state, written_s, len(value), self.changes)
        self._nbytes += len(value)
        while len(runs) > _MOST_RUNS:
            self._nbytes -= runs.pop(next(iter(runs))).nbytes
        self._bound()

    def _bound(self) -> None:
        while len(self._rows) > self._most or (self._nbytes > self._most_bytes and len(self._rows) > 1):
            self._forget(next(iter(self._rows)))
            self.left_out["too-many"] += 1

    def _forget(self, worker: str) -> None:
        for row in self._rows.pop(worker, {}).values():
            self._nbytes -= row.nbytes

    def now_s(self, steady: float, wall_s: float) -> float:
        """The brokers' time, in seconds since 1970.

        Args:
            steady: now.
            wall_s: the same by the reader's own clock.
        """
        if self._newest is None:
            return wall_s
        written_s, at = self._newest
        now = written_s + max(0.0, steady - at)
        return now if self._live else max(now, wall_s)

    def moment(self, steady: float, wall_s: float) -> object:
        """Something that is equal for as long as what `look` returns is the same.

        Args:
            steady: up to when the topic was read to its end.
            wall_s: the same by the reader's own clock.
        """
        now = self.now_s(steady, wall_s)
        ages = [now - row.written_s for runs in self._rows.values() for row in runs.values()]
        return self.changes, sum(age <= SILENT_S for age in ages), sum(age <= FORGET_S for age in ages)

    def look(self, steady: float, wall_s: float) -> Fleet:
        """All workers, with what was read until then.

        Args:
            steady: up to when the topic was read to its end.
            wall_s: the same by the reader's own clock.
        """
        return at_once(self.looking(steady, wall_s))

    def looking(self, steady: float, wall_s: float) -> Generator[None, None, Fleet]:
        """Do as `look`, a step for each worker: rows that are taken meanwhile are in the next look."""
        moment = self.moment(steady, wall_s)
        if self._shown is not None and self._shown[0] == moment:
            return self._shown[1]
        yield
        now, rows = self.now_s(steady, wall_s), self._remembered(steady, wall_s)
        left_out, own = dict(self.left_out), self._own
        yield
        members = []
        for worker, row in rows:
            heard = now - row.written_s <= SILENT_S
            if row.member is None or row.member.heard != heard:
                row.member = Member(worker, row.state, row.written_s, heard)
            members.append(row.member)
            yield
        if own is not None:
            members.append(Member(own[0], own[1], own[1].written_s, heard=True))
        members.sort(key=_order)
        yield
        totals = yield from merging(each.state for each in members if each.heard)
        if self._shown is None or self._shown[0] != moment:
            self._shown = moment, Fleet(tuple(members), totals, left_out)
        return self._shown[1]

    def _remembered(self, steady: float, wall_s: float) -> list[tuple[str, _Row]]:
        """The rows to show; those that are too old are forgotten."""
        now = self.now_s(steady, wall_s)
        old = [
            (worker, run)
            for worker, runs in self._rows.items()
            for run, row in runs.items()
            if now - row.written_s > FORGET_S
        ]
        for worker, run in old:
            runs = self._rows[worker]
            self._nbytes -= runs.pop(run).nbytes
            if not runs:
                del self._rows[worker]
        return [
            (worker, row)
            for worker, runs in self._rows.items()
            for row in runs.values()
            if not row.replaced and not self._is_own(worker, row)
        ]

    def silent_s(self, steady: float, wall_s: float) -> float:
        """Seconds for which no worker was heard from, by what was read until then.

        It is 0 for the worker that has this memory, and infinite where there is no row of any worker.

        Args:
            steady: up to when the topic was read to its end.
            wall_s: the same by the reader's own clock.
        """
        if self._own is not None:
            return 0.0
        if self._newest is None:
            return math.inf
        return max(0.0, self.now_s(steady, wall_s) - self._newest[0])

    def combiners_silent_s(self, steady: float, wall_s: float) -> float:
        """Do as `silent_s` of those that combine counts: the workers of the main pool."""
        if self._own is not None and not self._own[1].pool:
            return 0.0
        if self._newest_combiner_s is None:
            return math.inf
        return max(0.0, self.now_s(steady, wall_s) - self._newest_combiner_s)

    def _is_own(self, worker: str, row: _Row) -> bool:
        """Whether a row is of the worker that has this memory, or of a process in whose place it is."""
        if self._own is None:
            return False
        own, state, since = self._own
        return worker == own and (row.number <= since or row.state.run == state.run)


def _order(member: Member) -> tuple[str, str, str]:
    return member.state.pool, member.id, member.state.run


class NoFleet:
    """Where nothing is read of any worker. Implements ``FleetSource`` of the web views."""

    complete = False
    missing: frozenset[int] = frozenset()
    trouble: str | None = None
    as_of = 0.0
    silent_s = 0.0
    combiners_silent_s = 0.0
    _nobody: Final = Fleet()

    def moment(self) -> object:
        """Always the same."""
        return None

    def looking(self) -> Generator[None, None, Fleet]:
        """Nobody."""
        yield from ()
        return self._nobody
