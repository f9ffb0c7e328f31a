"""The local Kafka: start, stop, states, and what it says when it cannot start."""

from __future__ import annotations

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from streams.broker.local_kafka import LocalKafka


async def _create_topic(bootstrap: str, name: str, partitions: int = 1, replicas: int = 1) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, partitions, replicas)])
    finally:
        await admin.close()


async def _produce(bootstrap: str, topic: str, values: list[bytes]) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", enable_idempotence=True)
    await producer.start()
    try:
        for value in values:
            await producer.send_and_wait(topic, value)
    finally:
        await producer.stop()


async def _consume(bootstrap: str, topic: str, count: int) -> list[bytes]:
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap)
    await consumer.start()
    try:
        partition = TopicPartition(topic, 0)
        consumer.assign([partition])
        await consumer.seek_to_beginning(partition)
        found: list[bytes] = []
        while len(found) < count:
            found.append((await consumer.getone()).value)
        return found
    finally:
        await consumer.stop()


async def test_produces_and_consumes(kafka: LocalKafka, unique: str) -> None:
    await _create_topic(kafka.bootstrap, unique)
    await _produce(kafka.bootstrap, unique, [b"one", b"two"])
    assert await _consume(kafka.bootstrap, unique, 2) == [b"one", b"two"]
