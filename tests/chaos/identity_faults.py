"""Logs that go back, and a cluster that begins anew, under workers that remember more.

The first strikes a topic of a priority that the load leaves alone, so that what was lost of it is known to
the record.
"""

from __future__ import annotations

import asyncio
import signal

from streams.broker.topics import apply_topics
from streams.notifications import Priority
from tests.chaos.truth import write_remade
from tests.chaos.world import PARTITIONS, World
from tests.cut_logs import cut, end_of

SETTINGS = {"priorities": "critical,error,warn,info,debug,audit"}


async def logs_go_back(world: World) -> None:
    """A broker loses power and the end of a topic: under workers, while one sleeps, and before a start."""
    topic = world.settings.notification_topic(Priority.AUDIT)
    for turn, state in enumerate(("run", "sleep", "are killed"), 1):
        for batch in range(5):
            await _publish(world, f"audit.before{turn}.{batch}", 5)
        await world.caught_up()
        await write_remade(world.settings, world.history, topic, f"{topic}@{turn}")
        if state == "sleep":
            world.random.choice(world.members).send(signal.SIGSTOP)
        elif state == "are killed":
            for member in world.members:
                await member.kill()
        lost = 5 * world.random.randrange(1, 5)
        world.say(f"{topic} loses the last {lost} of each partition while workers {state}")
        await asyncio.to_thread(world.kafka.kill)
        for number in range(PARTITIONS):
            end = end_of(world.kafka.data_dir, topic, number) - lost
            cut(world.kafka.data_dir, topic, number, end)
            if end_of(world.kafka.data_dir, topic, number) != end:
                world.broken.append(f"{topic}, partition {number}, could not be cut at {end}")
            world.history.write("begins", t=topic, p=number, o=end)
        await asyncio.to_thread(world.kafka.restart_broker)
        # Fewer than were lost, or more, so that the log is shorter than it was, or longer.
        await _publish(world, f"audit.after{turn}", world.random.choice([2, 40]))
        for member in world.members:
            member.send(signal.SIGCONT)
            if not member.runs:
                member.start()
        await world.recovered()
        await _publish(world, f"audit.later{turn}", 20)
        await world.recovered()
    said = 0
    for member in world.members:
        text = await asyncio.to_thread(member.log.read_text, errors="replace")
        said += text.count("lost its end: it goes back")
    world.notes.append(f"{said} said of {3 * PARTITIONS}")
    if said < 3 * PARTITIONS:
        world.broken.append(f"{said} lines of {3 * PARTITIONS} say that a log lost its end")


async def cluster_reset(world: World) -> None:
    """All topics and the cluster begin anew under old data folders; the record begins anew with them."""
    await world.caught_up()
    await world.load.stop()
    for member in world.members:
        if world.random.random() < 0.5:
            await member.kill()
        else:
            member.send(signal.SIGTERM)
            await member.gone(world.bound_s)
    world.say("the cluster begins anew")
    await asyncio.to_thread(world.kafka.begin_anew)
    world.history.write("reset")
    await apply_topics(world.settings)
    await world.load.start()
    # One counts before the others, which may find changelogs that go past what they remember.
    world.members[0].start()
    await asyncio.sleep(world.random.uniform(2.0, 12.0))
    for member in world.members[1:]:
        member.start()
    await world.all_ready()
    said = 0
    for member in world.members:
        text = await asyncio.to_thread(member.log.read_text, errors="replace")
        said += text.count("is no copy of the topic")
    world.notes.append(f"{said} tables set aside")
    if not said:
        world.broken.append("no table of the old cluster was set aside")


async def _publish(world: World, event_type: str, number: int) -> None:
    """Publish so many to each partition."""
    for partition in range(PARTITIONS):
        await world.load.publish(Priority.AUDIT, event_type, number, partition)
