"""A worker is told to stop while it catches up with a day: hours are still to be summed up from its tables.

Faust closes the tables before it stops its consumer, which asks for a last flush. Without the end that
``Counting.finish`` puts to flushing, that flush read closed tables, and the process never ended.
"""

from __future__ import annotations

import pytest

from tests.benchmarks.history import History, publish
from tests.integration.reading import all_committed
from tests.integration.test_worker_life import create
from tests.integration.worker_process import PARTITIONS, Deployment, eventually

pytestmark = pytest.mark.kafka


async def test_stop_in_replay(deployment: Deployment) -> None:
    names = ("critical", "error", "warn", "info", "debug")
    await create(deployment, **dict.fromkeys(names, PARTITIONS))
    settings = deployment.settings
    history = History(hours=24, event_types=100, every_minutes=60)
    await publish(settings.brokers, settings.notification_topic_prefix, PARTITIONS, history)
    worker = await deployment.worker().start().ready()

    async def counted() -> bool:
        return await all_committed(settings)

    await eventually("everything committed", counted)
    worker.terminate()
    assert await worker.ended() == 0, worker.tail()
    assert "Traceback" not in worker.log()
