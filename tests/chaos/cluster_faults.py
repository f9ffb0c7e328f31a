"""Faults of a cluster of three brokers, replication 3, two replicas needed."""

from __future__ import annotations

import asyncio
import time
from collections import Counter

import orjson

from streams.notifications import Priority
from tests.chaos.members import until
from tests.chaos.world import World
from tests.integration.reading import end_offsets


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


async def _leader(world: World) -> int:
    """The broker that leads the first partition of CRITICAL."""
    from aiokafka.admin import AIOKafkaAdminClient

    topic = world.settings.notification_topic(Priority.CRITICAL)
    await end_offsets(world.kafka.bootstrap, topic)
    admin = AIOKafkaAdminClient(bootstrap_servers=world.kafka.bootstrap)
    await admin.start()
    try:
        (described,) = await admin.describe_topics([topic])
        return int(described["partitions"][0]["leader"])
    finally:
        await admin.close()
