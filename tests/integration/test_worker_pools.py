"""Pools with priorities of their own: exact counts, no alert missed, and no wrong pool beside another."""

from __future__ import annotations

import json
from itertools import islice
from typing import Any

import pytest

from streams.settings import EXIT_CONFIG, Settings, load_settings
from tests.integration.forwards import check_at_rest, check_forwards
from tests.integration.reading import (
    PublicCounts,
    all_committed,
    committed_offsets,
    counts_at_rest,
    end_offsets,
    notification_topics,
    public_counts,
)
from tests.integration.worker_process import SHORT_SESSION_TIMEOUT_S, Deployment, Worker, eventually
from tests.integration.writing import Published, made_load, writer
from tests.long_form import in_the_long_form

pytestmark = pytest.mark.kafka

URGENT = {"pool": "urgent", "priorities": "critical,error"}
REST = {"priorities": "warn,info,debug"}


def pool_settings(deployment: Deployment, **values: str) -> Settings:
    return load_settings(**(deployment._values | values))


async def all_pools_committed(deployment: Deployment) -> bool:
    """Whether the ends of all notification topics are committed by the pools that serve them."""
    ends = await end_offsets(deployment.settings.brokers, *notification_topics(deployment.settings))
    committed = {}
    for values in (URGENT, REST):
        settings = pool_settings(deployment, **values)
        mine = await committed_offsets(settings.model_copy(update={"app_id": settings.group_id}))
        topics = set(notification_topics(settings))
        committed |= {place: offset for place, offset in mine.items() if place.topic in topics}
    return all(committed.get(place, 0) == end for place, end in ends.items())


def body_of(worker: Worker, path: str) -> Any:
    status, body = worker.get(path)
    assert status == 200, body
    return json.loads(body)


async def shown_by(worker: Worker, published: Published) -> None:
    """Wait until a worker's own API shows all counts, whichever pool counted them."""
    expected = published.counts.total()

    def all_there() -> bool:
        answer = body_of(worker, "/api/v1/counts?window=total&limit=1000")
        whole = answer["complete"] is True and answer["missing_partitions"] == []
        return whole and sum(item["count"] for item in answer["items"]) == expected

    await eventually(f"{worker.name} shows {expected} counts, and that these are all", all_there)


async def more_counted(counts: PublicCounts, goal: int) -> None:
    async def reached() -> bool:
        return (await counts.refresh()).total() >= goal

    await eventually(f"{goal} counted", reached)


async def test_two_pools_and_kill_9_of_each(deployment: Deployment) -> None:
    deployment.configure(session_timeout_s=f"{SHORT_SESSION_TIMEOUT_S}")
    settings = deployment.settings
    rest = await deployment.worker("rest", **REST).start().ready()
    urgent = await deployment.worker("urgent", instance_id="urgent-0", **URGENT).start().ready()
    assert "Working on 8 partitions" in urgent.log()
    assert "Working on 12 partitions" in rest.log()
    async with writer(settings) as out, public_counts(settings) as counts:
        load = made_load(seed=21)
        async with out.steadily(load):
            await more_counted(counts, out.published.counts.total() + 1000)
            urgent.kill()
            # The other pool goes on meanwhile.
            await more_counted(counts, counts.now().total() + 1000)
            await urgent.start().ready()
            await more_counted(counts, out.published.counts.total())
            rest.kill()
        # The urgent one counts and forwards on its own; the combiner comes back in another folder.
        rest = await deployment.worker("rest-again", **REST).start().ready()
        await out.made(islice(load, 10_000))
        await counts.reach(out.published.counts)
        await eventually("the ends are committed", lambda: all_pools_committed(deployment))

        for worker, pool, classes in ((urgent, "urgent", 2), (rest, "main", 3)):
            await shown_by(worker, out.published)
            shown = body_of(worker, "/api/v1/scheduler")
            assert shown["pool"] == pool
            assert len(shown["classes"]) == classes
            assert sum(each["share"]["configured"] for each in shown["classes"]) == pytest.approx(1.0)
            assert all(each["lag"]["records"] == 0 for each in shown["classes"])
            assert worker.get("/metrics")[0] == 200
        await urgent.stop()
        await rest.stop()
    await check_at_rest(deployment.settings, out.published)


async def test_a_priority_moves_to_a_pool_of_its_own_and_back(deployment: Deployment) -> None:
    """Counts go on, and nothing that the other pool had committed is read or forwarded again."""
    settings = deployment.settings
    async with writer(settings) as out:
        main = await deployment.worker("main").start().ready()
        async with public_counts(settings) as counts:
            await out.made(made_load(seed=22, count=4000))
            await counts.reach(out.published.counts)
            await main.stop()

            rest = await deployment.worker("rest", **REST).start().ready()
            urgent = await deployment.worker("urgent", **URGENT).start().ready()
            assert "Going on from where another pool was" in urgent.log()
            await out.made(made_load(seed=23, count=4000))
            await counts.reach(out.published.counts)
            await urgent.stop()
            await rest.stop()

            main = await deployment.worker("main-again").start().ready()
            assert "Going on from where another pool was" in main.log()
            await out.made(made_load(seed=27, count=2000))
            await counts.reach(out.published.counts)
            await main.stop()
    at_rest = await counts_at_rest(settings)
    assert at_rest.now() == out.published.counts
    await check_forwards(settings, out.published, repeats=False)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"pool": "urgent", "priorities": "critical,error,warn"}, "serve warn, as this one would"),
        ({"priorities": "critical,error"}, "give it a TOCSIN_POOL of its own"),
        *in_the_long_form(({"pool": "other", "priorities": "debug"}, "serve debug, as this one would")),
    ],
    ids=["overlap", "same-group", "one-class"],
)
async def test_a_pool_that_overlaps_refuses_to_start(
    deployment: Deployment, wrong: dict[str, str], sentence: str
) -> None:
    """The one of the same group would combine with other subscriptions: what the pools exist to avoid."""
    await deployment.worker("rest", **REST).start().ready()
    second = deployment.worker("second", **wrong).start()
    assert await second.ended() == EXIT_CONFIG
    assert sentence in second.log()
    assert "Traceback" not in second.log()


async def test_a_pool_that_overlaps_one_of_several_refuses_to_start(deployment: Deployment) -> None:
    """Several groups of one coordinator come in one answer, which aiokafka reads wrongly."""
    await deployment.worker("rest", **REST).start().ready()
    await deployment.worker("urgent", **URGENT).start().ready()
    third = deployment.worker("third", pool="other", priorities="error").start()
    assert await third.ended() == EXIT_CONFIG
    assert "serve error, as this one would" in third.log()
    third = deployment.worker("third", pool="other", priorities="info").start()
    assert await third.ended() == EXIT_CONFIG
    assert "serve info, as this one would" in third.log()


async def test_pools_that_overlap_are_found_while_they_run(deployment: Deployment) -> None:
    """One of the two ends, with the sentence that it would have said at its start; the other goes on."""
    settings = deployment.settings
    main = await deployment.worker("main").start().ready()
    late = ["tests.integration.unchecked_start", "worker"]
    # It may find out before it is ready.
    urgent = deployment.worker("urgent", command=late, **URGENT).start()
    assert await urgent.ended() == EXIT_CONFIG
    assert "serve critical,error, as this one would" in urgent.log()
    async with writer(settings) as out, public_counts(settings) as counts:
        await out.made(made_load(seed=28, count=1000))
        await counts.reach(out.published.counts)
        await eventually("the ends are committed", lambda: all_committed(settings))
        await main.stop()
    await check_forwards(settings, out.published, repeats=False)


async def test_disjoint_pools_start_and_a_pool_without_the_main_one_says_so(deployment: Deployment) -> None:
    """The control of the one above; and what is counted before the main pool has a worker shows later."""
    urgent = await deployment.worker("urgent", **URGENT).start().ready()
    assert "The main pool" in urgent.log()
    settings = pool_settings(deployment, **URGENT)
    async with writer(deployment.settings) as out:
        load = (made for made in made_load(seed=24, count=3000) if made.priority in settings.priorities)
        await out.made(load)
        rest = await deployment.worker("rest", **REST).start().ready()
        async with public_counts(deployment.settings) as counts:
            await counts.reach(out.published.counts)
        await urgent.stop()
        await rest.stop()


async def test_pools_that_overlap_all_the_same_count_exactly(deployment: Deployment) -> None:
    """Two that start at once may not see each other: they forward twice with one id, and count once."""
    deployment.configure(session_timeout_s=f"{SHORT_SESSION_TIMEOUT_S}")
    settings = deployment.settings
    unchecked = ["tests.integration.unchecked_worker", "worker"]
    main = await deployment.worker("main", command=unchecked).start().ready()
    urgent = await deployment.worker("urgent", command=unchecked, **URGENT).start().ready()
    async with writer(settings) as out, public_counts(settings) as counts:
        async with out.steadily(made_load(seed=25)):
            await more_counted(counts, out.published.counts.total() + 1000)
            urgent.kill()
            await more_counted(counts, out.published.counts.total())
            await urgent.start().ready()
            main.kill()
        main = await deployment.worker("main-again", command=unchecked).start().ready()
        await out.made(made_load(seed=26, count=2000))
        await counts.reach(out.published.counts)
        await urgent.stop()
        await main.stop()
    await check_at_rest(deployment.settings, out.published)
