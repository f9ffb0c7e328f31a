"""The status topic may be gone, and others may write to it: nothing else is harmed."""

from __future__ import annotations

import asyncio
import json

import pytest
from aiokafka import AIOKafkaProducer

from streams.broker.admin import admin_client
from tests.admin import PATIENT, apply_topics
from tests.integration.fleet_kit import WEB, all_show, heard, workers_of
from tests.integration.worker_process import BOUND_S, Deployment, eventually
from tests.integration.writing import made_load, writer

pytestmark = pytest.mark.kafka


async def test_without_the_status_topic_nothing_else_is_harmed(deployment: Deployment) -> None:
    topic = deployment.settings.status_topic
    deployment.configure(flush_interval_s="0.2")
    worker = await deployment.worker("one", instance_id="worker-one").start().ready()
    web = deployment.worker("web", command=WEB).start()
    await all_show([worker, web], "the worker is shown", {"worker-one": True})
    # Rows of others, and what is no row at all.
    producer = AIOKafkaProducer(bootstrap_servers=deployment.settings.brokers, **PATIENT)
    await producer.start()
    try:
        # Each of another worker: of several rows of one that come together, only the last is looked at.
        values = (b"nonsense", b'{"v":1,"app":"another"}', b'{"v":99}', b"x" * 200_000)
        for number, value in enumerate(values):
            await producer.send_and_wait(topic, value, key=b"stranger-%d" % number)
    finally:
        await producer.stop()

    async def left_out() -> bool:
        answer = await workers_of(web)
        return answer.get("left_out") == {"foreign": 1, "newer": 1, "unreadable": 2}

    await eventually("they are left out", left_out)
    await all_show([worker, web], "the worker alone is shown", {"worker-one": True})

    async with admin_client(deployment.settings, timeout_s=BOUND_S, attempt_s=BOUND_S) as admin:
        await admin.delete_topics([topic])

    async def said() -> bool:
        answer = await workers_of(web)
        return f"There is no topic {topic}" in (answer.get("trouble") or "")

    async with writer(deployment.settings) as out:
        await out.made(made_load(seed=2, count=100))
        published = sum(out.published.counts.values())
    await eventually("tocsin web says that the topic is gone", said)

    async def counted() -> bool:
        status, body = await asyncio.to_thread(worker.get, "/api/v1/counts?window=total&limit=1000")
        return status == 200 and sum(item["count"] for item in json.loads(body)["items"]) == published

    await eventually("all is counted", counted)
    # It is no reason not to be ready, and the worker shows itself all the same.
    await worker.ready()

    async def own() -> bool:
        answer = await workers_of(worker)
        counts = sum(each["counted"] for each in answer.get("classes", ()))
        return heard(answer) == {"worker-one": True} and counts == published

    await eventually("the worker shows itself", own)

    not_written = f"The state of this worker is not written to {topic}"
    await eventually("the worker says that its state is not written", lambda: not_written in worker.log())
    assert await apply_topics(deployment.settings) == [topic]

    async def again() -> bool:
        answer = await workers_of(web)
        return (
            answer.get("trouble", "") is None and answer["complete"] and heard(answer) == {"worker-one": True}
        )

    await eventually("the worker writes to the new topic", again)
    written_again = f"The state of this worker is written to {topic} again."

    def each_once() -> bool:
        # On a busy machine the broker may have been too slow for a row at another time, too.
        said = worker.log()
        return said.count(not_written) == said.count(written_again) > 0

    await eventually("each time is said once", each_once)
    log = worker.log()
    assert log.count(f"There is no topic {topic}") <= 1
    await worker.stop()
    await all_show([web], "the worker is gone", {})
