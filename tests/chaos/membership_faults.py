"""Faults of the membership itself: two workers with one instance id."""

from __future__ import annotations

import asyncio

from streams.settings import EXIT_CONFIG
from tests.chaos.members import ChaosError, Member, until
from tests.chaos.world import SESSION_S, World

#: Seconds within which one of the two is to end: it has to start, to be told, and to finish what it has.
_END_S = 60.0


async def twins(world: World) -> None:
    """A second process with the same instance id, beside a running worker, and both started at once.

    Exactly one of them remains, and the other says what is wrong. Then the one that remains is killed and
    started again within its session, which nobody may take for a twin.
    """
    first = world.random.choice(world.members)
    await asyncio.sleep(world.random.uniform(0.5, 1.5))
    twin = _twin_of(world, first, "second")
    world.say(f"a twin of {first.name} starts")
    twin.start()
    left = await _one_is_left(world, first, twin)

    other = _twin_of(world, left, "third")
    await left.kill()
    world.say(f"{left.name} and its twin start at once")
    left.start()
    await asyncio.sleep(world.random.uniform(0.0, 0.5))
    other.start()
    left = await _one_is_left(world, left, other)

    world.say(f"{left.name} is killed and starts again")
    await left.kill()
    left.start()
    await world.all_ready()
    await _stays(world, left)


def _twin_of(world: World, member: Member, name: str) -> Member:
    return world.member(name, static=False, instance_id=member.environment["TOCSIN_INSTANCE_ID"])


async def _one_is_left(world: World, one: Member, other: Member) -> Member:
    """Wait until one of both has ended, and the other works; the one that ended is a member no more."""
    took = await until("one of the twins has ended", lambda: not (one.runs and other.runs), _END_S)
    loser, left = (other, one) if one.runs else (one, other)
    if not left.runs:
        raise ChaosError(f"both twins ended:\n{one.tail()}\n{other.tail()}")
    world.members.remove(loser)
    world.notes.append(f"{loser.name} ended after {took:.1f} s with exit code {loser.exit_code}")
    said = loser.text().decode(errors="replace")
    instance = loser.environment["TOCSIN_INSTANCE_ID"]
    sentences = [line for line in said.splitlines() if "TOCSIN_INSTANCE_ID" in line and instance in line]
    if loser.exit_code != EXIT_CONFIG or len(sentences) != 1 or "Traceback" in said:
        world.broken.append(
            f"{loser.name} ended with {loser.exit_code} and said {sentences}:\n{loser.tail()}"
        )
    await world.all_ready()
    await _stays(world, left)
    return left


async def _stays(world: World, left: Member) -> None:
    """Nothing goes on behind the scenes: the group is at rest, and stays so for longer than a session."""
    await until("the group is stable", world.group_is_stable, 30)
    for _ in range(int(SESSION_S) + 2):
        await asyncio.sleep(1)
        if not left.runs:
            raise ChaosError(f"{left.name} ended, too, with {left.exit_code}:\n{left.tail()}")
        if not await world.group_is_stable():
            world.broken.append("the group went on rebalancing")
            return
