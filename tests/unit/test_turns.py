"""Between two long pieces of work the event loop has turns for everything else."""

from __future__ import annotations

import asyncio

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

    def hurries() -> bool:
        return hurried_after is not None and waited >= hurried_after

    paying = asyncio.create_task(owed.pay(hurries))
    await asyncio.sleep(0)  # it runs up to its first turn
    while not paying.done():
        waited += 1
        await asyncio.sleep(0)
    return waited


@pytest.mark.parametrize(
    ("service_s", "most"),
    [(0.002, turns.TURNS_BETWEEN), (0.5, turns.TURNS_BETWEEN), (0.0005, turns.TURNS_BETWEEN // 4), (0.0, 0)],
)
async def test_turns_are_owed_in_proportion_to_the_service(service_s: float, most: int) -> None:
    owed = turns.OwedTurns(0.002)
    owed.served(service_s)
    assert await turns_paid(owed) == most
    assert await turns_paid(owed) == 0


async def test_short_services_add_up() -> None:
    owed = turns.OwedTurns(0.002)
    for _ in range(100):
        owed.served(0.0001)
    assert await turns_paid(owed) == pytest.approx(5 * turns.TURNS_BETWEEN, abs=1)


async def test_what_something_urgent_cuts_short_stays_owed() -> None:
    owed = turns.OwedTurns(0.002)
    owed.served(0.002)
    first = await turns_paid(owed, hurried_after=4)
    assert 4 <= first < turns.TURNS_BETWEEN
    assert first + await turns_paid(owed) == turns.TURNS_BETWEEN


async def test_nothing_is_urgent_enough_for_ever() -> None:
    """Else a backlog of CRITICAL would leave its own alerts one turn a batch."""
    owed = turns.OwedTurns(0.002)
    paid = 0
    for _ in range(100):
        owed.served(0.002)
        paid += await turns_paid(owed, hurried_after=0)
    assert paid > (100 - 6) * turns.TURNS_BETWEEN
