"""Between two long pieces of work the event loop has turns for everything else."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from streams.transport import turns

#: Turns of the event loop between a socket and a producer.
DOZEN = 12


@pytest.mark.parametrize(("left", "met"), [(None, 1), (1, DOZEN)])
async def test_what_crosses_a_dozen_turns_meets_one_piece_of_a_flush(
    monkeypatch: pytest.MonkeyPatch, left: int | None, met: int
) -> None:
    """CRITICAL on its way from the socket to a producer is such a thing. The control leaves one turn."""
    if left is not None:
        monkeypatch.setattr(turns, "TURNS_BETWEEN", left)
    pieces = 0

    async def flush() -> None:
        nonlocal pieces
        while True:
            pieces += 1
            await turns.let_others_pass()

    flushing = asyncio.create_task(flush())
    for _ in range(DOZEN):
        await asyncio.sleep(0)
    flushing.cancel()
    assert pieces == met


async def turns_given(budget: turns.YieldBudget, *, urgent_after: int | None = None) -> int:
    """Turns that were given; after ``urgent_after`` of them something urgent is there."""
    waited = 0

    def too_urgent(batches: float) -> bool:
        return batches < 5 and urgent_after is not None and waited >= urgent_after

    giving = asyncio.create_task(budget.give(unless=too_urgent))
    await asyncio.sleep(0)  # it runs up to its first turn
    while not giving.done():
        waited += 1
        await asyncio.sleep(0)
    return waited


@pytest.mark.parametrize("service_s", [0.0, 0.0005, 0.002, 0.5])
async def test_after_each_batch_the_turns_are_given_once(service_s: float) -> None:
    budget = turns.YieldBudget(0.002)
    assert await turns_given(budget) == 0
    budget.served(service_s)
    assert await turns_given(budget) == turns.TURNS_BETWEEN
    assert await turns_given(budget) == 0


async def test_what_is_urgent_does_not_wait_for_the_rest_of_them() -> None:
    budget = turns.YieldBudget(0.002)
    budget.served(0.002)
    assert await turns_given(budget, urgent_after=4) in (4, 5)


@pytest.mark.parametrize(("service_s", "at_once"), [(0.002, 4), (0.0005, 19)])
async def test_nothing_is_urgent_enough_for_ever(service_s: float, at_once: int) -> None:
    """Else a backlog of CRITICAL would leave its own alerts one turn a batch."""
    budget = turns.YieldBudget(0.002)
    given = []
    for _ in range(100):
        budget.served(service_s)
        given.append(await turns_given(budget, urgent_after=0))
    full = [number for number, each in enumerate(given) if each == turns.TURNS_BETWEEN]
    assert full[0] == at_once
    assert {after - before for before, after in itertools.pairwise(full)} == {at_once + 1}
