"""The backlog hands out what is urgent first, and gives up what is least urgent first."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streams.notifications.priority import Priority
from streams.outgoing import Outgoing
from streams.publishing.backlog import Backlog, priority_of


def message(priority: str, value: bytes = b"") -> Outgoing:
    return Outgoing(f"n.{priority}", value)


def filled(*messages: Outgoing, size: int = 10) -> Backlog:
    backlog = Backlog()
    for each in messages:
        backlog.add(each, size)
    return backlog


def test_priority_is_the_last_part_of_the_topic():
    assert [priority_of(topic) for topic in ("n.critical", "a.b.WARN", "debug", "elsewhere", "")] == [
        Priority.CRITICAL,
        Priority.WARN,
        Priority.DEBUG,
        Priority.INFO,
        Priority.INFO,
    ]


def test_urgent_ones_are_taken_first_each_priority_in_its_order():
    backlog = filled(*(message(name, b"%d" % at) for at in (1, 2) for name in ("debug", "error", "critical")))
    assert [(each.topic, each.value) for each in backlog.take(10, 1000)] == [
        (f"n.{name}", b"%d" % at) for name in ("critical", "error", "debug") for at in (1, 2)
    ]
    assert len(backlog) == 0


def test_a_bound_of_bytes_is_passed_by_one_message_at_most():
    backlog = filled(*[message("info")] * 5)
    assert [len(backlog.take(10, 25)) for _ in range(3)] == [3, 2, 0]
    assert len(filled(message("info"), size=1000).take(10, 1)) == 1


def test_priorities_may_be_left_where_they_are():
    backlog = filled(*(message(name) for name in ("debug", "error", "critical")))
    assert [each.topic for each in backlog.take(10, 1000, {Priority.ERROR})] == ["n.critical", "n.debug"]
    assert [each.topic for each in backlog.take(10, 1000)] == ["n.error"]


def test_the_newest_of_the_least_urgent_gives_way():
    backlog = filled(message("warn"), message("debug", b"1"), message("debug", b"2"))
    assert backlog.make_room("n.error", 5) == [(message("debug", b"2"), 10)]
    assert backlog.make_room("n.error", 15) == [(message("debug", b"1"), 10), (message("warn"), 10)]
    assert len(backlog) == 0


def test_nothing_gives_way_where_that_is_not_enough():
    backlog = filled(message("info"), message("debug"))
    assert backlog.make_room("n.info", 20) == []
    assert backlog.make_room("n.debug", 1) == []
    assert len(backlog) == 2


@given(st.lists(st.tuples(st.sampled_from([each.lower() for each in Priority]), st.integers(1, 50))))
def test_a_full_buffer_never_keeps_less_urgent_bytes_that_would_have_made_room(steps: list[tuple[str, int]]):
    bound, backlog, held = 100, Backlog(), 0
    refused: list[tuple[int, int]] = []
    for name, size in steps:
        topic = f"n.{name}"
        if held + size > bound:
            held -= sum(freed for _, freed in backlog.make_room(topic, held + size - bound))
        if held + size <= bound:
            backlog.add(Outgoing(topic, b"x" * size), size)
            held += size
        else:
            refused.append((Priority.parse(name).rank, size))  # type: ignore[union-attr]
            below = [
                each for each in backlog.take(1000, 10_000) if priority_of(each.topic).rank > refused[-1][0]
            ]
            assert sum(len(each.value or b"") for each in below) < held + size - bound
            return
    left = backlog.take(1000, 10_000)
    assert sum(len(each.value or b"") for each in left) == held <= bound
