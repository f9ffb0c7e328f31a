"""Faults of topics: deleted and made again, at once or later; cut by retention; given more partitions.

But for the last they strike a topic of a priority that the load leaves alone, so that what lay in it is known
to the record.
"""

from __future__ import annotations

import asyncio
import json
import re
import signal
from collections.abc import Iterable

from aiokafka import TopicPartition
from aiokafka.admin import NewPartitions
from aiokafka.admin.records_to_delete import RecordsToDelete

from streams.broker.topic_plan import planned_topics
from streams.broker.topics import apply_topics
from streams.notifications import Priority
from tests.admin import admin_of
from tests.chaos.members import ChaosError, until
from tests.chaos.truth import write_log_so_far, write_remade
from tests.chaos.world import PARTITIONS, SESSION_S, World

SETTINGS = {"priorities": "critical,error,warn,info,debug,audit"}
_NEVER_READ = re.compile(r"(\d+) records? of (\S+), partition \d+, \w+ deleted before \w+ \w+ read")


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


async def partitions_raised(world: World) -> None:
    """Partitions added under running workers, while one sleeps, and while none runs; and old advice followed.

    That was to raise the topics that hold counts as well, for which a worker used to take other slices.
    """
    settings = world.settings
    topics = [settings.notification_topic(priority) for priority in settings.priorities]
    alive = [member.process for member in world.members]
    world.say("partitions added under running workers")
    await _raise_to(world, topics, 2 * PARTITIONS)
    await world.load.spread_over(2 * PARTITIONS)
    await _all_are_read(world, 2 * PARTITIONS * len(topics))
    if [member.process for member in world.members if member.runs] != alive:
        world.broken.append("a worker ended when partitions were added")
    sleeper = world.random.choice(world.members)
    world.say("partitions added while one sleeps")
    sleeper.send(signal.SIGSTOP)
    await _raise_to(world, topics[:1], 3 * PARTITIONS - 1)
    await asyncio.sleep(world.random.choice([1.0, SESSION_S + 2.0]))
    sleeper.send(signal.SIGCONT)
    await _all_are_read(world, 2 * PARTITIONS * (len(topics) - 1) + 3 * PARTITIONS - 1)
    world.say("SIGKILL all, partitions added to all topics")
    for member in world.members:
        await member.kill()
    state = [spec.name for spec in planned_topics(settings) if spec.state]
    await _raise_to(world, topics + state, 3 * PARTITIONS)
    for member in world.members:
        member.start()
    await world.load.spread_over(3 * PARTITIONS)
    await _all_are_read(world, 3 * PARTITIONS * len(topics))


async def _raise_to(world: World, topics: Iterable[str], partitions: int) -> None:
    async with admin_of(world.kafka.bootstrap) as admin:
        answer = await admin.create_partitions({topic: NewPartitions(partitions) for topic in topics})
    if any(code for _, code, *_ in answer.topic_errors):
        raise ChaosError(f"the broker adds no partitions: {answer}")


async def _all_are_read(world: World, sources: int) -> None:
    """Wait until ready workers read so many partitions between them."""

    async def read() -> bool:
        answers = [await asyncio.to_thread(member.get, "/readyz") for member in world.members]
        if any(status != 200 for status, _ in answers):
            return False
        return sum(json.loads(body)["details"]["sources"] for _, body in answers) == sources

    took = await until(f"{sources} partitions are read", read, world.bound_s)
    world.notes.append(f"{sources} partitions read after {took:.1f} s")


async def _publish(world: World, event_type: str, number: int) -> None:
    """Publish so many to each partition."""
    for partition in range(PARTITIONS):
        await world.load.publish(Priority.AUDIT, event_type, number, partition)


async def _delete(world: World, topic: str) -> None:
    async with admin_of(world.kafka.bootstrap) as admin:
        await admin.delete_topics([topic])

        async def gone() -> bool:
            return topic not in await admin.list_topics()

        await until(f"{topic} is gone", gone, 30)


async def _publish_and_delete(world: World, event_type: str, number: int, unread: int) -> int:
    """Publish to each partition, and delete the first of what was published; returns how many are gone."""
    topic = world.settings.notification_topic(Priority.AUDIT)
    before = {place: end for place, end in (await world.ends()).items() if place.topic == topic}
    await _publish(world, event_type, number)
    ends = await world.ends()
    if any(ends[place] - begin != number for place, begin in before.items()):
        raise ChaosError(f"not all of {event_type} was published")
    async with admin_of(world.kafka.bootstrap) as admin:
        cut = {TopicPartition(*place): RecordsToDelete(begin + unread) for place, begin in before.items()}
        await admin.delete_records(cut)
    for place, begin in before.items():
        world.history.write("deleted", t=topic, p=place.partition, o=begin + unread)
    return unread * len(before)
