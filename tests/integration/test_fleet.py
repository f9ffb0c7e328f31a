"""Workers know of each other by the status topic, and go on without it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from streams.broker.admin import admin_client
from streams.broker.topics import apply_topics
from tables.fleet.state import worker_id
from tests.integration.worker_process import Deployment, Worker, eventually
from tests.integration.writing import made_load, writer

pytestmark = pytest.mark.kafka

WEB = ["tocsin", "web"]


async def workers_of(asked: Worker) -> dict[str, Any]:
    """What a process answers of all workers; nothing while it does not."""
    status, body = await asyncio.to_thread(asked.get, "/api/v1/workers")
    return json.loads(body) if status == 200 else {"workers": []}


def heard(answer: dict[str, Any]) -> dict[str, bool]:
    """Worker -> whether it was heard from."""
    return {each["id"]: each["heard"] for each in answer["workers"]}


async def all_show(asked: list[Worker], what: str, wanted: dict[str, bool]) -> None:
    """Wait until each process shows these workers and no others."""

    async def shown() -> bool:
        return all([heard(await workers_of(each)) == wanted for each in asked])

    await eventually(what, shown)


async def test_every_process_shows_all_workers_and_what_became_of_them(deployment: Deployment) -> None:
    await apply_topics(deployment.settings)
    deployment.configure(session_timeout_s="6")
    one = deployment.worker("one", instance_id="worker-one").start()
    two = deployment.worker("two").start()
    web = deployment.worker("web", command=WEB).start()
    named = worker_id(deployment.settings.model_copy(update={"data_dir": deployment.folder / "two"}))
    both = {"worker-one": True, named: True}
    await all_show([one, two, web], "all show both workers", both)

    async with writer(deployment.settings) as out:
        await out.made(made_load(seed=1, count=200))
        await out.raw(deployment.settings.notification_topic(deployment.settings.priorities[-1]), b"no JSON")
        published = out.published

    async def counted() -> bool:
        answers = [await workers_of(each) for each in (one, two, web)]
        return all(
            sum(each["counted"] for each in answer["classes"]) >= sum(published.counts.values())
            and sum(each["forwarded"] for each in answer["classes"]) == published.number_forwarded
            and [(each["reason"], each["count"]) for each in answer["dead_letters"]] == [("not-json", 1)]
            and answer["complete"]
            for answer in answers
        )

    await eventually("all show what both have done", counted)
    answer = await workers_of(web)
    partitions: dict[str, list[int]] = {}
    for worker in answer["workers"]:
        assert (worker["ready"], worker["pool"], worker["reasons"]) == (True, "main", [])
        for each in worker["partitions"]:
            if each["priority"] is not None:
                assert each["state"] == "working"
                partitions.setdefault(each["priority"], []).extend(each["numbers"])
    wanted = {each.value: [0, 1, 2, 3] for each in deployment.settings.priorities}
    assert {priority: sorted(numbers) for priority, numbers in partitions.items()} == wanted

    two.kill()
    await all_show([one, web], "the killed worker is not heard from", both | {named: False})
    two.start()
    await all_show([one, two, web], "the worker is there again, and once", both)
    await two.stop()
    await all_show([one, web], "the worker that has stopped is gone", {"worker-one": True})


async def test_without_the_status_topic_nothing_else_is_harmed(deployment: Deployment) -> None:
    topic = deployment.settings.status_topic
    deployment.configure(flush_interval_s="0.2")
    worker = await deployment.worker("one", instance_id="worker-one").start().ready()
    web = deployment.worker("web", command=WEB).start()
    await all_show([worker, web], "the worker is shown", {"worker-one": True})
    # Rows of others, and what is no row at all.
    producer = AIOKafkaProducer(bootstrap_servers=deployment.settings.brokers)
    await producer.start()
    try:
        for value in (b"nonsense", b'{"v":1,"app":"another"}', b'{"v":99}', b"x" * 200_000):
            await producer.send_and_wait(topic, value, key=b"worker-two")
    finally:
        await producer.stop()

    async def left_out() -> bool:
        answer = await workers_of(web)
        return answer.get("left_out") == {"foreign": 1, "newer": 1, "unreadable": 2}

    await eventually("they are left out", left_out)
    await all_show([worker, web], "the worker alone is shown", {"worker-one": True})

    async with admin_client(deployment.settings) as admin:
        await admin.delete_topics([topic])

    async def said() -> bool:
        answer = await workers_of(web)
        return f"There is no topic {topic}" in (answer["trouble"] or "")

    async with writer(deployment.settings) as out:
        await out.made(made_load(seed=2, count=100))
        published = sum(out.published.counts.values())
    await eventually("tocsin web says that the topic is gone", said)

    async def counted() -> bool:
        status, body = await asyncio.to_thread(worker.get, "/api/v1/counts?window=total&limit=1000")
        return status == 200 and sum(item["count"] for item in json.loads(body)["items"]) == published

    await eventually("all is counted", counted)
    # It is no reason not to be ready, and the worker shows itself all the same.
    assert (await asyncio.to_thread(worker.get, "/readyz"))[0] == 200

    async def own() -> bool:
        answer = await workers_of(worker)
        counts = sum(each["counted"] for each in answer["classes"])
        return heard(answer) == {"worker-one": True} and counts == published

    await eventually("the worker shows itself", own)

    not_written = f"The state of this worker is not written to {topic}"
    await eventually("the worker says that its state is not written", lambda: not_written in worker.log())
    assert await apply_topics(deployment.settings) == [topic]

    async def again() -> bool:
        answer = await workers_of(web)
        return answer["trouble"] is None and answer["complete"] and heard(answer) == {"worker-one": True}

    await eventually("the worker writes to the new topic", again)
    log = worker.log()
    assert log.count(not_written) == 1
    assert log.count(f"There is no topic {topic}") <= 1
    await worker.stop()
    await all_show([web], "the worker is gone", {})
