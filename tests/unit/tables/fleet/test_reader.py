"""For how long the reader says that no worker was heard from."""

from __future__ import annotations

from tables.fleet.reader import FleetReader
from tables.fleet.totals import at_once
from tests.unit.tables.fleet.states import APP, row

#: The time in seconds since 1970, less the steady one.
AHEAD_S = 1_000_000.0


def test_while_brokers_are_away_nobody_becomes_silent() -> None:
    now = 100.0
    reader = FleetReader("status", APP, {}, clock=lambda: now + AHEAD_S, steady=lambda: now)
    reader._ends.partitions, reader._ends.seen = 1, {0: now}
    reader._memory.take(b"a", row(), now + AHEAD_S, now, live=True)
    now = 125.0
    assert reader.silent_s == 0.0, "the topic was last seen to its end when the row was written"
    assert [each.heard for each in at_once(reader.looking()).members] == [True]
    reader._ends.seen[0] = now  # the control: brokers answer, and there is no newer row
    assert reader.silent_s == 25.0
    assert [each.heard for each in at_once(reader.looking()).members] == [False]
