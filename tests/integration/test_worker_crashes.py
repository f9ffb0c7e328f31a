"""Exact counts and no missing forward, whatever happens to workers in mid-stream."""

from __future__ import annotations

import asyncio
from itertools import islice

import pytest

from streams.notifications import Priority
from tests.admin import set_topic_config
from tests.integration.forwards import check_at_rest, read_forwards
from tests.integration.reading import (
    PublicCounts,
    all_committed,
    committed_offsets,
    end_offsets,
    notification_topics,
    public_counts,
)
from tests.integration.worker_process import SHORT_SESSION_TIMEOUT_S, Deployment, Worker, eventually
from tests.integration.writing import made_load, writer

pytestmark = pytest.mark.kafka


async def forwarded_so_far(deployment: Deployment) -> int:
    topics = [deployment.settings.alert_topic(p) for p in (Priority.CRITICAL, Priority.ERROR)]
    return sum((await end_offsets(deployment.settings.brokers, *topics)).values())


async def more_counted(counts: PublicCounts, goal: int) -> None:
    async def reached() -> bool:
        return (await counts.refresh()).total() >= goal

    await eventually(f"{goal} counted", reached)


@pytest.mark.parametrize("fresh_folder", [False, True], ids=["same-folder", "fresh-folder"])
async def test_kill_9_in_the_middle(deployment: Deployment, fresh_folder: bool) -> None:
    # A worker in a fresh folder has no name in the group: the next one waits until it is given up.
    deployment.configure(session_timeout_s=f"{SHORT_SESSION_TIMEOUT_S}")
    settings = deployment.settings

    def next_worker(number: int) -> Worker:
        if fresh_folder:
            return deployment.worker(f"worker-{number}")
        # With its folder it keeps its name in the group, and so gets its partitions back at once.
        return deployment.worker("worker", instance_id=f"{deployment.unique}-0")

    first = await next_worker(1).start().ready()
    async with writer(settings) as out, public_counts(settings) as counts:
        load = made_load(seed=2)

        # The first one dies as soon as a count shows: rows, counts and offsets are partly written.
        async with out.steadily(load):
            await more_counted(counts, out.published.counts.total() + 1)
            first.kill()

        # The second one dies as soon as a part of what is new has been forwarded, counted or not.
        second = await next_worker(2).start().ready()
        known = out.published.number_forwarded

        async def forwarded() -> bool:
            return await forwarded_so_far(deployment) > known + 50

        async with out.steadily(load):
            await eventually("new notifications are forwarded", forwarded)
            second.kill()

        third = next_worker(3).start()
        await out.made(islice(load, 20_000))
        await counts.reach(out.published.counts)
        await eventually("the ends are committed", lambda: all_committed(settings))
        await third.stop()
    await check_at_rest(deployment.settings, out.published)


async def test_second_worker_joins_and_leaves(deployment: Deployment) -> None:
    settings = deployment.settings
    first = await deployment.worker("first").start().ready()
    second = deployment.worker("second")
    async with writer(settings) as out, public_counts(settings) as counts:
        async with out.steadily(made_load(seed=3)):
            await second.start().ready()
            assert "Working on 10 partitions" in second.log()
            await more_counted(counts, out.published.counts.total())
            await second.stop()
            assert "did not finish" not in second.log()
            await more_counted(counts, out.published.counts.total())
            assert "Working on 10 partitions" in first.log()
        await counts.reach(out.published.counts)
        await first.stop()
    await check_at_rest(deployment.settings, out.published)


async def test_nothing_is_committed_past_a_forward_that_is_not_confirmed(deployment: Deployment) -> None:
    settings = deployment.settings
    alerts = settings.alert_topic(Priority.CRITICAL)
    critical = settings.notification_topic(Priority.CRITICAL)
    worker = await deployment.worker(instance_id=f"{deployment.unique}-0").start().ready()
    async with writer(settings) as out, public_counts(settings) as counts:
        # The broker finds every alert too large, and takes everything else. (To find them too old would not
        # do: one that arrives within its millisecond is not.)
        await asyncio.to_thread(set_topic_config, settings.brokers, alerts, "max.message.bytes", "1")
        await out.made(made_load(seed=6, count=3000))
        await counts.reach(out.published.counts)

        async def others_committed() -> bool:
            ends = await end_offsets(settings.brokers, *notification_topics(settings))
            committed = await committed_offsets(settings)
            return all(committed.get(at, 0) == end for at, end in ends.items() if at.topic != critical)

        await eventually("all but CRITICAL is committed", others_committed)
        assert out.published.forwarded["CRITICAL"]
        assert not await read_forwards(settings, "CRITICAL")
        committed = await committed_offsets(settings)
        assert [at for at, offset in committed.items() if at.topic == critical and offset > 0] == []
        worker.kill()
        await asyncio.to_thread(set_topic_config, settings.brokers, alerts, "max.message.bytes", str(2**23))
        worker.start()
        await eventually("CRITICAL is committed, too", lambda: all_committed(settings))
        await worker.stop()
    await check_at_rest(deployment.settings, out.published)
