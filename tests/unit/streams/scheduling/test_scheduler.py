"""The scheduler: single rules. Its invariants are in tests/property."""

from __future__ import annotations

import math

import pytest

from streams.scheduling.minute_shares import MinuteShares
from streams.scheduling.modes import Mode
from streams.scheduling.scheduler import ClassSpec, Scheduler

SPECS = [ClassSpec("critical", 16, 0, 10_000), ClassSpec("debug", 1, 1, 10_000)]


def make(partitions=4, **options):
    scheduler = Scheduler(SPECS, **options)
    for spec in SPECS:
        scheduler.assign(spec.name, range(partitions))
    return scheduler


def test_empty_scheduler_gives_nothing():
    assert make().next() is None


def test_dispatch_says_where_its_records_come_from():
    scheduler = make()
    assert scheduler.add("debug", 3, ["x", "y"], 20)
    dispatch = scheduler.next()
    assert (dispatch.priority_class, dispatch.partition, dispatch.records, dispatch.nbytes) == (
        "debug",
        3,
        ["x"],
        10,
    )


def test_no_more_than_max_in_flight():
    scheduler = make(max_in_flight=2)
    for partition in range(4):
        scheduler.add("debug", partition, [1], 1)
    first, second = scheduler.next(), scheduler.next()
    assert scheduler.next() is None
    scheduler.done(first, 0.1)
    assert scheduler.next() is not None
    assert second.token is not None


def test_one_batch_of_a_partition_in_service():
    scheduler = make(max_in_flight=3)
    scheduler.add("debug", 0, [1, 2], 2)
    first = scheduler.next()
    assert scheduler.next() is None
    assert len(scheduler) == 1
    scheduler.add("debug", 1, [1], 1)
    assert scheduler.next().partition == 1
    scheduler.done(first, 0.001)
    assert scheduler.next().records == [2]


def test_a_parked_batch_has_no_slot_and_holds_back_its_class_alone():
    scheduler = make()
    scheduler.add("critical", 0, [1, 2], 2)
    scheduler.add("critical", 1, [1], 1)
    scheduler.add("debug", 0, [1, 2, 3], 3)
    waiting = scheduler.next()
    assert scheduler.next() is None
    scheduler.park(waiting)
    scheduler.park(waiting)
    # Also where records come meanwhile.
    scheduler.add("critical", 2, [1], 1)
    assert scheduler.in_flight == 0
    for _ in range(2):
        other = scheduler.next()
        assert other.priority_class == "debug"
        assert scheduler.next() is None
        scheduler.done(other, 0.1)
    other = scheduler.next()
    scheduler.resume(waiting)
    # Both are in service now, and none besides them.
    assert (scheduler.in_flight, scheduler.next()) == (2, None)
    scheduler.done(other, 0.1)
    assert scheduler.next() is None
    scheduler.done(waiting, 0.1)
    assert scheduler.next().priority_class == "critical"
    assert scheduler.in_flight == 1


def test_a_parked_batch_may_be_done_at_once_as_when_its_partition_is_revoked():
    scheduler = make()
    scheduler.add("critical", 0, [1, 2], 2)
    dispatch = scheduler.next()
    scheduler.park(dispatch)
    scheduler.revoke("critical", [0])
    scheduler.done(dispatch, 0.0)
    scheduler.resume(dispatch)
    scheduler.park(dispatch)
    assert scheduler.in_flight == 0
    scheduler.assign("critical", [0])
    scheduler.add("critical", 0, [3], 1)
    assert scheduler.next().records == [3]


def test_same_partition_number_of_two_classes_is_not_the_same_partition():
    scheduler = make(max_in_flight=2)
    scheduler.add("debug", 0, [1], 1)
    scheduler.add("critical", 0, [1], 1)
    assert [scheduler.next().priority_class, scheduler.next().priority_class] == ["critical", "debug"]


def test_done_of_a_revoked_partition_frees_the_slot_and_charges():
    scheduler = make()
    scheduler.add("debug", 0, [1, 2], 2)
    dispatch = scheduler.next()
    scheduler.revoke("debug", [0])
    assert scheduler.next() is None
    scheduler.done(dispatch, 0.5)
    snapshot = scheduler.snapshot()["debug"]
    assert (snapshot.service_seconds, scheduler.in_flight, snapshot.buffered_records) == (0.5, 0, 0)
    scheduler.add("debug", 1, [3], 1)
    assert scheduler.next().records == [3]


def test_second_done_and_bad_times_are_refused():
    scheduler = make()
    scheduler.add("debug", 0, [1], 1)
    dispatch = scheduler.next()
    for wrong in (-0.001, math.nan):
        with pytest.raises(ValueError, match="service time"):
            scheduler.done(dispatch, wrong)
    scheduler.done(dispatch, 0)
    with pytest.raises(ValueError, match="done already"):
        scheduler.done(dispatch, 0)
    assert scheduler.in_flight == 0


def test_late_chunk_after_revoke_is_dropped():
    scheduler = make()
    scheduler.revoke("debug", [0])
    assert not scheduler.add("debug", 0, [1], 1)
    assert scheduler.next() is None


def test_batches_are_cut_in_bytes():
    scheduler = make(max_batch_bytes=300)
    scheduler.add("debug", 0, range(100), 10_000)
    sizes = []
    while dispatch := scheduler.next():
        sizes.append(len(dispatch.records))
        scheduler.done(dispatch, 1e-6)
    assert max(sizes) == 3
    assert sum(sizes) == 100


def test_snapshot_adds_up():
    scheduler = make()
    scheduler.add("debug", 0, range(1000), 5000)
    scheduler.add("critical", 0, range(1000), 5000)
    for _ in range(20):
        dispatch = scheduler.next()
        scheduler.done(dispatch, 0.001 * len(dispatch.records))
    assert scheduler.next() is not None
    snapshot = scheduler.snapshot()
    assert sum(one.dispatched_records + one.buffered_records for one in snapshot.values()) == 2000
    assert sum(one.achieved_share for one in snapshot.values()) == pytest.approx(1)
    assert sum(one.configured_share for one in snapshot.values()) == pytest.approx(1)
    assert scheduler.in_flight == 1
    assert snapshot["critical"].configured_share == pytest.approx(16 / 17)


def test_revoke_of_all_that_waits_leaves_the_class_idle():
    scheduler = make()
    scheduler.add("debug", 0, [1], 1)
    scheduler.add("critical", 1, [1], 1)
    scheduler.revoke("debug", [0])
    dispatch = scheduler.next()
    assert dispatch.priority_class == "critical"
    scheduler.done(dispatch, 0.001)
    assert scheduler.next() is None
    assert len(scheduler) == 0


def test_revoke_of_one_partition_leaves_the_others_waiting():
    scheduler = make()
    for partition in range(3):
        scheduler.add("debug", partition, [partition], 1)
    scheduler.revoke("debug", [0])
    first = scheduler.next()
    assert first.partition == 1
    scheduler.done(first, 0.001)
    assert scheduler.next().partition == 2


def test_change_of_mode_takes_effect_at_once_and_carries_no_debt_over():
    scheduler = make(mode=Mode.STRICT, max_batch_records=1)
    for partition in range(2):
        scheduler.add("critical", partition, range(10**6), 100)
        scheduler.add("debug", partition, range(10**6), 100)

    def serve(count):
        served = []
        for _ in range(count):
            dispatch = scheduler.next()
            served.append(dispatch.priority_class)
            scheduler.done(dispatch, 0.01)
        return served

    assert set(serve(500)) == {"critical"}
    scheduler.set_mode("weighted")
    assert scheduler.mode is Mode.WEIGHTED
    assert serve(170).count("critical") == pytest.approx(160, abs=2)
    scheduler.set_mode("strict-with-floor")
    assert set(serve(90)) == {"critical"}
    with pytest.raises(ValueError, match="no mode"):
        scheduler.set_mode("fifo")
    assert scheduler.mode is Mode.STRICT_WITH_FLOOR


def test_mode_can_change_while_a_batch_is_in_service():
    scheduler = make()
    scheduler.add("debug", 0, range(10), 100)
    dispatch = scheduler.next()
    scheduler.set_mode("strict-with-floor")
    scheduler.done(dispatch, 0.01)
    assert scheduler.next() is not None


def test_wrong_construction_is_refused():
    with pytest.raises(ValueError, match="different names"):
        Scheduler([SPECS[0], SPECS[0]])
    with pytest.raises(ValueError, match="max_in_flight"):
        Scheduler(SPECS, max_in_flight=0)
    with pytest.raises(ValueError, match="no mode"):
        Scheduler(SPECS, mode="fifo")


def test_the_age_guard_serves_a_head_past_its_limit_from_a_budget_of_its_own():
    now = [0.0]
    scheduler = make(mode="strict", age_limits={"debug": 5.0}, guard_share=0.1, clock=lambda: now[0])
    for priority_class in ("critical", "debug"):
        scheduler.assign(priority_class, [0])
        scheduler.add(priority_class, 0, range(100), 100)
    served = []
    for _ in range(8):
        dispatch = scheduler.next()
        served.append((dispatch.priority_class, dispatch.guarded))
        now[0] += 2.0
        scheduler.done(dispatch, 0.001)
    assert served[:3] == [("critical", False)] * 3
    # Past its limit at 5 s; then in turn with the order, while the budget lasts.
    assert served[3:6] == [("debug", True), ("critical", False), ("debug", True)]
    assert scheduler.guard.dispatches == 3
    assert scheduler.snapshot()["debug"].virtual_time == 0.0, "nothing was charged to the class"


def test_the_shares_of_the_last_minute_forget_what_is_older():
    shares = MinuteShares()
    assert shares.shares(0.0) == {}
    shares.add(0.0, "debug", 3.0)
    shares.add(30.0, "critical", 1.0)
    assert shares.shares(31.0) == {"debug": 0.75, "critical": 0.25}
    assert shares.shares(61.0) == {"critical": 1.0}
    assert shares.shares(200.0) == {}
    for second in range(1000):
        shares.add(200.0 + second, "info", 0.1)
    assert len(shares._slots) == 61
