"""What a worker says of itself: its classes, partitions in their states, and rates of the last seconds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from faust.types import TP

from streams.notifications import Priority, Reason, Repair
from streams.settings import load_settings
from streams.transport.class_traffic import ClassTraffic
from tables.fleet.state import Partitions, decode_state, encode_state
from tables.views.sources import Check
from tocsin.nothing_yet import NothingYet
from tocsin.own_state import OwnState, Rates
from tocsin.stalls import StallLog


def late(seconds: float) -> StallLog:
    """The stalls of a loop that was so late."""
    log = StallLog()
    log.note_lag(seconds, 1.0)
    return log


class Worker:
    """The parts of a worker that are shown, to be set at will."""

    def __init__(self) -> None:
        self.now = 100.0
        self.check = Check(ok=True)
        self.counted: Counter[Priority] = Counter()
        self.service = 0.0
        self.stats: dict[str, Any] = {}
        self.assigned: set[TP] = set()
        self.working: set[TP] = set()
        self.unassigned: dict[str, list[int]] = {}
        self.profile = None
        self.virtual_time = 0.0
        self.guard = None
        self.state = OwnState(
            load_settings(pool="urgent", mode="strict"),
            lambda: self.check,
            self,
            self,  # type: ignore[arg-type]
            assigned=lambda: self.assigned,
            working=lambda: self.working,
            unassigned=lambda: self.unassigned,
            stalls=late(0.125),
            clock=lambda: self.now + 1_000_000,
            steady=lambda: self.now,
        )

    def __getattr__(self, name: str) -> Any:
        stats = self.__dict__.get("stats", {})
        return stats[name] if name in stats else getattr(NothingYet(), name)

    def snapshot(self) -> Mapping[Priority, ClassTraffic]:
        return {
            Priority.DEBUG: ClassTraffic(1.0, 0.25, 1.0000001, 5, 600, 70, 9.5, 1000, self.service),
        }


def test_a_state_says_what_the_worker_has_and_a_row_holds_it() -> None:
    worker = Worker()
    worker.check = Check(ok=False, reasons=["The worker is stopping."])
    worker.counted[Priority.DEBUG] = 1000
    worker.stats = {
        "forwarded": {Priority.DEBUG: 7},
        "dead_letters": {(Priority.DEBUG, Reason.NOT_JSON): 2, (Priority.DEBUG, Reason.TOO_DEEP): 0},
        "dead_letter_bytes": {(Priority.DEBUG, Reason.NOT_JSON): 4608},
        "repairs": {Repair.DOUBLE_ENCODED: 3},
        "clock_ahead_s": -90.5,
        "rebalances": 4,
    }
    state = worker.state()
    assert decode_state(encode_state(state), "tocsin") == state
    assert (state.pool, state.mode, state.ready, state.reasons) == (
        "urgent",
        "strict",
        False,
        ["The worker is stopping."],
    )
    assert (state.since_s, state.loop_lag_s, state.clock_ahead_s, state.rebalances) == (
        1_000_100.0,
        0.125,
        -90.5,
        4,
    )
    debug = state.classes["DEBUG"]
    assert (debug.counted, debug.forwarded, debug.lag_records, debug.oldest_age_s) == (1000, 7, 70, 9.5)
    assert (debug.buffered_records, debug.buffered_bytes, debug.achieved_share) == (5, 600, 1.0)
    assert [(each.priority, each.reason, each.count, each.bytes) for each in state.dead_letters] == [
        ("DEBUG", "not-json", 2, 4608)
    ]
    assert state.repairs == {"double-encoded": 3}


def test_rates_are_of_the_last_seconds() -> None:
    worker = Worker()
    assert worker.state().classes["DEBUG"].counted_per_s == 0.0
    for _ in range(5):
        worker.now += 2
        worker.counted[Priority.DEBUG] += 100
        worker.service += 0.5
    debug = worker.state().classes["DEBUG"]
    assert (debug.counted_per_s, debug.service_per_s) == (50.0, 0.25)
    worker.now += 10
    assert worker.state().classes["DEBUG"].counted_per_s == 0.0


def test_rates_keep_no_more_than_the_window() -> None:
    rates = Rates(10.0)
    for second in range(1000):
        told = rates.tell(float(second), {Priority.INFO: (second * 7, second, 0.0)})
    assert told[Priority.INFO] == (7.0, 1.0, 0.0)
    assert len(rates._told) <= 12


def test_partitions_are_listed_by_topic_and_state_the_most_urgent_first() -> None:
    worker = Worker()
    critical, debug = "notifications.critical", "notifications.debug"
    worker.assigned = {TP(debug, 0), TP(critical, 3), TP("tocsin-partial-counts-changelog", 0)}
    assert worker.state().partitions == [
        Partitions(critical, "recovering", [3], "CRITICAL"),
        Partitions(debug, "recovering", [0], "DEBUG"),
    ]
    worker.working = {TP(critical, 3), TP(critical, 1), TP("tocsin-partials", 2)}
    worker.unassigned = {debug: [7, 5]}
    assert worker.state().partitions == [
        Partitions(critical, "working", [1, 3], "CRITICAL"),
        Partitions(debug, "gone", [0], "DEBUG"),
        Partitions(debug, "unassigned", [5, 7], "DEBUG"),
        Partitions("tocsin-partials", "working", [2]),
    ]
