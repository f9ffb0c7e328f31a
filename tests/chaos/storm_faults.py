"""A storm of alerts: for a while everything is CRITICAL or ERROR, and several times as much as usual."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable

from tests.chaos.faults import READY_S, broker_kill, broker_pause
from tests.chaos.world import SESSION_S, World

#: Notifications a second.
RATE = 3000


async def storm(world: World) -> None:
    """In the middle of it: kill -9 of a worker, one that sleeps, the broker lost, and frozen."""
    world.load.storm_rate = RATE
    before = world.load.acknowledged
    parts: list[Callable[[World], Awaitable[None]]] = [_kill, _sleep, broker_kill, broker_pause]
    world.random.shuffle(parts)
    for part in parts:
        await asyncio.sleep(world.random.uniform(0.5, 1.5))
        await part(world)
        await world.recovered()
    world.load.storm_rate = 0
    world.notes.append(f"{world.load.acknowledged - before:,} in the storm")


async def _kill(world: World) -> None:
    member = world.random.choice(world.members)
    world.say(f"SIGKILL {member.name}")
    await member.kill()
    member.start(fresh=world.random.random() < 0.5)
    await world.all_ready(max(READY_S, world.bound_s))


async def _sleep(world: World) -> None:
    member = world.random.choice(world.members)
    world.say(f"SIGSTOP {member.name}")
    member.send(signal.SIGSTOP)
    await asyncio.sleep(SESSION_S + world.random.uniform(1.0, 3.0))
    member.send(signal.SIGCONT)
    world.say(f"SIGCONT {member.name}")
