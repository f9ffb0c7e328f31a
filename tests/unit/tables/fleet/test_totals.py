"""Sums over workers whose rows have very many names: what is kept is bounded, and what one step looks at."""

from __future__ import annotations

from collections.abc import Generator
from typing import Final

import pytest

from tables.fleet import totals
from tables.fleet.state import MOST_BYTES, DeadLetters, LeftOutError, WorkerState, decode_state
from tables.fleet.totals import (
    MOST_CLASSES,
    MOST_DEAD_LETTERS,
    MOST_REPAIRS,
    OTHER,
    FleetTotals,
    merged,
    merging,
)
from tests.unit.tables.fleet.states import APP, class_state, row, worker_state

#: Workers, and names of dead letters that each of them has: 100,000 together.
_WORKERS: Final = 200
_NAMES: Final = 500
#: Looks at names in a step, and at each of them in all.
_MOST_IN_STEP: Final = 40_000
_MOST_OF_EACH: Final = 30


class _Name(str):
    """A name that notes how often it is looked at."""

    __slots__ = ()
    looks = 0

    def __hash__(self) -> int:
        _Name.looks += 1
        return super().__hash__()

    def __eq__(self, other: object) -> bool:
        _Name.looks += 1
        return super().__eq__(other)

    def __lt__(self, other: str) -> bool:
        _Name.looks += 1
        return super().__lt__(other)


def _hostile() -> list[WorkerState]:
    """Workers that have no name in common."""
    return [
        worker_state(
            dead_letters=[DeadLetters("ERROR", _Name(f"d{worker}.{each}"), 1, 2) for each in range(_NAMES)],
            repairs={_Name(f"r{worker}.{each}"): 1 for each in range(MOST_REPAIRS)},
            classes={_Name(f"c{worker}.{each}"): class_state() for each in range(MOST_CLASSES)},
        )
        for worker in range(_WORKERS)
    ]


def _looked_at(steps: Generator[None, None, FleetTotals]) -> tuple[list[int], FleetTotals]:
    """Looks at names in each step, and what the steps end in."""
    looks: list[int] = []
    while True:
        _Name.looks = 0
        try:
            next(steps)
        except StopIteration as ended:
            found: FleetTotals = ended.value
            return [*looks, _Name.looks], found
        looks.append(_Name.looks)


def test_no_step_looks_at_all_names_of_a_hundred_thousand_and_none_is_left_out_of_the_sums() -> None:
    known = worker_state(
        dead_letters=[DeadLetters("ERROR", "not-json", 10**6, 10**9)], repairs={"bom": 10**6}
    )
    looks, found = _looked_at(merging([known, *_hostile()]))
    assert max(looks) < _MOST_IN_STEP
    assert sum(looks) < _MOST_OF_EACH * _WORKERS * (_NAMES + MOST_REPAIRS + MOST_CLASSES)
    assert len(found.dead_letters) == len(found.dead_letter_bytes) == MOST_DEAD_LETTERS
    assert found.dead_letters["ERROR", "not-json"] == 10**6
    assert sum(found.dead_letters.values()) == 10**6 + _WORKERS * _NAMES
    assert found.dead_letters[OTHER, OTHER] == _WORKERS * _NAMES - (MOST_DEAD_LETTERS - 2)
    sizes = [size for size in found.dead_letter_bytes.values() if size is not None]
    assert sum(sizes) == 10**9 + 2 * _WORKERS * _NAMES
    assert len(found.repairs) == MOST_REPAIRS
    assert found.repairs["bom"] == 10**6
    assert sum(found.repairs.values()) == 10**6 + _WORKERS * MOST_REPAIRS


def test_control_sums_that_hold_all_names_look_at_them_in_one_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(totals, "_HELD", 1000)
    looks, _ = _looked_at(merging(_hostile()))
    assert max(looks) > 10 * _MOST_IN_STEP


def test_the_classes_that_are_kept_are_the_first_ones_whatever_order_the_workers_come_in() -> None:
    names = [f"c{number:05}" for number in range(50 * MOST_CLASSES)]
    workers = [
        worker_state(classes={name: class_state(counted=1) for name in names[place::50]})
        for place in range(50)
    ]
    workers.append(worker_state(classes={"ERROR": class_state(counted=7)}))
    found = merged(workers)
    assert list(found.classes) == ["ERROR", *names[: MOST_CLASSES - 1]]
    assert {each.workers for each in found.classes.values()} == {1}
    assert merged(workers[::-1]) == found


def test_a_row_of_a_hundred_thousand_names_is_left_out_by_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not one of its names is looked at."""
    letters = b",".join(b'{"priority":"E","reason":"%d","count":1}' % each for each in range(100_000))
    value = row().replace(b'"dead_letters":[]', b'"dead_letters":[%b]' % letters)
    assert len(value) > MOST_BYTES

    def decode(_: bytes) -> WorkerState:
        raise AssertionError("it was read")

    monkeypatch.setattr("tables.fleet.state._decode_envelope", decode)
    with pytest.raises(LeftOutError) as caught:
        decode_state(value, APP)
    assert caught.value.why == "unreadable"
    # The control: a row of its usual size is read.
    with pytest.raises(AssertionError, match="it was read"):
        decode_state(row(), APP)
