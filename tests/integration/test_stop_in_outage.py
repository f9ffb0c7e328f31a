"""A worker told to stop while no broker answers ends in good order, and what is open is read again."""

from __future__ import annotations

import asyncio

import aiokafka
import pytest
from aiokafka import TopicPartition
from aiokafka.admin import NewTopic

from streams.upstream.connections import disconnect
from tests.admin import create_topics
from tests.breakable_kafka import BreakableKafka
from tests.integration.forwards import check_forwards
from tests.integration.reading import all_committed, counts_at_rest, difference, public_counts
from tests.integration.worker_process import Deployment, eventually
from tests.integration.writing import made_load, writer
from tests.long_form import in_the_long_form

pytestmark = pytest.mark.kafka


@pytest.mark.parametrize("fault", ["frozen", *in_the_long_form("gone")])
async def test_a_worker_told_to_stop_while_no_broker_answers_ends(
    own_deployment: Deployment, own_kafka: BreakableKafka, fault: str
) -> None:
    settings = own_deployment.settings
    worker = await own_deployment.worker(drain_deadline_s="5").start().ready()
    async with writer(settings) as out, public_counts(settings) as counts:
        await out.made(made_load(seed=31, count=3000))
        await counts.reach(out.published.counts)
        # Some of these are counted and not yet durable when the broker goes.
        await out.made(made_load(seed=32, count=3000))
    await asyncio.to_thread(own_kafka.kill if fault == "gone" else own_kafka.pause)
    worker.terminate()
    assert await worker.ended() == 0
    assert "Traceback" not in worker.log()
    assert "Crashed" not in worker.log()
    assert "never retrieved" not in worker.log()
    assert worker.log().count("Not all counts were durable") <= 1
    await asyncio.to_thread(own_kafka.restart_broker if fault == "gone" else own_kafka.resume)
    published = out.published
    await worker.start().ready()
    async with writer(settings) as out, public_counts(settings) as counts:
        out.published = published
        await counts.reach(published.counts)
        await eventually("the ends are committed", lambda: all_committed(settings))
        await worker.stop()
    at_rest = await counts_at_rest(settings)
    assert at_rest.now() == published.counts, difference(at_rest.now(), published.counts)
    await check_forwards(settings, published, repeats=True)


async def waits_to_fetch_again(
    kafka: BreakableKafka, topic: str, log: pytest.LogCaptureFixture
) -> aiokafka.AIOKafkaConsumer:
    """A consumer whose broker went away, and that waits for longer than a test before it tries again."""
    await create_topics(kafka.bootstrap, NewTopic(topic, 1, 1))
    # The leader knows that it is: who asks for an offset before would try again after ten minutes.
    async with aiokafka.AIOKafkaProducer(bootstrap_servers=kafka.bootstrap) as producer:
        await producer.send_and_wait(topic, b"1")
    consumer = aiokafka.AIOKafkaConsumer(
        bootstrap_servers=kafka.bootstrap, auto_offset_reset="latest", retry_backoff_ms=600_000
    )
    await consumer.start()
    consumer.assign([TopicPartition(topic, 0)])
    # It begins at the end: while a fetched record is not taken, nothing more is fetched.
    await consumer.position(TopicPartition(topic, 0))
    await asyncio.to_thread(kafka.kill)
    # Said in the turn of the event loop in which the fetch begins to wait.
    await eventually("a fetch has failed", lambda: "Failed fetch messages" in log.text)
    return consumer


async def test_a_consumer_that_waits_to_fetch_again_is_disconnected(
    own_kafka: BreakableKafka, unique: str, caplog: pytest.LogCaptureFixture
) -> None:
    consumer = await waits_to_fetch_again(own_kafka, unique, caplog)
    await disconnect(consumer)
    assert consumer._client._sync_task is None


async def test_aiokafka_leaves_such_a_consumer_connected(
    own_kafka: BreakableKafka, unique: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The control: if this fails, aiokafka has been mended, and ``disconnect`` may go."""
    consumer = await waits_to_fetch_again(own_kafka, unique, caplog)
    with pytest.raises(asyncio.CancelledError):
        await consumer.stop()
    assert consumer._client._sync_task is not None
    await consumer._client.close()
