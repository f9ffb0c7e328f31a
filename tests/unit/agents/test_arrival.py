"""A flush waits a little for the counts that it sent on, so that they are combined at once."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from agents import counting
from agents.again import OutdatedRows
from agents.counting import Counting
from agents.flush_pace import FlushPace
from streams.broker.clock_check import ClockCheck


def counted(processed: dict[int, int]) -> Counting:
    found = Counting.__new__(Counting)
    vars(found)["_combined"] = {
        partition: SimpleNamespace(processed=offset) for partition, offset in processed.items()
    }
    return found


@pytest.mark.parametrize(
    ("sent", "comes_at", "looks"),
    [
        ({}, 99, 0),  # nothing was sent
        ({0: 7, 1: 2}, 99, 0),  # all is here
        ({5: 3}, 99, 0),  # another worker combines it
        ({0: 8}, 3, 3),  # it comes
        ({0: 8, 5: 3}, 3, 3),
        ({0: 8}, 99, counting._MOST_LOOKS),  # it does not come in time
    ],
)
async def test_it_waits_until_they_have_come_back_and_not_for_ever(
    sent: dict[int, int], comes_at: int, looks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = counted({0: 7, 1: 2})
    slept = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == comes_at:
            vars(found)["_combined"][0].processed = 8

    monkeypatch.setattr(asyncio, "sleep", sleep)
    await found._arrival(sent)
    assert slept == [counting._LOOK_S] * looks


async def test_a_flush_that_outlives_its_assignment_leaves_the_next_combiners_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Planning a flush takes note that rows are written: what nobody writes then would be lost."""
    found, planned = counted({}), []

    def flush(now_s: float) -> None:
        planned.append(now_s)

    async def sources(_: int) -> dict[int, int]:
        found._epoch += 1  # its partitions were given away, and others came
        vars(found)["_combined"] = {0: SimpleNamespace(flush=flush, processed=7)}
        return {}

    vars(found).update(
        _epoch=0,
        _finished=False,
        _sources={},
        _lock=asyncio.Lock(),
        _pace=FlushPace(1.0),
        _clock=ClockCheck(),
        _outdated=OutdatedRows(),
        _combined_counts=None,
        flushes=0,
    )
    monkeypatch.setattr(found, "_flush_sources", sources)
    await found.flush(combined_at_once=True)
    assert planned == []
    monkeypatch.setattr(found, "_flush_sources", lambda _: asyncio.sleep(0, {}))
    await found.flush(combined_at_once=True)  # the control
    assert len(planned) == 1
