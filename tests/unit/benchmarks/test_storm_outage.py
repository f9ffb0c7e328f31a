"""What became of the records of a storm, from the alerts that lie in the topic."""

from __future__ import annotations

from tests.benchmarks.storm_outage import Place, judge, targets


def place(offset: int) -> Place:
    return "notifications.critical", 0, offset


GOOD = [("a", place(0)), ("b", place(1)), ("b", place(1)), ("c", place(2))]


def test_an_alert_that_was_sent_again_with_its_id_is_no_fault() -> None:
    assert judge(GOOD, 3) == {"lost": 0, "repeated": 1, "ids_of_two": 0, "with_two_ids": 0}


def test_what_is_lost_and_ids_that_do_not_fit_are_found() -> None:
    assert judge(GOOD, 4)["lost"] == 1
    assert judge([*GOOD, ("c", place(3))], 4)["ids_of_two"] == 1
    assert judge([*GOOD, ("d", place(2))], 3)["with_two_ids"] == 1


def test_each_fault_misses_its_target() -> None:
    run = {"peak_mb": 150.0, **judge(GOOD, 3)}
    assert all(target.met for target in targets({"a storm": run}))
    for what in ("peak_mb", "lost", "ids_of_two", "with_two_ids"):
        assert not all(target.met for target in targets({"a storm": run | {what: 1000}}))
