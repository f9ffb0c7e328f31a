"""An hour of notifications, published at once with the times of the hour that has just gone by.

So charts over an hour have something to show. Brokers put their own clock's time on a record unless the topic
says that they take the publisher's, which the topics of notifications do meanwhile.
"""

from __future__ import annotations

import asyncio
import math
import time
import uuid
from collections import defaultdict
from typing import Final

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from streams.notifications import encode
from streams.publishing.generator import generate
from tests.admin import PATIENT
from tests.browser.served import Served

HOUR_MS: Final = 3_600_000
NUMBER: Final = 20_000
_BATCH: Final = 100
_SEED: Final = 5


def placed(share: float) -> float:
    """When something happens in the hour, 0 to 1, after ``share`` of all; in waves."""
    return share + 0.035 * math.sin(share * 6 * math.pi)


async def publish_hour(served: Served) -> None:
    """Publish `NUMBER` of all priorities, a few of them malformed."""
    settings = served.settings
    topics = [settings.notification_topic(each) for each in settings.priorities]
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.brokers, **PATIENT)
    producer = AIOKafkaProducer(
        bootstrap_servers=settings.brokers, acks="all", max_batch_size=2**21, **PATIENT
    )
    await asyncio.gather(admin.start(), producer.start())
    try:
        await _take_times_of(admin, topics, "CreateTime")
        begun_ms = int(time.time() * 1000) - HOUR_MS
        by_topic: dict[str, list[tuple[int, bytes]]] = defaultdict(list)
        made = generate(_SEED, NUMBER, begun_ms, bad_share=0.0005)
        for place, each in enumerate(made):
            at_ms = begun_ms + int(HOUR_MS * placed(place / NUMBER))
            value = each.raw or encode(
                each.publisher_id, each.event_type, each.priority, each.payload, at_ms, str(uuid.uuid4())
            )
            by_topic[settings.notification_topic(each.priority)].append((at_ms, value))
        for topic, records in by_topic.items():
            for start in range(0, len(records), _BATCH):
                batch = producer.create_batch()
                for at_ms, value in records[start : start + _BATCH]:
                    assert batch.append(timestamp=at_ms, key=None, value=value, headers=[]) is not None
                partition = start // _BATCH % served.out.partitions
                await (await producer.send_batch(batch, topic, partition=partition))
    finally:
        await _take_times_of(admin, topics, "LogAppendTime")
        await asyncio.gather(admin.close(), producer.stop())


async def _take_times_of(admin: AIOKafkaAdminClient, topics: list[str], clock: str) -> None:
    await admin.alter_configs(
        [
            ConfigResource(ConfigResourceType.TOPIC, topic, configs={"message.timestamp.type": clock})
            for topic in topics
        ]
    )
