"""Faults of clocks: a worker whose clock is set wrong while it runs, and right again."""

from __future__ import annotations

import asyncio

from tests.chaos.members import until
from tests.chaos.world import World

_DAY_S = 86_400
#: Seconds that a clock is wrong: long enough for rows to be deleted, were it gone by.
_WRONG_S = 15.0


async def clock_wrong(world: World) -> None:
    """One clock is 40 days ahead, then another one behind; a worker is killed meanwhile."""
    for wrong_by in (
        40 * _DAY_S,
        -40 * _DAY_S,
        world.random.choice([1, -1]) * world.random.randrange(90, 20_000),
    ):
        member = world.random.choice(world.members)
        said = f"{'ahead of' if wrong_by > 0 else 'behind'} the brokers'".encode()
        world.say(f"clock of {member.name} is wrong by {wrong_by} s")
        file = world.clock_file(member.name)
        await asyncio.to_thread(file.write_text, str(wrong_by), encoding="ascii")
        try:
            await until("the clock is named in the log", lambda: said in member.text(), 30.0)  # noqa: B023
            await asyncio.sleep(world.random.uniform(0.5, 1.0) * _WRONG_S)
            other = world.random.choice([each for each in world.members if each is not member])
            world.say(f"SIGKILL {other.name}")
            await other.kill()
            other.start()
            await world.all_ready()
        finally:
            await asyncio.to_thread(file.unlink)
        await world.caught_up()
