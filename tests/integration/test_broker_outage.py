"""An outage of the broker: said in a few lines and by /readyz, no reason for a restart, and without loss."""

from __future__ import annotations

import asyncio
import re
from collections import Counter

import orjson
import pytest

from tests.breakable_kafka import BreakableKafka
from tests.integration.forwards import check_forwards
from tests.integration.reading import all_committed, counts_at_rest, difference, public_counts
from tests.integration.worker_process import Deployment, Worker, eventually
from tests.integration.writing import made_load, writer

pytestmark = pytest.mark.kafka

OUTAGE_S = 30.0
#: Lines of one logger in an outage.
HANDFUL = 10
_LINE = re.compile(r"^\S+Z (WARNING|ERROR|CRITICAL) +(\S+): ")


def troubles(log: str) -> Counter[str]:
    """Warnings and errors by logger; every further line, such as of a traceback, counts for its logger."""
    found: Counter[str] = Counter()
    logger = "(before any)"
    for line in log.splitlines():
        if match := _LINE.match(line):
            logger = match[2]
            found[logger] += 1
        elif not re.match(r"^\S+Z INFO", line):
            found[logger] += 1
    return found


async def through_an_outage(worker: Worker, deployment: Deployment, kafka: BreakableKafka) -> float:
    """Count, lose the broker for a while, get it back, and count on, exactly; returns seconds without it."""
    settings = deployment.settings
    await worker.start().ready()
    async with writer(settings) as out, public_counts(settings) as counts:
        await out.made(made_load(seed=11, count=3000))
        await counts.reach(out.published.counts)
    begun = asyncio.get_running_loop().time()
    await asyncio.to_thread(kafka.kill)

    async def says_why() -> bool:
        status, body = await asyncio.to_thread(worker.get, "/readyz")
        return status == 503 and any("No Kafka broker has answered for " in r for r in reasons(body))

    await eventually("/readyz says that the broker is away", says_why)
    # How long it lasts is the fault itself; all the while a restart is not called for.
    until = asyncio.get_running_loop().time() + OUTAGE_S
    while asyncio.get_running_loop().time() < until:
        assert worker.runs
        assert (await asyncio.to_thread(worker.get, "/livez"))[0] == 200
        assert (await asyncio.to_thread(worker.get, "/startupz"))[0] == 200
        assert await says_why()
        await asyncio.sleep(0.5)
    await asyncio.to_thread(kafka.restart_broker)
    # At once: it is not held back with what the Kafka client repeats.
    await eventually("it says that the broker is back", lambda: " is back after " in worker.log())
    await worker.ready()
    lasted_s = asyncio.get_running_loop().time() - begun
    published = out.published
    async with writer(settings) as out, public_counts(settings) as counts:
        out.published = published
        await out.made(made_load(seed=12, count=3000))
        await counts.reach(published.counts)
        await eventually("the ends are committed", lambda: all_committed(settings))
        await worker.stop()
    at_rest = await counts_at_rest(settings)
    assert at_rest.now() == published.counts, difference(at_rest.now(), published.counts)
    await check_forwards(settings, published, repeats=True)
    return lasted_s


def reasons(body: bytes) -> list[str]:
    """Why a probe failed."""
    found: list[str] = orjson.loads(body)["reasons"] if body else []
    return found


async def test_an_outage_is_told_in_a_handful_of_lines(
    own_deployment: Deployment, own_kafka: BreakableKafka
) -> None:
    worker = own_deployment.worker()
    lasted_s = await through_an_outage(worker, own_deployment, own_kafka)
    log = worker.log()
    assert f"Waiting for the broker at {own_kafka.bootstrap}: no answer for " in log
    found = troubles(log)
    # What is held back is told once a minute.
    assert max(found.values()) <= HANDFUL * (1 + lasted_s // 60), found
    assert " like it in the last " in log


async def test_without_the_limit_there_are_more_lines(
    own_deployment: Deployment, own_kafka: BreakableKafka
) -> None:
    """The control: the same with a handler that writes everything."""
    worker = own_deployment.worker(command=["tests.integration.unlimited_log", "worker"])
    lasted_s = await through_an_outage(worker, own_deployment, own_kafka)
    assert max(troubles(worker.log()).values()) > 10 * HANDFUL * (1 + lasted_s // 60)
