"""A member that comes back within its session with other subscriptions: Kafka hands it what it had before."""

from __future__ import annotations

import asyncio
import json

import pytest

from streams.broker.topic_plan import planned_topics
from streams.notifications import Priority
from streams.settings import load_settings
from tests.admin import admin_of, raise_partitions
from tests.integration.forwards import check_forwards
from tests.integration.reading import all_committed, public_counts
from tests.integration.worker_process import PARTITIONS, Deployment, Worker, eventually
from tests.integration.writing import made_load, writer
from tests.long_form import in_the_long_form

pytestmark = pytest.mark.kafka

ALL = "critical,error,warn,info,debug"


async def reads(worker: Worker, number: int) -> None:
    """Wait until a worker is ready and says that it reads so many partitions of notification topics."""

    async def is_so() -> bool:
        status, body = await asyncio.to_thread(worker.get, "/readyz")
        return status == 200 and bool(json.loads(body)["details"]["sources"] == number)

    await eventually(f"{number} sources are read", is_so)


@pytest.mark.parametrize(
    ("before", "after", "instance"),
    [
        (ALL, "critical,warn", "w-0"),
        ("critical,error", ALL, "w-0"),
        ("critical,error", "warn,info", "w-0"),
        (ALL, "critical,warn", None),
        *in_the_long_form(("critical,error", ALL, None), ("critical,error", "warn,info", None)),
    ],
    ids=["fewer", "more", "others", "fewer-dynamic", "more-dynamic", "others-dynamic"],
)
async def test_it_reads_all_that_it_should_and_says_so(
    deployment: Deployment, before: str, after: str, instance: str | None
) -> None:
    # Long enough that it comes back before anybody notices that it was away, on a busy machine too.
    deployment.configure(session_timeout_s="180")
    fixed = {} if instance is None else {"instance_id": instance}
    worker = await deployment.worker("w", priorities=before, **fixed).start().ready()
    await reads(worker, PARTITIONS * len(before.split(",")))
    if instance is None:
        await worker.stop()  # it says goodbye, and what comes is a new member: the control
    else:
        worker.kill()
    worker = await deployment.worker("w", priorities=after, **fixed).start().ready()
    await reads(worker, PARTITIONS * len(after.split(",")))
    # The fault has struck where it can.
    assert ("joining it anew" in worker.log()) == (instance is not None)
    settings = load_settings(**(deployment._values | {"priorities": after}))
    async with writer(deployment.settings) as out, public_counts(settings) as counts:
        wanted = {Priority(name.upper()) for name in after.split(",")}
        await out.made(made for made in made_load(seed=31, count=1000) if made.priority in wanted)
        await counts.reach(out.published.counts)
        await eventually("the ends are committed", lambda: all_committed(settings))
    await worker.stop()
    if {"CRITICAL", "ERROR"} <= {priority.value for priority in wanted}:
        await check_forwards(settings, out.published, repeats=False)


async def test_it_reads_the_partitions_that_were_added(deployment: Deployment) -> None:
    """All topics were given more, while it was away for less than its session."""
    deployment.configure(session_timeout_s="180")
    settings = deployment.settings
    worker = await deployment.worker("w", instance_id="w-0").start().ready()
    worker.kill()
    async with admin_of(settings.brokers) as admin:
        plan = [spec.name for spec in planned_topics(settings) if spec.notifications or spec.state]
        await raise_partitions(admin, plan, PARTITIONS + 2)
    worker = await worker.start().ready()
    assert "joining it anew" in worker.log()
    await reads(worker, (PARTITIONS + 2) * len(ALL.split(",")))
    await worker.stop()
