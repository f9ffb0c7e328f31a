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
