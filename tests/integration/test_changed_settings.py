"""Settings that decide what a record is counted as, changed between crash and restart: lost 0, twice 0."""

from __future__ import annotations

import time
from collections import Counter, defaultdict

import pytest

from streams.notifications import Priority
from streams.notifications.encoding import encode
from tables.reserved_types import DEAD_LETTERS
from tests.integration.reading import (
    Counts,
    all_committed,
    counts_at_rest,
    difference,
    public_counts,
    read_all,
)
from tests.integration.test_verify import verify
from tests.integration.worker_process import SHORT_SESSION_TIMEOUT_S, Deployment, eventually
from tests.integration.writing import Writer, writer

pytestmark = pytest.mark.kafka

BEFORE = {"lateness_s": "3600", "max_event_type_length": "255", "max_event_types": "3"}
AFTER = {"lateness_s": "60", "max_event_type_length": "100", "max_event_types": "1000"}
LATE_S = 900
LONG = "x" * 200


async def publish(out: Writer, deployment: Deployment, turn: int) -> Counts:
    """Twenty each, late all of them: one event type is long; one priority is forwarded, and one is not."""
    published: Counts = Counter()
    for priority in (Priority.CRITICAL, Priority.WARN):
        topic = deployment.settings.notification_topic(priority)
        for event_type in ("late", LONG):
            for number in range(20):
                stated_ms = int((time.time() - LATE_S) * 1000)
                message = f"{event_type[:9]}-{turn}-{number}"
                await out.raw(topic, encode("host", event_type, priority, {}, stated_ms, message))
            published[priority.value, event_type] += 20
    return published


async def crash_and_restart(deployment: Deployment, *mode: str) -> tuple[Counts, Counts, Counts]:
    """What must be counted; and what is, in the totals and in the last hour."""
    deployment.configure(session_timeout_s=f"{SHORT_SESSION_TIMEOUT_S}")
    command = ["tests.integration.uncommitted_worker", *mode, "worker"]
    worker = await deployment.worker("w", command=command, **BEFORE).start().ready()
    async with writer(deployment.settings) as out:
        expected = await publish(out, deployment, 1)
        async with public_counts(deployment.settings) as counts:
            await counts.reach(expected)
            worker.kill()
            worker = await deployment.worker("w", command=command, **AFTER).start().ready()
            # By the new settings, what is too long cannot be read.
            for (priority, event_type), number in (await publish(out, deployment, 2)).items():
                expected[priority, DEAD_LETTERS if event_type == LONG else event_type] += number
            await eventually("as many are counted", lambda: reached(counts, expected))
        await worker.stop()
    at_rest = await counts_at_rest(deployment.settings)
    return expected, at_rest.now(), at_rest.now("1h")


async def reached(counts: object, expected: Counts) -> bool:
    return (await counts.refresh()).total() >= expected.total()  # type: ignore[attr-defined]


async def test_what_was_counted_stays_counted_as_it_was(deployment: Deployment) -> None:
    expected, totals, hour = await crash_and_restart(deployment)
    assert totals == expected, difference(totals, expected)
    assert hour == expected, difference(hour, expected)
    settings = deployment.settings
    contents = defaultdict(set)
    for record in await read_all(settings.brokers, settings.alert_topic("critical")):
        contents[dict(record.headers)["ce_id"]].add((record.key, record.value))
    # Of the second turn, what cannot be read rings as that.
    assert [len(each) for each in contents.values()] == [1] * 80
    # Nobody committed any of it; a worker that does goes on from there.
    worker = await deployment.worker("w", **AFTER).start().ready()
    await eventually("the ends are committed", lambda: all_committed(settings))
    deployment.configure(**AFTER)
    code, report = await verify(deployment)
    assert code == 0, report
    await worker.stop()
    at_rest = await counts_at_rest(settings)
    assert (at_rest.now(), at_rest.now("1h")) == (expected, expected)


async def test_a_worker_that_forgets_the_old_settings_counts_twice(deployment: Deployment) -> None:
    """The control."""
    expected, totals, hour = await crash_and_restart(deployment, "forgetful")
    assert hour.total() > expected.total(), (hour, totals)
