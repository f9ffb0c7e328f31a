"""Topics that hold counts, and are gone or empty although what they counted is committed.

A worker that created them anew would go on from the committed offsets, and count from nothing. It cannot
read the notifications again by itself: those that retention took would be missing, and the combined counts
of a lost topic cannot be told from those that are still to come. So it refuses, and a person decides.
"""

from __future__ import annotations

from collections.abc import Iterable

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from streams.broker.client_options import client_options
from streams.broker.pools import group_names, group_offsets
from streams.broker.topic_problems import TopicProblem
from streams.notifications.priority import Priority
from streams.settings import Settings
from streams.upstream.clients import know_topics
from streams.upstream.connections import disconnect
from streams.upstream.topic_ids import UNKNOWN_TOPIC, TopicDescription, fetch_topics


async def find_lost_state(admin: AIOKafkaAdminClient, settings: Settings) -> list[TopicProblem]:
    """Errors for topics whose counts are lost; none where nothing was ever committed.

    Args:
        admin: started client.
        settings: of the worker.
    """
    committed = await _committed_topics(admin, settings)
    notifications = {settings.notification_topic(priority) for priority in Priority}
    if not committed & notifications:
        return []
    partials = settings.internal_topic("partials")
    # What is committed of a topic was written to these before. Where partial counts are not committed yet,
    # nothing may have been combined so far.
    first = [settings.internal_topic("partial-counts-changelog"), partials]
    then = [settings.internal_topic("combined-counts-changelog"), settings.event_counts_topic]
    # Looked at after the offsets: another worker may be creating them, and beginning, right now.
    found = await fetch_topics(admin, first + then)
    missing = {name for name in first + then if found[name].error == UNKNOWN_TOPIC}
    written = first + (then if partials in committed else [])
    readable = [
        found[name]
        for name in written
        if found[name].error is None and found[name].may_read and not found[name].leaderless
    ]
    empty = await _empty_topics(settings, readable)
    return [
        TopicProblem(
            "error",
            name,
            f"is {'missing' if name in missing else 'empty'} while the group {settings.app_id} has committed "
            "what it counted, so counts would begin at zero: bring the topic back from a mirror, or stop all "
            "workers and give them a new TOCSIN_APP_ID and a new TOCSIN_EVENT_COUNTS_TOPIC, which counts "
            "again what retention still holds",
        )
        for name in first + then
        if name in missing | empty
    ]


async def _committed_topics(admin: AIOKafkaAdminClient, settings: Settings) -> set[str]:
    """Topics of which some pool has committed an offset past the first record."""
    topics = set()
    for group in await group_names(admin, settings):
        offsets = await group_offsets(admin, group)
        topics |= {place.topic for place, committed in offsets.items() if committed.offset > 0}
    return topics


async def _empty_topics(settings: Settings, topics: Iterable[TopicDescription]) -> set[str]:
    """Those to which nothing was ever written. Compaction and retention leave the end where it is."""
    places = [TopicPartition(each.name, number) for each in topics for number in range(each.partitions)]
    if not places:
        return set()
    consumer = AIOKafkaConsumer(**client_options(settings))
    await consumer.start()
    try:
        await know_topics(consumer, {place.topic for place in places})
        ends = await consumer.end_offsets(places)
    finally:
        await disconnect(consumer)
    return {place.topic for place in places} - {place.topic for place, end in ends.items() if end > 0}
