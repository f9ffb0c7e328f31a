"""Faults of topics: one that is deleted and made again, at once or later, and one that retention cuts.

They strike a topic of a priority that the load leaves alone, so that what lay in it is known to the record.
"""

from __future__ import annotations

import asyncio
import re
import signal

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.records_to_delete import RecordsToDelete

from streams.broker.topics import apply_topics
from streams.notifications import Priority
from tests.chaos.members import ChaosError, until
from tests.chaos.truth import write_log_so_far, write_remade
from tests.chaos.world import PARTITIONS, SESSION_S, World

SETTINGS = {"priorities": "critical,error,warn,info,debug,audit"}
_NEVER_READ = re.compile(r"(\d+) records of (\S+), partition \d+, were deleted before they were read")


async def topic_remade(world: World) -> None:
    """A topic deleted and made again under running workers, twice; more lies in it than before at once."""
    topic = world.settings.notification_topic(Priority.AUDIT)
    for turn in range(1, 3):
        await _publish(world, f"audit.before{turn}", 25)
        await world.caught_up()
        await write_remade(world.settings, world.history, topic, f"{topic}@{turn}")
        world.say(f"{topic} made again")
        await _delete(world, topic)
        await apply_topics(world.settings)
        await _publish(world, f"audit.after{turn}", 40)
        await asyncio.sleep(world.random.uniform(0.0, 3.0))
        await _publish(world, f"audit.later{turn}", 20)
        await world.recovered()


async def topic_gone(world: World) -> None:
    """A topic gone for a while: no worker is ready, and each names it; a worker is killed meanwhile."""
    topic = world.settings.notification_topic(Priority.AUDIT)
    await _publish(world, "audit.before", 25)
    await world.caught_up()
    await write_remade(world.settings, world.history, topic, f"{topic}@1")
    world.say(f"{topic} is gone")
    await _delete(world, topic)

    async def all_say() -> bool:
        answers = [await asyncio.to_thread(member.get, "/readyz") for member in world.members]
        return all(status == 503 and f"{topic} is gone" in body.decode() for status, body in answers)

    world.notes.append(f"said by all after {await until(f'all say that {topic} is gone', all_say, 60):.1f} s")
    await asyncio.sleep(world.random.uniform(1.0, 5.0))
    world.say(f"{topic} is back")
    await apply_topics(world.settings)
    await _publish(world, "audit.after", 60)
    await world.all_ready()
    member = world.random.choice(world.members)
    await member.kill()
    await _publish(world, "audit.later", 20)
    member.start()
    await world.all_ready()


async def retention_overtakes(world: World) -> None:
    """Records deleted before they were read: while no worker runs, and under workers that sleep."""
    topic = world.settings.notification_topic(Priority.AUDIT)
    await _publish(world, "audit.first", 5)
    await world.caught_up()
    gone = 0
    await write_log_so_far(world.settings, world.history, topic)
    world.say("SIGKILL all, retention overtakes them")
    for member in world.members:
        await member.kill()
    gone += await _publish_and_delete(world, "audit.down", 100, 70)
    for member in world.members:
        member.start()
    await world.recovered()
    await write_log_so_far(world.settings, world.history, topic)
    world.say("SIGSTOP all, retention overtakes them")
    for member in world.members:
        member.send(signal.SIGSTOP)
    # A fetch that waits at the broker would still bring what comes.
    await asyncio.sleep(2.0)
    gone += await _publish_and_delete(world, "audit.asleep", 100, world.random.randrange(1, 100))
    await asyncio.sleep(world.random.choice([0.0, SESSION_S + 2.0]))
    for member in world.members:
        member.send(signal.SIGCONT)
    await world.recovered()
    told = 0
    for member in world.members:
        text = await asyncio.to_thread(member.log.read_text, errors="replace")
        told += sum(int(found[1]) for found in _NEVER_READ.finditer(text))
    world.notes.append(f"{gone} deleted unread, {told} told")
    if told != gone:
        world.broken.append(f"{gone} were deleted unread, and the logs tell of {told}")


async def _publish(world: World, event_type: str, number: int) -> None:
    """Publish so many to each partition."""
    for partition in range(PARTITIONS):
        await world.load.publish(Priority.AUDIT, event_type, number, partition)


async def _delete(world: World, topic: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=world.kafka.bootstrap)
    await admin.start()
    try:
        await admin.delete_topics([topic])

        async def gone() -> bool:
            return topic not in await admin.list_topics()

        await until(f"{topic} is gone", gone, 30)
    finally:
        await admin.close()


async def _publish_and_delete(world: World, event_type: str, number: int, unread: int) -> int:
    """Publish to each partition, and delete the first of what was published; returns how many are gone."""
    topic = world.settings.notification_topic(Priority.AUDIT)
    before = {place: end for place, end in (await world.ends()).items() if place.topic == topic}
    await _publish(world, event_type, number)
    ends = await world.ends()
    if any(ends[place] - begin != number for place, begin in before.items()):
        raise ChaosError(f"not all of {event_type} was published")
    admin = AIOKafkaAdminClient(bootstrap_servers=world.kafka.bootstrap)
    await admin.start()
    try:
        cut = {TopicPartition(*place): RecordsToDelete(begin + unread) for place, begin in before.items()}
        await admin.delete_records(cut)
    finally:
        await admin.close()
    for place, begin in before.items():
        world.history.write("deleted", t=topic, p=place.partition, o=begin + unread)
    return unread * len(before)
