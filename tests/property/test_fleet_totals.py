"""Sums over all workers: the order of the workers and how they are divided change nothing; shares are shares.

Each broken variant is one that somebody could write, and that a check rejects.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tables.fleet.state import ClassState, DeadLetters, WorkerState
from tables.fleet.totals import FleetTotals, merged
from tests.unit.tables.fleet.states import worker_state

Merge = Callable[[Sequence[WorkerState]], FleetTotals]

_COUNTS = st.integers(0, 2**40)
_AMOUNTS = st.floats(0, 1e9, allow_subnormal=False)
_SHARES = st.floats(0, 1)
_CLASSES = st.builds(
    ClassState,
    weight=_AMOUNTS,
    configured_share=_SHARES,
    achieved_share=_SHARES,
    lag_records=_COUNTS,
    oldest_age_s=_AMOUNTS,
    buffered_records=_COUNTS,
    buffered_bytes=_COUNTS,
    counted=_COUNTS,
    forwarded=_COUNTS,
    counted_per_s=_AMOUNTS,
    forwarded_per_s=_AMOUNTS,
    service_per_s=st.one_of(st.just(0.0), st.floats(1e-6, 1)),
)
_STATES = st.builds(
    lambda classes, dead, repairs, ready: worker_state(
        classes=classes, dead_letters=dead, repairs=repairs, ready=ready
    ),
    classes=st.dictionaries(st.sampled_from(["CRITICAL", "ERROR", "DEBUG", "NEWER"]), _CLASSES, max_size=4),
    dead=st.lists(
        st.builds(
            DeadLetters,
            priority=st.sampled_from(["ERROR", "DEBUG"]),
            reason=st.sampled_from(["not-json", "too-large"]),
            count=_COUNTS,
            bytes=st.one_of(st.none(), _COUNTS),
        ),
        max_size=3,
    ),
    repairs=st.dictionaries(st.sampled_from(["a", "b"]), _COUNTS, max_size=2),
    ready=st.booleans(),
)
_FLEETS = st.lists(_STATES, max_size=6)

_SUMMED = ("lag_records", "buffered_records", "buffered_bytes", "counted", "forwarded")
_ADDED = ("counted_per_s", "forwarded_per_s", "service_per_s")


def check(merge: Merge, states: Sequence[WorkerState], cut: int) -> None:
    """What holds of the sums of any workers, wherever the list of them is cut in two."""
    whole = merge(states)
    assert whole == merge(states[cut:] + states[:cut]), "the order of the workers must not matter"
    assert whole.workers == len(states)
    assert whole.ready == sum(state.ready for state in states)
    one, other = merge(states[:cut]), merge(states[cut:])
    for name, totals in whole.classes.items():
        parts = [each.classes[name] for each in (one, other) if name in each.classes]
        for field in _SUMMED:
            assert getattr(totals, field) == sum(getattr(part, field) for part in parts), field
        for field in _ADDED:
            assert getattr(totals, field) == pytest.approx(sum(getattr(part, field) for part in parts)), field
        assert totals.oldest_age_s == max(part.oldest_age_s for part in parts)
        assert totals.oldest_age_s in [
            state.classes[name].oldest_age_s for state in states if name in state.classes
        ]
        assert 0 <= totals.configured_share <= 1
        assert 0 <= totals.achieved_share <= 1
    for sums in ("dead_letters", "repairs"):
        both = [getattr(each, sums) for each in (one, other)]
        wanted = {key: sum(each.get(key, 0) for each in both) for key in {*both[0], *both[1]}}
        assert getattr(whole, sums) == wanted, sums
    for key, size in whole.dead_letter_bytes.items():
        letters = [each for state in states for each in state.dead_letters]
        sizes = [each.bytes for each in letters if (each.priority, each.reason) == key]
        assert size == (None if None in sizes else sum(filter(None, sizes))), key
    assert whole.dead_letter_bytes.keys() == whole.dead_letters.keys()
    served = math.fsum(totals.service_per_s for totals in whole.classes.values())
    shares = math.fsum(totals.achieved_share for totals in whole.classes.values())
    assert shares == pytest.approx(1.0 if served else 0.0)
    for totals in whole.classes.values():
        # Who serves twice as much on one worker alone has twice the share of the fleet.
        assert totals.achieved_share * served == pytest.approx(totals.service_per_s)


@given(states=_FLEETS, data=st.data())
def test_sums_over_all_workers(states: list[WorkerState], data: st.DataObject) -> None:
    check(merged, states, data.draw(st.integers(0, len(states))))


@given(state=_STATES)
def test_a_fleet_of_one_is_its_worker(state: WorkerState) -> None:
    totals = merged([state])
    assert totals.classes.keys() == state.classes.keys()
    for name, each in state.classes.items():
        mine = totals.classes[name]
        assert mine.configured_share == pytest.approx(each.configured_share)
        for field in (*_SUMMED, *_ADDED, "oldest_age_s"):
            assert getattr(mine, field) == getattr(each, field)


def _mean_of_shares(states: Sequence[WorkerState]) -> FleetTotals:
    """Broken: takes a share of a worker that does little for as much as that of a busy one."""
    totals = merged(states)
    return replace(
        totals,
        classes={
            name: replace(
                each,
                achieved_share=sum(
                    state.classes[name].achieved_share for state in states if name in state.classes
                )
                / each.workers,
            )
            for name, each in totals.classes.items()
        },
    )


def _last_age(states: Sequence[WorkerState]) -> FleetTotals:
    """Broken: shows the age of the last worker."""
    totals = merged(states)
    ages = {name: each.oldest_age_s for state in states for name, each in state.classes.items()}
    return replace(
        totals,
        classes={name: replace(each, oldest_age_s=ages[name]) for name, each in totals.classes.items()},
    )


def _one_reason(states: Sequence[WorkerState]) -> FleetTotals:
    """Broken: of two entries of one reason the last one holds."""
    dead = {(each.priority, each.reason): each.count for state in states for each in state.dead_letters}
    return replace(merged(states), dead_letters=dead)


def _unknown_is_none_at_all(states: Sequence[WorkerState]) -> FleetTotals:
    """Broken: bytes that a worker does not tell are left out of the sum, as if it had none."""
    totals = merged(states)
    return replace(
        totals, dead_letter_bytes={key: size or 0 for key, size in totals.dead_letter_bytes.items()}
    )


def _two_workers() -> list[WorkerState]:
    base = merged([])
    assert base == FleetTotals()
    made = []
    for busy, age in ((0.9, 5.0), (0.1, 50.0)):
        classes = {
            name: ClassState(1, 0.5, 0.5, 3, age, 1, 10, 100, 10, 5.0, 1.0, busy * part)
            for name, part in (
                ("CRITICAL", 0.75 if busy > 0.5 else 0.25),
                ("DEBUG", 0.25 if busy > 0.5 else 0.75),
            )
        }
        made.append(worker_state(classes=classes, dead_letters=[DeadLetters("DEBUG", "not-json", 2)]))
    return made


@pytest.mark.parametrize("broken", [_mean_of_shares, _last_age, _one_reason, _unknown_is_none_at_all])
def test_broken_sums_are_found(broken: Merge) -> None:
    check(merged, _two_workers(), 1)
    with pytest.raises(AssertionError):
        check(broken, _two_workers(), 1)
