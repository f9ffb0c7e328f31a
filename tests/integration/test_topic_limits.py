"""Operators change what a topic takes under a running worker: it waits, says so, and loses nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from streams.settings import Settings
from tests.admin import set_topic_config
from tests.integration.forwards import check_forwards
from tests.integration.reading import all_committed, counts_at_rest, difference, public_counts
from tests.integration.worker_process import Deployment, eventually
from tests.integration.writing import made_load, writer
from tests.long_form import in_the_long_form

pytestmark = pytest.mark.kafka


@asynccontextmanager
async def configured(settings: Settings, topic: str, name: str, value: str) -> AsyncIterator[None]:
    """A topic is configured so, for a while."""
    await asyncio.to_thread(set_topic_config, settings.brokers, topic, name, value)
    yield
    await asyncio.to_thread(set_topic_config, settings.brokers, topic, name, None)


@pytest.mark.parametrize(
    ("name", "value", "kind", "words"),
    [
        ("max.message.bytes", "300", "counts", "have not confirmed counts"),
        # Less than the shortest form of an alert.
        ("max.message.bytes", "100", "alerts", "have not confirmed alerts"),
        *in_the_long_form(("max.message.bytes", "300", "partials", "have not confirmed counts")),
    ],
)
async def test_a_topic_that_takes_nothing_for_a_while(
    deployment: Deployment, name: str, value: str, kind: str, words: str
) -> None:
    settings = deployment.settings
    topic = {
        "counts": settings.event_counts_topic,
        "partials": f"{deployment.unique}-partials",
        "alerts": settings.alert_topic("critical"),
    }[kind]
    worker = await deployment.worker().start().ready()
    async with writer(settings) as out, public_counts(settings) as counts:
        await out.made(made_load(seed=61, count=1000))
        await counts.reach(out.published.counts)
        async with configured(settings, topic, name, value):
            await out.made(made_load(seed=62, count=1000))

            def says_so() -> bool:
                status, body = worker.get("/readyz")
                return status == 503 and words in body.decode()

            await eventually("it says what is not confirmed", lambda: asyncio.to_thread(says_so))
            assert (await asyncio.to_thread(worker.get, "/livez"))[0] == 200
            if kind != "alerts":
                # Nobody who subscribes has to wait for that.
                await check_forwards(settings, out.published, repeats=False)
        await counts.reach(out.published.counts)
        await eventually("the ends are committed", lambda: all_committed(settings))
        await worker.ready()
        await worker.stop()
    assert "Crashed" not in worker.log()
    assert f"Raise {name} of {topic}" in worker.log()
    at_rest = await counts_at_rest(settings)
    assert at_rest.now() == out.published.counts, difference(at_rest.now(), out.published.counts)
    await check_forwards(settings, out.published, repeats=True)
