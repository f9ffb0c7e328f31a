"""Partial counts that no combiner ever read: deleted by retention, or of a later release."""

from __future__ import annotations

import asyncio

import pytest
from aiokafka.admin.records_to_delete import RecordsToDelete

from streams.notifications import Priority
from tests.admin import admin_of
from tests.integration.reading import (
    Counts,
    PublicCounts,
    check_counts_at_rest,
    committed_offsets,
    counts_at_rest,
    end_offsets,
    public_counts,
)
from tests.integration.worker_process import Deployment, Worker, eventually
from tests.integration.writing import Published, made_load, writer

pytestmark = pytest.mark.kafka

URGENT = {"pool": "urgent", "priorities": "critical,error"}
REST = {"priorities": "warn,info,debug"}
DAY_LATER = "combined: the sources are asked to send all again"


async def delete_partials(deployment: Deployment) -> int:
    """Do what retention does after a day; how many messages there were."""
    settings = deployment.settings
    ends = await end_offsets(settings.brokers, settings.internal_topic("partials"))
    async with admin_of(settings.brokers) as admin:
        await admin.delete_records({place: RecordsToDelete(end) for place, end in ends.items()})
    return sum(ends.values())


async def main_pool_away_for_a_day(deployment: Deployment, command: list[str] | None) -> Published:
    """A pool counts while the main pool is away, and what it sends is deleted before that is back."""
    main = await deployment.worker("main", **REST).start().ready()
    urgent = await deployment.worker("urgent", **URGENT).start().ready()
    settings = deployment.settings
    async with writer(settings) as out, public_counts(settings) as counts:
        await out.made(made_load(seed=41, count=1000))
        await counts.reach(out.published.counts)
        await main.stop()
        sent = sum((await end_offsets(settings.brokers, settings.internal_topic("partials"))).values())
        await out.made(made_load(seed=42, count=4000))

        # What lies in the group of the pool.
        group_id = settings.model_copy(update={"pool": "urgent"}).group_id
        of_urgent = settings.model_copy(update={"app_id": group_id})
        topics = [settings.notification_topic(each) for each in (Priority.CRITICAL, Priority.ERROR)]

        async def all_handled() -> bool:
            ends = await end_offsets(settings.brokers, *topics)
            committed = await committed_offsets(of_urgent)
            return all(committed.get(place, 0) == end for place, end in ends.items())

        await eventually("the urgent pool has committed the ends", all_handled)

        async def all_sent() -> bool:
            # Nothing is left to send when it has been quiet for some flushes as well.
            await asyncio.sleep(4.0)
            nonlocal sent
            before = sent
            sent = sum((await end_offsets(settings.brokers, settings.internal_topic("partials"))).values())
            return sent == before

        await eventually("the urgent pool has sent its counts", all_sent)
        # The end of a minute may have come meanwhile.
        assert await delete_partials(deployment) >= sent
        main = deployment.worker("main-again", command=command, **REST)
        main._environment["CHANGED_PARTIALS"] = "silent"
        await main.start().ready()
        if command is None:
            await counts.reach(out.published.counts)
            # Totals come with the first of the buckets that are sent again.
            await eventually("so are the buckets", lambda: _hour_is(counts, out.published.counts))
        else:
            rest = sum(n for (p, _), n in out.published.counts.items() if p not in {"CRITICAL", "ERROR"})
            await eventually("the rest is counted", lambda: _counted(counts, ("WARN", "INFO", "DEBUG"), rest))
        assert DAY_LATER in main.log()
        await main.stop()
        await urgent.stop()
    return out.published


async def _hour_is(counts: PublicCounts, expected: Counts) -> bool:
    await counts.refresh()
    return counts.now("1h") == expected


async def _counted(counts: object, priorities: tuple[str, ...], number: int) -> bool:
    found = await counts.refresh()  # type: ignore[attr-defined]
    return bool(sum(n for (p, _), n in found.items() if p in priorities) == number)


async def test_the_main_pool_was_away_for_longer_than_partials_are_kept(deployment: Deployment) -> None:
    published = await main_pool_away_for_a_day(deployment, None)
    await check_counts_at_rest(deployment.settings, published.counts)


async def test_without_asking_again_counts_are_missing(deployment: Deployment) -> None:
    """The control."""
    command = ["tests.integration.changed_partials", "worker"]
    published = await main_pool_away_for_a_day(deployment, command)
    at_rest = await counts_at_rest(deployment.settings)
    assert at_rest.now().total() < published.counts.total()


def of_release(deployment: Deployment, name: str, *, later: bool) -> Worker:
    """A worker of this release, or of a later one whose messages this one cannot read."""
    worker = deployment.worker(
        name, command=["tests.integration.changed_partials" if later else "tocsin", "worker"]
    )
    worker._environment["CHANGED_PARTIALS"] = "later"
    return worker


async def test_an_upgrade_back_and_forth_is_exact(deployment: Deployment) -> None:
    """Workers of two releases beside each other, on the way up and on the way down, under load."""
    settings = deployment.settings
    first = await of_release(deployment, "first", later=False).start().ready()
    async with writer(settings) as out, public_counts(settings) as counts:
        async with out.steadily(made_load(seed=43), rate=300):
            await out.goes_on(500)
            up = await of_release(deployment, "up", later=True).start().ready()
            await eventually("some message cannot be read", lambda: "cannot be read, and its" in first.log())
            await out.goes_on(1500)
            await first.stop()
            await up.ready()
            await out.goes_on(500)
        # All of the later release: exact.
        await counts.reach(out.published.counts)
        async with out.steadily(made_load(seed=44), rate=300):
            down = await of_release(deployment, "down", later=False).start().ready()
            await eventually("some message cannot be read", lambda: "cannot be read, and its" in down.log())
            await out.goes_on(1500)
            await up.stop()
            await down.ready()
            await out.goes_on(500)
        await counts.reach(out.published.counts)
        await down.stop()
    await check_counts_at_rest(deployment.settings, out.published.counts)
