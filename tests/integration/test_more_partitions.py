"""Topics that are given more partitions, while workers run, while none does, and against all advice: lost 0,
twice 0, in the totals and in the last hour; one alert for each CRITICAL and ERROR.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable

import pytest

from streams.broker.topic_plan import planned_topics, slices_topic
from streams.broker.topics import check_topics
from streams.notifications import Priority
from streams.settings import Settings
from tests.admin import admin_of, raise_partitions
from tests.integration.forwards import check_forwards
from tests.integration.reading import (
    Counts,
    all_committed,
    committed_offsets,
    counts_at_rest,
    difference,
    end_offsets,
    notification_topics,
    public_counts,
    read_all,
)
from tests.integration.worker_process import PARTITIONS, Deployment, Worker, eventually
from tests.integration.writing import Writer, made_load, writer
from tests.long_form import in_the_long_form

pytestmark = pytest.mark.kafka

MORE = 2 * PARTITIONS
#: No multiple of the slices.
ODD = 11
LEAVE_IT = "so the others stay empty: leave it as it is, and raise notification topics alone"


async def raise_to(settings: Settings, partitions: int, topics: Iterable[str]) -> None:
    """Give topics more partitions."""
    async with admin_of(settings.brokers) as admin:
        await raise_partitions(admin, topics, partitions)


def state_topics(settings: Settings) -> list[str]:
    """The topics that hold counts, which old advice had raised along."""
    return [spec.name for spec in planned_topics(settings) if spec.state]


def sources(*workers: Worker) -> int:
    """Partitions of notification topics that ready workers read; -1 when one of them is not ready."""
    found = 0
    for worker in workers:
        status, body = worker.get("/readyz")
        if status != 200:
            return -1
        found += json.loads(body)["details"]["sources"]
    return found


async def read_together(number: int, *workers: Worker) -> None:
    await eventually(f"{number} sources are read", lambda: sources(*workers) == number)


async def counted(settings: Settings, out: Writer) -> None:
    """Wait until all is counted and committed, exactly."""
    async with public_counts(settings) as counts:
        await counts.reach(out.published.counts)
    await eventually("the ends are committed", lambda: all_committed(settings))


async def all_combined(settings: Settings) -> bool:
    """Whether combiners have committed all partial counts."""
    ends = await end_offsets(settings.brokers, settings.internal_topic("partials"))
    committed = await committed_offsets(settings)
    return all(committed.get(place, 0) == end for place, end in ends.items())


async def all_is_right(settings: Settings, published: Counts) -> None:
    """The counts at rest, in the totals and in the last hour."""
    counts = await counts_at_rest(settings)
    for window in ("total", "1h"):
        found = counts.now(window)
        assert found == published, f"{window}: {difference(found, published)}"


async def test_workers_take_them_on_without_a_restart(deployment: Deployment) -> None:
    """Twice more, the second time one topic alone and to an odd number; then a crash, and disks are lost."""
    settings = deployment.settings
    first, second = [await deployment.worker(name).start().ready() for name in ("a", "b")]
    load = made_load(seed=61)
    async with writer(settings) as out:
        async with out.steadily(load, rate=600):
            await out.goes_on(600)
            await raise_to(settings, MORE, notification_topics(settings))
            await out.spread_over(MORE)
            await out.goes_on(600)
            await read_together(MORE * len(settings.priorities), first, second)
            await out.goes_on(600)
            await raise_to(settings, ODD, [settings.notification_topic(Priority.CRITICAL)])
            await read_together(MORE * (len(settings.priorities) - 1) + ODD, first, second)
            await out.goes_on(600)
        await counted(settings, out)
        assert first.runs
        assert second.runs
        async with out.steadily(load, rate=600):
            first.kill()
            shutil.rmtree(deployment.folder / "a")
            await first.start().ready()
            await second.stop()
            await second.start().ready()
            await out.goes_on(600)
        await counted(settings, out)
        await first.stop()
        await second.stop()
    await all_is_right(settings, out.published.counts)
    await check_forwards(settings, out.published, repeats=True)


@pytest.mark.parametrize(
    "which", ["notification topics", "all of them", *in_the_long_form("those that hold counts")]
)
async def test_raised_while_no_worker_runs(deployment: Deployment, which: str) -> None:
    """Old advice was to raise the topics that hold counts, too: that changes nothing."""
    settings = deployment.settings
    worker = await deployment.worker(instance_id="w-0").start().ready()
    async with writer(settings) as out:
        await out.made(made_load(seed=62, count=800))
        await counted(settings, out)
        worker.kill()
        raised = {
            "notification topics": notification_topics(settings),
            "all of them": notification_topics(settings) + state_topics(settings),
            "those that hold counts": state_topics(settings),
        }[which]
        await raise_to(settings, MORE, raised)
        await worker.start().ready()
        if which != "those that hold counts":
            await out.spread_over(MORE)
        await read_together(out.partitions * len(settings.priorities), worker)
        problems = await check_topics(settings)
        assert [each for each in problems if each.severity == "error"] == []
        said = [each.topic for each in problems if LEAVE_IT in each.sentence]
        assert said == ([] if which == "notification topics" else state_topics(settings))
        await out.made(made_load(seed=63, count=800))
        await counted(settings, out)
        await worker.stop()
        await worker.start().ready()
        await out.made(made_load(seed=64, count=100))
        await counted(settings, out)
        await worker.stop()
    await all_is_right(settings, out.published.counts)
    await check_forwards(settings, out.published, repeats=True)


async def test_pools_take_them_on(deployment: Deployment) -> None:
    """Each group finds its own; the counts of both are combined in the slices that there were."""
    deployment.configure(forward_priorities="none")
    settings = deployment.settings
    urgent = await deployment.worker("u", pool="urgent", priorities="critical,error").start().ready()
    main = await deployment.worker("m", priorities="warn,info,debug").start().ready()
    load = made_load(seed=70)
    async with writer(settings) as out:
        async with out.steadily(load, rate=600):
            await out.goes_on(600)
            await raise_to(settings, MORE, notification_topics(settings))
            await out.spread_over(MORE)
            await read_together(MORE * len(settings.priorities), urgent, main)
            await out.goes_on(600)
            urgent.kill()
            await urgent.start().ready()
            await out.goes_on(600)
        async with public_counts(settings) as counts:
            await counts.reach(out.published.counts)
        await urgent.stop()
        await main.stop()
    await all_is_right(settings, out.published.counts)


async def test_an_older_version_whose_topics_were_raised_already(deployment: Deployment) -> None:
    """It kept no number of slices, and refused to start: this version goes by the topics that hold counts."""
    settings = deployment.settings
    worker = await deployment.worker().start().ready()
    async with writer(settings) as out:
        await out.made(made_load(seed=65, count=500))
        await counted(settings, out)
        await worker.stop()
        async with admin_of(settings.brokers) as admin:
            await admin.delete_topics([slices_topic(settings)])
            topic = slices_topic(settings)

            async def gone() -> bool:
                return topic not in await admin.list_topics()

            await eventually(f"{topic} is gone", gone)
        await raise_to(settings, MORE, notification_topics(settings))
        await out.spread_over(MORE)
        await worker.start().ready()
        await out.made(made_load(seed=66, count=500))
        await counted(settings, out)
        await worker.stop()
    (kept,) = await read_all(settings.brokers, slices_topic(settings))
    assert json.loads(kept.value) == {"slices": PARTITIONS}
    await all_is_right(settings, out.published.counts)


async def test_slices_that_follow_partitions_count_twice(deployment: Deployment) -> None:
    """The control: a worker without the kept number, whose topics were raised as old advice was."""
    settings = deployment.settings
    command = ["tests.integration.unsliced_worker", "worker"]
    worker = await deployment.worker(command=command).start().ready()
    async with writer(settings) as out:
        await out.made(made_load(seed=68, count=800))
        await counted(settings, out)
        await worker.stop()
        await raise_to(settings, MORE, notification_topics(settings) + state_topics(settings))
        await worker.start().ready()
        await out.spread_over(MORE)
        await out.made(made_load(seed=69, count=800))
        await eventually("the ends are committed", lambda: all_committed(settings))
        await eventually("all is combined", lambda: all_combined(settings))
        await worker.stop()
        with pytest.raises(AssertionError, match="counted for"):
            await all_is_right(settings, out.published.counts)
