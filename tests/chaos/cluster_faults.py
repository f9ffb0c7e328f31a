"""Faults of what workers stand on: their folders, and a cluster of three brokers of which two are needed."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from pathlib import Path
from random import Random

import orjson

from streams.notifications import Priority
from tests.admin import admin_of
from tests.chaos import damage
from tests.chaos.members import Member, until
from tests.chaos.world import World
from tests.integration.reading import end_offsets

#: Seconds within which workers are to find brokers that have moved.
MOVED_S = 120.0


async def damaged_folders(world: World) -> None:
    """A worker dies, its RocksDB is damaged, and it starts again, restarted like a pod when it ends."""
    for harm in (_flip_bytes, _cut_files, _lose_current):
        member = world.random.choice(world.members)
        await asyncio.sleep(world.random.uniform(1.0, 2.0))
        await member.kill()
        files = harm(member.data_dir, world.random)
        world.say(f"{harm.__name__[1:]} of {member.name}: {files} files")
        if not files:
            world.broken.append(f"{harm.__name__[1:]} found no file to damage")
        await start_like_a_pod(world, member)
        await world.all_ready()
    kept = sum(len(damage.set_aside(member.data_dir)) for member in world.members)
    world.notes.append(f"{kept} damaged tables kept aside")


async def start_like_a_pod(world: World, member: Member) -> None:
    """Start a worker again each time that it ends, until it is ready."""
    for _ in range(4):
        member.start()

        async def ready_or_ended() -> bool:
            return not member.runs or await member.is_ready()

        await until(f"{member.name} is ready, or ends", ready_or_ended, 60)
        if member.runs:
            break
        world.notes.append(f"{member.name} ended with {member.exit_code} and was started again")


def _flip_bytes(folder: Path, random: Random) -> int:
    files = damage.files_with_rows(folder)
    for file in files:
        damage.flip_bytes(file, random.random() / 2, 64)
    return len(files)


def _cut_files(folder: Path, random: Random) -> int:
    files = damage.files_with_rows(folder)
    for file in files:
        damage.cut(file, random.random())
    return len(files)


def _lose_current(folder: Path, random: Random) -> int:
    stores = damage.stores(folder)
    for store in stores:
        damage.remove_current(store)
        if random.random() < 0.5:
            damage.remove_manifests(store)
    return len(stores)


async def leader_and_two_lost(world: World) -> None:
    """The leader of the most partitions dies: work goes on. Then two of three: it stops, and says so."""
    kafka = world.kafka
    await asyncio.sleep(world.random.uniform(0.5, 1.5))
    leader = await _leader(world)
    world.say(f"SIGKILL broker {leader}")
    await asyncio.to_thread(kafka.kill, leader)
    begun = time.monotonic()
    took = await world.caught_up(60)
    world.notes.append(f"one broker lost: went on after {took:.1f} s")
    await asyncio.sleep(3)
    await asyncio.to_thread(kafka.restart_broker, leader)
    await world.recovered()

    first, second = world.random.sample([1, 2, 3], 2)
    world.say(f"SIGKILL brokers {first} and {second}")
    await asyncio.to_thread(kafka.kill, first)
    await asyncio.to_thread(kafka.kill, second)
    begun = time.monotonic()

    async def all_say_so() -> bool:
        states = await asyncio.gather(*(asyncio.to_thread(m.get, "/readyz") for m in world.members))
        return all(status == 503 for status, _ in states)

    try:
        said = await until("/readyz of every worker says that the brokers are away", all_say_so, 60)
        world.notes.append(f"two lost: /readyz said so after {said:.1f} s")
        reasons: Counter[str] = Counter()
        for member in world.members:
            status, body = await asyncio.to_thread(member.get, "/readyz")
            if status:
                reasons.update(orjson.loads(body)["reasons"])
        world.say(f"reasons: {dict(reasons)}")
    finally:
        await asyncio.sleep(max(0.0, 5 - (time.monotonic() - begun)))
        await asyncio.to_thread(kafka.restart_broker, first)
        await asyncio.to_thread(kafka.restart_broker, second)
        world.say("both brokers are back")


async def brokers_moved(world: World) -> None:
    """All brokers come back at other addresses, twice; the bootstrap name leads there. One worker dies."""
    relay = world.bootstrap
    assert relay is not None, "the workers know the addresses"
    for turn in range(2):
        await asyncio.sleep(world.random.uniform(0.5, 1.5))
        world.say("brokers moved")
        address = await asyncio.to_thread(world.kafka.move)
        if turn:
            member = world.random.choice(world.members)
            await member.kill()
            member.start()  # it waits for the brokers, since the name leads nowhere yet
        await asyncio.sleep(world.random.uniform(0.0, 5.0))
        relay.target = int(address.rpartition(":")[2])
        await world.load.reconnect(address)
        world.say("the bootstrap name leads to them")
        took = await world.recovered(MOVED_S)
        world.notes.append(f"went on after {took:.1f} s at the new addresses")


async def _leader(world: World) -> int:
    """The broker that leads the first partition of CRITICAL."""

    topic = world.settings.notification_topic(Priority.CRITICAL)
    await end_offsets(world.kafka.bootstrap, topic)
    async with admin_of(world.kafka.bootstrap) as admin:
        (described,) = await admin.describe_topics([topic])
        return int(described["partitions"][0]["leader"])
