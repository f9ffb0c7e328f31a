"""What is done to the cluster: the faults of workers and of one broker. Each is one line of the suite.

A fault is a coroutine of a ``World``, whose ``random`` decides who is hit, when, and for how long.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterable

from streams.notifications import Priority
from tests.chaos.history import Line, read
from tests.chaos.members import ChaosError, Member
from tests.chaos.world import SESSION_S, World

#: Seconds within which a restarted worker is to be ready.
READY_S = 10.0
_FLUSH_PLACES = (
    "before-rows",
    "after-rows",
    "before-partials",
    "after-partials",
    "before-combined",
    "after-combined",
    "after-public",
    "before-commit",
    "after-commit",
)


async def _on(world: World, function: object, *arguments: object) -> None:
    """A blocking call of the local Kafka."""
    await asyncio.to_thread(function, *arguments)  # type: ignore[arg-type]


async def kill_nine(world: World) -> None:
    """kill -9 of a worker at any time, again and again; one stays away longer than its session."""
    rounds = 4
    for turn in range(rounds):
        member = world.random.choice(world.members)
        await asyncio.sleep(world.random.uniform(0.3, 2.0))
        world.say(f"SIGKILL {member.name}")
        await member.kill()
        # Once with an empty folder, once after the group has given its partitions away.
        if turn == rounds - 1:
            await asyncio.sleep(SESSION_S + 2)
        member.start(fresh=turn == 1)
        await world.all_ready()


async def kill_flush(world: World) -> None:
    """kill -9 in the middle of a flush or a commit: between any two of its steps."""
    places = list(_FLUSH_PLACES)
    world.random.shuffle(places)
    # The worst places are always among them: between rows and what is told of them, and before a commit.
    for place in ("before-partials", places[0], "before-commit", places[1], "before-partials"):
        member = world.random.choice(world.members)
        await asyncio.sleep(world.random.uniform(0.5, 1.5))
        await _strike(world, member, place)
        member.start()
        await world.all_ready()


async def kill_flush_twice(world: World) -> None:
    """The worst two places of ``kill_flush``."""
    for place in ("before-partials", "before-commit"):
        member = world.random.choice(world.members)
        await asyncio.sleep(world.random.uniform(0.5, 1.0))
        await _strike(world, member, place, world.bound_s)
        member.start()
        await world.all_ready()


async def short_mix(world: World) -> None:
    """kill -9 during a flush and a commit, a worker that sleeps through its session, all local state lost."""
    await kill_flush_twice(world)
    await sleep_and_lose_all(world)


async def kill_recovery(world: World) -> None:
    """kill -9 of a worker that is still recovering from the last one."""
    member = world.random.choice(world.members)
    for place in ("assigned", "ready", "batch", "before-rows"):
        if member.runs:
            await member.kill()
        member.start(fresh=world.random.random() < 0.5)
        await _strike(world, member, place, 30)
    member.start()
    await world.all_ready()


async def _strike(world: World, member: Member, place: str, timeout_s: float = 8.0) -> None:
    if not world.arm.recorded:
        await member.kill()
    elif not await member.strike(place, timeout_s=timeout_s):
        world.notes.append(f"{member.name} did not come to {place}")
        await member.kill()


async def rolling_restart(world: World) -> None:
    """SIGTERM to one worker after another; each returns under its name, and nobody else notices."""
    ready, ended = [], []
    for member in world.members:
        await asyncio.sleep(world.random.uniform(0.2, 1.0))
        mark = _mark(world)
        world.say(f"SIGTERM {member.name}")
        member.send(signal.SIGTERM)
        ended.append(await member.gone(30))
        if member.exit_code != 0:
            world.broken.append(f"{member.name} ended with exit code {member.exit_code}")
        begun = time.monotonic()
        member.start()
        await world.all_ready()
        ready.append(time.monotonic() - begun)
        others = {each.name for each in world.members} - {member.name}
        if world.arm.recorded:
            revoked = [line["w"] for line in _since(world, mark) if line["k"] in {"revoked", "assigned"}]
            disturbed = sorted({who for who in revoked if who.split(":")[0] in others})
            if disturbed:
                world.broken.append(f"the restart of {member.name} caused a rebalance at {disturbed}")
    again = sum(line["again"] for line in _since(world, 0) if line["k"] == "batch")
    if world.arm.recorded:
        world.notes.append(f"read again {again}, ended in {max(ended):.1f} s, ready in {max(ready):.1f} s")
    if again:
        world.broken.append(f"{again} records were read again after an orderly stop")


def _mark(world: World) -> int:
    return world.history.path.stat().st_size


def _since(world: World, mark: int) -> Iterable[Line]:
    return read(world.history.path, mark)


async def sigstop(world: World) -> None:
    """SIGSTOP for longer than the session and SIGCONT: once in the middle of a flush, once at any time."""
    await sleep_and_lose_all(world)
    await _sleep(world, world.random.choice(world.members))
    await world.all_ready()


async def _sleep(world: World, sleeper: Member, place: str | None = None) -> None:
    """A worker sleeps through its session, and wakes up."""
    world.say(f"SIGSTOP {sleeper.name}")
    if place is None or not world.arm.recorded or not await sleeper.strike(place, "SIGSTOP", world.bound_s):
        sleeper.send(signal.SIGSTOP)
    await asyncio.sleep(SESSION_S + world.random.uniform(4.0, 6.0))
    world.say(f"SIGCONT {sleeper.name}")
    sleeper.send(signal.SIGCONT)
    await asyncio.sleep(2.0)


async def sleep_and_lose_all(world: World) -> None:
    """SIGSTOP in the middle of a flush for longer than the session, SIGCONT, then all local state is lost.

    What the sleeper writes when it wakes up is the last in the changelog; whoever starts from the changelog
    alone must not believe it.
    """
    # Early in a 10 s bucket, so that the others count much more into the bucket that it will write.
    await asyncio.sleep(10.2 - time.time() % 10)
    await _sleep(world, world.random.choice(world.members), "before-rows")
    world.say("SIGKILL all, folders lost")
    for member in world.members:
        await member.kill()
    for member in world.members:
        member.start(fresh=True)
    await world.all_ready()


async def broker_kill(world: World) -> None:
    """kill -9 of the only broker, and its return after a while."""
    for _ in range(2):
        await asyncio.sleep(world.random.uniform(0.5, 1.5))
        world.say("SIGKILL broker")
        await _on(world, world.kafka.kill)
        await asyncio.sleep(world.random.uniform(1.0, 5.0))
        await _on(world, world.kafka.restart_broker)
        world.say("broker is back")
        await world.recovered()


async def broker_pause(world: World) -> None:
    """The broker freezes, connections open and nobody answering, longer than the session."""
    await asyncio.sleep(world.random.uniform(0.5, 1.5))
    world.say("SIGSTOP broker")
    world.kafka.pause()
    try:
        await asyncio.sleep(SESSION_S + world.random.uniform(2.0, 4.0))
    finally:
        world.kafka.resume()
        world.say("SIGCONT broker")


async def connections(world: World) -> None:
    """Connections of workers to the broker: cut again and again, sliced, slow, then one worker without any.

    That worker is alone for longer than its session, and goes on where it was when it is back.
    """
    relays = list(world.relays.values())
    cut = 0
    for _ in range(6):
        await asyncio.sleep(world.random.uniform(0.2, 1.0))
        cut += sum(relay.cut() for relay in relays if world.random.random() < 0.7)
    world.say(f"{cut} connections cut")
    for relay in relays:
        relay.slice_bytes = world.random.choice([7, 100, 1000])
    await asyncio.sleep(5)
    for relay in relays:
        relay.slice_bytes, relay.delay_s = 0, world.random.uniform(0.1, 0.5)
    await asyncio.sleep(5)
    for relay in relays:
        relay.release()
    world.notes.append(f"{cut} connections cut, all sliced for 5 s, all slow for 5 s, one worker alone")
    lonely = world.random.choice(relays)
    world.say("one worker alone")
    lonely.hold()
    await asyncio.sleep(SESSION_S + world.random.uniform(4.0, 6.0))
    lonely.release()
    world.say("all together")


async def joins_and_leaves(world: World) -> None:
    """Ten workers join and leave within a minute, without names of their own in the group."""
    begun = time.monotonic()
    extra: list[Member] = []
    for turn in range(10):
        if len(extra) < 2 and (turn % 2 == 0 or not extra):
            member = world.member(f"x{turn}", static=False)
            member.start()
            extra.append(member)
            # Sometimes the next one comes or goes before this one is ready.
            if world.random.random() < 0.6:
                await world.all_ready()
        else:
            member = extra.pop(0)
            member.send(signal.SIGTERM)
            await member.gone(30)
            world.members.remove(member)
            # One that was told to stop before it could hear it ends by the signal itself.
            if member.exit_code not in {0, -signal.SIGTERM}:
                world.broken.append(f"{member.name} ended with exit code {member.exit_code}")
        await asyncio.sleep(world.random.uniform(0.1, 0.8))
    world.notes.append(f"10 changes in {time.monotonic() - begun:.0f} s")


async def hung_handler(world: World) -> None:
    """A handler that never returns does not hold up the exit past the drain deadline."""
    deadline = world.settings.drain_deadline_s
    await world.load.publish(Priority.DEBUG, "chaos.hang", 1)
    await asyncio.sleep(2.0)
    took = []
    for member in world.members:
        world.say(f"SIGTERM {member.name}")
        begun = time.monotonic()
        member.send(signal.SIGTERM)
        await member.gone(deadline + 25)
        took.append(time.monotonic() - begun)
    if max(took) < deadline * 0.9:
        raise ChaosError("no handler hung: the fault did not take place")
    world.notes.append(f"the exit took {max(took):.1f} s with a drain deadline of {deadline:g} s")
    if max(took) > deadline + 8:
        world.broken.append(f"the exit took {max(took):.1f} s")
    for member in world.members:
        member.environment.pop("CHAOS_VARIANT", None)
        member.start()
    await world.all_ready()


async def mixed(world: World) -> None:
    """A bit of everything, in an order that the seed decides."""
    doings = ["kill", "flush", "stop", "broker", "term"]
    world.random.shuffle(doings)
    for doing in doings:
        member = world.random.choice(world.members)
        await asyncio.sleep(world.random.uniform(0.2, 1.5))
        world.say(f"{doing} {member.name}")
        if doing == "kill":
            await member.kill()
            member.start(fresh=world.random.random() < 0.5)
        elif doing == "flush":
            await _strike(world, member, world.random.choice(_FLUSH_PLACES))
            member.start()
        elif doing == "stop":
            member.send(signal.SIGSTOP)
            await asyncio.sleep(SESSION_S + 2)
            member.send(signal.SIGCONT)
        elif doing == "broker":
            await _on(world, world.kafka.kill)
            await asyncio.sleep(world.random.uniform(0.5, 3.0))
            await _on(world, world.kafka.restart_broker)
        else:
            member.send(signal.SIGTERM)
            await member.gone(30)
            member.start()
        # Not always: the next one may come while the last one is being recovered from.
        if world.random.random() < 0.5:
            await world.all_ready()
