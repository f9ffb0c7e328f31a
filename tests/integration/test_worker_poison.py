"""A record that the Kafka client cannot take apart by itself stops no partition, and loses no neighbour."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy

from streams.notifications import Priority, encode
from tests.admin import PATIENT
from tests.integration.reading import all_committed, public_counts, read_all
from tests.integration.worker_process import Deployment, eventually

pytestmark = pytest.mark.kafka


class NotText(str):
    """A header name whose bytes on the wire are no UTF-8."""

    __slots__ = ()

    def encode(self, *_args: Any) -> bytes:
        return b"\xff\xfe"


async def publish_with_poison(producer: AIOKafkaProducer, topic: str, values: list[bytes], bad: int) -> None:
    """Send ``values`` in one batch to partition 0, the one at ``bad`` with a header that cannot be read."""
    batch = producer.create_batch()
    batch._builder = _DefaultRecordBatchBuilderPy(
        2, 0, is_transactional=0, producer_id=-1, producer_epoch=-1, base_sequence=-1, batch_size=1 << 20
    )
    for index, value in enumerate(values):
        headers = [(NotText("x"), b"y")] if index == bad else []
        batch.append(timestamp=None, key=None, value=value, headers=headers)
    batch.close()
    await (await producer.send_batch(batch, topic, partition=0))


async def test_a_record_with_a_header_name_that_is_no_text_is_counted_like_its_neighbours(
    deployment: Deployment,
) -> None:
    settings = deployment.settings
    topic = settings.notification_topic(Priority.ERROR)
    worker = await deployment.worker().start().ready()
    values = [encode("p", f"type.{index}", Priority.ERROR, {}, 0, f"id{index}") for index in range(50)]
    async with (
        AIOKafkaProducer(bootstrap_servers=settings.brokers, **PATIENT) as producer,
        public_counts(settings) as counts,
    ):
        await publish_with_poison(producer, topic, values, 20)
        await publish_with_poison(producer, topic, values, 49)
        expected = Counter({("ERROR", f"type.{index}"): 2 for index in range(50)})
        await counts.reach(expected)
        await eventually("the ends are committed", lambda: all_committed(settings))
    forwards = await read_all(settings.brokers, settings.alert_topic("error"))
    assert len(forwards) == 100
    await worker.stop()
