"""Rows of another app in the public topic of counts. Two apps must never write to one such topic.

Their keys are alike, so compaction deletes rows of the one for those of the other.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterable
from typing import Any, Final

import aiokafka
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from streams.settings import ConfigurationError
from streams.upstream.connections import disconnect
from streams.upstream.refused_fetches import rest_after_refusals
from tables.public_rows import app_of

log = logging.getLogger(__name__)

#: Newest offsets of each partition that are looked at.
_LOOKED_AT: Final = 200
_TIMEOUT_S: Final = 15.0


def foreign_app(values: Iterable[bytes | None], app: str) -> str | None:
    """The app whose topic this is, when it is another's than ``app``; None if it is ours, or nobody's.

    A row that does not name its app is of a version that did not say it, and taken for one's own. Where
    both have written, the topic is taken for one's own too: rows of the other are left out and replaced.
    """
    found = None
    for value in values:
        if value is None:
            continue
        with contextlib.suppress(ValueError):
            writer = app_of(value)
            if writer in ("", app):
                return None
            found = writer
    return found


async def refuse_foreign_topic(topic: str, app: str, partitions: int, options: dict[str, Any]) -> None:
    """Look at the newest rows of the public topic before anything is written to it.

    Brokers that do not answer now are no reason to end: rows of another app are left out later as well.

    Args:
        topic: the public topic of counts.
        app: ``TOCSIN_APP_ID``.
        partitions: that the topic has.
        options: of the aiokafka client.

    Raises:
        ConfigurationError: another app writes to it.
    """
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            values = await _newest(topic, partitions, options)
    except (KafkaError, TimeoutError) as error:
        log.warning("Whether another app writes to %s could not be asked (%r).", topic, error)
        return
    if (other := foreign_app(values, app)) is not None:
        raise ConfigurationError(
            f"The topic {topic} holds the counts of the app {other}, and this one is {app}: set "
            "TOCSIN_EVENT_COUNTS_TOPIC to a topic of its own, or TOCSIN_APP_ID as before."
        )


async def _newest(topic: str, partitions: int, options: dict[str, Any]) -> list[bytes | None]:
    consumer = aiokafka.AIOKafkaConsumer(
        **options, group_id=None, enable_auto_commit=False, auto_offset_reset="earliest"
    )
    await consumer.start()
    rest_after_refusals(consumer)
    try:
        places = [TopicPartition(topic, number) for number in range(partitions)]
        consumer.assign(places)
        begins, ends = await consumer.beginning_offsets(places), await consumer.end_offsets(places)
        left = {tp for tp in places if begins[tp] < ends[tp]}
        for tp in left:
            consumer.seek(tp, max(begins[tp], ends[tp] - _LOOKED_AT))
        values: list[bytes | None] = []
        while left:
            fetched = await consumer.getmany(*left, timeout_ms=500)
            values += [record.value for records in fetched.values() for record in records]
            for tp in list(left):
                if await consumer.position(tp) >= ends[tp]:
                    left.discard(tp)
        return values
    finally:
        await disconnect(consumer)
