"""Which workers are shown, which of them were heard from, and that the memory is bounded."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest

from tables.fleet.memory import FORGET_S, SILENT_S, Fleet, FleetMemory
from tables.fleet.state import DeadLetters, LeftOutError
from tables.fleet.totals import at_once
from tests.unit.tables.fleet.states import APP, class_state, row, worker_state

#: The brokers' time less the steady one.
AHEAD_S = 1_000_000.0


class Topic:
    """A status topic, written to and read at times of a steady clock."""

    def __init__(self, **bounds: int) -> None:
        self.memory = FleetMemory(APP, **bounds)

    def write(self, worker: str, value: bytes | None, at: float, *, live: bool = True) -> None:
        self.memory.take(worker.encode(), value, at + AHEAD_S, at, live=live)

    def look(self, at: float, wall_s: float | None = None) -> Fleet:
        return self.memory.look(at, at + AHEAD_S if wall_s is None else wall_s)

    def seen(self, at: float, wall_s: float | None = None) -> dict[str, bool]:
        """Worker and process -> whether it was heard from."""
        return {f"{each.id}/{each.state.run}": each.heard for each in self.look(at, wall_s).members}


def test_a_worker_is_heard_from_then_not_then_forgotten() -> None:
    topic = Topic()
    topic.write("a", row(), 100.0)
    topic.write("b", row(), 100.0)
    topic.write("b", row(), 100.0 + SILENT_S)
    assert topic.seen(100.0 + SILENT_S) == {"a/run-1": True, "b/run-1": True}
    assert topic.seen(100.5 + SILENT_S) == {"a/run-1": False, "b/run-1": True}
    assert topic.look(100.5 + SILENT_S).totals.workers == 1
    assert topic.seen(100.0 + FORGET_S) == {"a/run-1": False, "b/run-1": False}
    assert topic.seen(100.5 + FORGET_S) == {"b/run-1": False}
    assert topic.seen(200.0 + FORGET_S) == {}
    assert (len(topic.memory), topic.memory.nbytes) == (0, 0)


def test_a_worker_that_ends_in_order_is_gone_at_once() -> None:
    topic = Topic()
    topic.write("a", row(), 100.0)
    topic.write("a", None, 101.0)
    topic.write("never-seen", None, 101.0)
    assert topic.seen(101.0) == {}
    assert topic.memory.nbytes == 0


def test_a_worker_that_was_killed_and_started_again_is_shown_once() -> None:
    topic = Topic()
    topic.write("a", row("before"), 100.0)
    topic.write("a", row("after"), 101.0)
    assert topic.seen(101.0) == {"a/after": True}
    assert topic.seen(101.0 + SILENT_S + 1) == {"a/after": False}


def test_two_workers_that_write_under_one_id_are_both_shown() -> None:
    topic = Topic()
    for at in (100.0, 102.0, 104.0):
        topic.write("a", row("one"), at)
        topic.write("a", row("two"), at + 1)
    topic.write("a", row("one"), 106.0)
    assert topic.seen(106.0) == {"a/one": True, "a/two": True}


def test_age_is_told_by_the_brokers_time_whatever_the_readers_clock_says() -> None:
    topic = Topic()
    topic.write("a", row(), 100.0)
    assert topic.seen(100.0, wall_s=AHEAD_S + 90_000) == {"a/run-1": True}
    assert topic.seen(100.0, wall_s=0.0) == {"a/run-1": True}
    # Another broker leads, whose clock is a minute behind: what it writes is new, and nothing is forgotten.
    topic.memory.take(b"b", row(), AHEAD_S + 42.0, 102.0, live=True)
    assert topic.seen(102.0) == {"a/run-1": True, "b/run-1": True}


def test_before_anybody_was_seen_to_write_the_readers_clock_has_to_do() -> None:
    """`tocsin web` that starts where all workers were killed an hour ago."""
    topic = Topic()
    topic.write("a", row(), 100.0, live=False)
    assert topic.seen(100.0, wall_s=AHEAD_S + 100.0 + 60) == {"a/run-1": False}
    assert topic.seen(100.0, wall_s=AHEAD_S + 100.0 + 3600) == {}


def test_own_state_is_shown_without_a_topic_and_once_with_one() -> None:
    topic = Topic()
    topic.write("me", row("before"), 99.0, live=False)
    topic.memory.own("me", worker_state("now", ready=False))
    assert topic.seen(100.0) == {"me/now": True}
    topic.write("me", row("now"), 100.0)
    topic.memory.own("me", worker_state("now", ready=True))
    assert topic.seen(100.0) == {"me/now": True}
    assert topic.look(100.0).totals.ready == 1
    # Another process under the id of this one, by mistake, is not hidden.
    topic.write("me", row("other"), 101.0)
    assert topic.seen(101.0) == {"me/now": True, "me/other": True}


def test_rows_that_are_left_out_are_counted_and_change_nothing() -> None:
    topic = Topic()
    topic.write("a", row(), 100.0)
    for value in (b"nonsense", row(app="another"), row().replace(b'"v":1', b'"v":9')):
        with pytest.raises(LeftOutError):
            topic.write("a", value, 101.0)
    with pytest.raises(LeftOutError):
        topic.write("", row(), 101.0)
    fleet = topic.look(101.0)
    assert fleet.left_out == {"unreadable": 2, "foreign": 1, "newer": 1}
    assert [each.state for each in fleet.members] == [worker_state()]


def test_memory_is_bounded_in_workers_bytes_and_processes_of_an_id() -> None:
    topic = Topic(most=3)
    for number in range(10):
        topic.write(f"w{number}", row(), 100.0 + number)
    assert list(topic.seen(110.0)) == ["w7/run-1", "w8/run-1", "w9/run-1"]
    assert topic.look(110.0).left_out == {"too-many": 7}

    size = len(row())
    small = Topic(most_bytes=3 * size)
    for number in range(10):
        small.write(f"w{number}", row(), 100.0 + number)
        assert small.memory.nbytes <= 3 * size
    assert len(small.memory) == 3

    one = Topic()
    for number in range(100):
        one.write("a", row(f"{number:03}"), 100.0)
    assert one.memory.nbytes == 4 * size - 4 * (len("run-1") - 3)


def test_the_same_object_is_shown_until_something_is_other() -> None:
    topic = Topic()
    topic.write("a", row(), 100.0)
    first = topic.look(100.0)
    assert topic.look(101.0) is first
    assert topic.look(100.5 + SILENT_S) is not first
    topic.write("a", row(classes={"DEBUG": class_state(counted=3)}), 101.0)
    assert topic.look(101.0).totals.classes["DEBUG"].counted == 3


def test_sums_over_workers_are_bounded_in_names_and_leave_nothing_out() -> None:
    topic = Topic()
    topic.write("mine", row(dead_letters=[DeadLetters("ERROR", "not-json", 10**6)]), 100.0)
    for number in range(20):
        names = [f"w{number}-{each}" for each in range(500)]
        classes = {name: class_state(counted=1) for name in names[:31]} | {"ERROR": class_state(counted=1)}
        letters = [DeadLetters("ERROR", name, 1) for name in names]
        value = row(dead_letters=letters, repairs=dict.fromkeys(names[:100], 1), classes=classes)
        topic.write(f"w{number}", value, 100.0)
    totals = topic.look(100.0).totals
    assert totals.dead_letters["ERROR", "not-json"] == 10**6
    assert len(totals.dead_letters) == 512
    assert sum(totals.dead_letters.values()) == 10**6 + 20 * 500
    assert len(totals.repairs) == 128
    assert sum(totals.repairs.values()) == 20 * 100
    assert len(totals.classes) == 32
    assert totals.classes["ERROR"].counted == 20
    assert totals.classes["CRITICAL"].workers == 1


def test_a_flood_of_workers_leaves_those_that_go_on_to_write() -> None:
    topic = Topic(most=100)
    for number in range(10_000):
        topic.write(f"w{number}", row(), 100.0 + number / 1000)
        if not number % 50:
            topic.write("mine", row(), 100.0 + number / 1000)
    assert topic.seen(110.0)["mine/run-1"]
    assert len(topic.memory) == 100


def test_for_how_long_no_worker_was_heard_from() -> None:
    topic = Topic()

    def silent_s(at: float) -> float:
        return topic.memory.silent_s(at, at + AHEAD_S)

    assert silent_s(100.0) == math.inf, "there is no row of any"
    topic.write("a", row(), 100.0)
    topic.write("b", row(), 110.0)
    assert silent_s(125.0) == 15.0
    topic.write("a", row(), 126.0)  # the control: one that is heard from is enough
    assert silent_s(127.0) == 1.0
    topic.write("a", None, 130.0)
    topic.write("b", None, 130.0)
    assert silent_s(130.0 + 2 * FORGET_S) == 2 * FORGET_S, "it goes on when all are forgotten"
    topic.memory.own("me", worker_state())
    assert silent_s(1000.0) == 0.0


# ---------------------------------------------------------------- in steps


def many(number: int) -> Topic:
    """A topic with the states of so many workers."""
    topic = Topic()
    for each in range(number):
        topic.write(f"w{each:04}", row(classes={"ERROR": class_state(counted=each)}), 100.0)
    return topic


def test_a_look_has_a_step_for_each_worker_and_does_nothing_of_all_of_them_between_two() -> None:
    """Each worker was 7 µs of one step: 1,000 of them held up the records for 7 ms."""
    few, more = (sum(1 for _ in many(number).memory.looking(100.0, 100.0 + AHEAD_S)) for number in (10, 110))
    # One for its entry in the list, and one for what it adds to the sums.
    assert more - few == 2 * 100


def test_what_is_taken_during_a_look_is_in_the_next_one() -> None:
    topic = many(20)
    memory = topic.memory
    before = topic.look(100.0)
    topic.write("w0000", row("other"), 101.0)
    expected = topic.look(101.0)
    topic.write("w0001", row(classes={"ERROR": class_state(counted=7)}), 101.0)
    steps = memory.looking(101.0, 101.0 + AHEAD_S)
    for _ in range(5):
        next(steps)
    topic.write("w0002", None, 101.0)
    topic.write("w0003", row(classes={"ERROR": class_state(counted=1000)}), 101.0)
    topic.write("new", row(), 101.0)
    during = at_once(steps)
    assert [each.id for each in during.members] == [f"w{each:04}" for each in range(20)]
    assert during.totals.classes["ERROR"].counted == expected.totals.classes["ERROR"].counted + 6
    after = topic.look(101.0)
    assert after is not during
    assert [each.id for each in after.members] == [
        "new",
        *(f"w{each:04}" for each in range(20) if each != 2),
    ]
    assert after.totals.workers == 20
    assert before.totals.workers == 20
    assert memory.nbytes == sum(each.nbytes for runs in memory._rows.values() for each in runs.values())


def test_two_looks_at_a_time_end_in_the_same() -> None:
    memory = many(5).memory
    one, other = (memory.looking(100.0, 100.0 + AHEAD_S) for _ in range(2))
    next(one)
    next(other)
    assert at_once(one) is at_once(other)


def test_a_moment_is_another_one_when_a_worker_falls_silent_and_is_forgotten() -> None:
    topic = many(3)
    topic.write("last", row(), 101.0)
    moments = [
        topic.memory.moment(at, at + AHEAD_S)
        for at in (101.0, 115.0, 115.5, 116.5, 200.0, 400.5, 401.5, 500.0)
    ]
    assert [a == b for a, b in pairwise(moments)] == [True, False, False, True, False, False, True]
