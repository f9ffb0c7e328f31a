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


async def turns_paid(owed: turns.OwedTurns, *, hurried_after: int | None = None) -> int:
    """Turns that were waited for; ``hurried_after`` so many of them something urgent is there."""
    waited = 0

    def hurries(unpaid: float) -> bool:
        return unpaid < 5 and hurried_after is not None and waited >= hurried_after

    paying = asyncio.create_task(owed.pay(hurries))
    await asyncio.sleep(0)  # it runs up to its first turn
    while not paying.done():
        waited += 1
        await asyncio.sleep(0)
    return waited


@pytest.mark.parametrize("service_s", [0.0, 0.0005, 0.002, 0.5])
async def test_after_each_batch_the_turns_are_owed_once(service_s: float) -> None:
    owed = turns.OwedTurns(0.002)
    assert await turns_paid(owed) == 0
    owed.served(service_s)
    assert await turns_paid(owed) == turns.TURNS_BETWEEN
    assert await turns_paid(owed) == 0


async def test_what_is_urgent_does_not_wait_for_the_rest_of_them() -> None:
    owed = turns.OwedTurns(0.002)
    owed.served(0.002)
    assert await turns_paid(owed, hurried_after=4) in (4, 5)


@pytest.mark.parametrize(("service_s", "at_once"), [(0.002, 4), (0.0005, 19)])
async def test_nothing_is_urgent_enough_for_ever(service_s: float, at_once: int) -> None:
    """Else a backlog of CRITICAL would leave its own alerts one turn a batch."""
    owed = turns.OwedTurns(0.002)
    paid = []
    for _ in range(100):
        owed.served(service_s)
        paid.append(await turns_paid(owed, hurried_after=0))
    full = [number for number, each in enumerate(paid) if each == turns.TURNS_BETWEEN]
    assert full[0] == at_once
    assert {after - before for before, after in itertools.pairwise(full)} == {at_once + 1}
