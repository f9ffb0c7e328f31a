"""A whole worker on a real Kafka: what is published is counted, forwarded and committed."""

from __future__ import annotations

import orjson
import pytest

from streams.notifications import Priority
from tests.integration.forwards import check_forwards, read_forwards
from tests.integration.reading import all_committed, counts_at_rest, public_counts
from tests.integration.worker_process import Deployment, eventually
from tests.integration.writing import made_load, writer

pytestmark = pytest.mark.kafka


async def test_worker_counts_and_forwards(deployment: Deployment) -> None:
    settings = deployment.settings
    worker = await deployment.worker().start().ready()
    async with writer(settings) as out, public_counts(settings) as counts:
        await out.made(made_load(seed=1, count=2000))
        expected = out.published.counts
        assert {priority for priority, _ in expected} == {"CRITICAL", "ERROR", "WARN", "INFO", "DEBUG"}
        await counts.reach(expected)
        await eventually("the ends are committed", lambda: all_committed(settings))
    await worker.stop()
    at_rest = await counts_at_rest(settings)
    assert at_rest.now() == expected
    assert at_rest.now("1h") == expected
    await check_forwards(settings, out.published, repeats=False)
    for priority in (Priority.CRITICAL, Priority.ERROR):
        for place, (record,) in (await read_forwards(settings, priority)).items():
            alert = orjson.loads(record.value)
            headers = {name: content.decode() for name, content in record.headers}
            assert alert["labels"]["severity"] == priority.lower()
            assert alert["notification"]["event_type"] == alert["labels"]["alertname"]
            assert alert["notification"]["priority"] == priority
            assert alert["state"] == "firing"
            assert record.key.decode() == alert["fingerprint"]
            assert headers == {
                "ce_specversion": "1.0",
                "ce_id": alert["id"],
                "ce_source": f"tocsin/{place[0]}",
                "ce_type": "io.tocsin.alert.forwarded.v1",
                "ce_time": alert["startsAt"],
                "ce_subject": alert["labels"]["alertname"],
                "content-type": "application/json",
            }
