"""A worker's state may be thrown away: it comes back from its folder, the changelogs, or the topics."""

from __future__ import annotations

import asyncio
import shutil
from operator import itemgetter
from pathlib import Path
from typing import Any

import orjson
import pytest
import rocksdict

from streams.settings import Settings
from tables.buckets import FINE
from tables.rows import bucket_name
from tests.integration.forwards import check_forwards
from tests.integration.reading import (
    Counts,
    all_committed,
    counts_at_rest,
    difference,
    notification_topics,
    public_counts,
    read_all,
    stop_combined,
)
from tests.integration.worker_process import PARTITIONS, Deployment, Worker, eventually
from tests.integration.writing import Writer, made_load, writer

pytestmark = pytest.mark.kafka

NUMBER = 20_000
TABLES = ("partial-counts", "combined-counts")
#: (table and partition) -> rows
Rows = dict[tuple[str, str], dict[bytes, Any]]


def rows_of(data_dir: Path) -> Rows:
    """Every row of the tables in a worker's data folder; the worker must not run.

    Of the versions of a row that the one holds which was written last; who wrote it is no matter. Of a base
    row only the totals: which minutes are open changes whenever one is rolled up, 20 s after its end. An
    assignment writes them afresh and as far as they are known, as of the same offset; until the former
    version is deleted, which a stop may come before, there are both.
    """
    found: Rows = {}
    for folder in sorted(data_dir.rglob("*.db")):
        db = rocksdict.Rdict(
            str(folder), rocksdict.Options(raw_mode=True), access_type=rocksdict.AccessType.read_only()
        )
        versions: dict[bytes, tuple[int, Any]] = {}
        for key, value in db.items():
            if not key.startswith(b"__"):
                name = key.partition(b"@")[0]
                body = orjson.loads(value[8:])
                if name.startswith(b"b/"):
                    body = body["totals"]
                counted = 0 if name.startswith(b"e/") else counted_in(body)  # a life counts none
                version = (int.from_bytes(value[:8], "big", signed=True), counted, body)
                versions[name] = max(versions.get(name, version), version, key=itemgetter(0, 1))
        db.close()
        table, partition = folder.stem.rsplit("-", 1)
        rows = {name: body for name, (_, _, body) in versions.items()}
        if table == "partial-counts":
            rows |= {name: whole_totals(name, rows) for name in rows if name.startswith(b"b/")}
        found[table, partition] = rows
    return found


def counted_in(body: Any) -> int:
    """Sum of the counts in a row, which come first in its entries."""
    if isinstance(body, dict):
        return sum(map(counted_in, body.values()))
    return int(body[0] if isinstance(body, list) else body)


def lost_or_changed(before: Rows, after: Rows) -> list[str]:
    """Rows of before that are missing or different after, with what they were and are."""
    return [
        f"{'-'.join(place)} {key!r}: {value} is now {found}"
        for place, rows in before.items()
        for key, value in rows.items()
        if (found := after.get(place, {}).get(key)) != value
    ]


def whole_totals(base: bytes, rows: dict[bytes, Any]) -> dict[str, list[int]]:
    """Event type -> total and time of a source: the latest of what its base row and its 10 s rows say.

    When a base row takes over what only 10 s rows said is a matter of time.
    """
    found = dict(rows[base])
    fine = bucket_name(base.removeprefix(b"b/").decode(), FINE, 0).rpartition(b"/")[0] + b"/"
    for name, entries in rows.items():
        if name.startswith(fine):
            for event_type, (_, total, seen_ms, *_) in entries.items():
                known = found.get(event_type, [0, -1])
                if total:
                    found[event_type] = [max(total, known[0]), max(seen_ms, known[1])]
    return found


async def started(worker: Worker) -> dict[str, Any]:
    """Start it, hold /startupz to its word until the worker is ready, and return what it says then."""
    worker.start()
    answer: dict[str, Any] = {}

    async def done() -> bool:
        assert worker.runs, worker.tail()
        status, body = await asyncio.to_thread(worker.get, "/startupz")
        if not status:
            return False
        answer.clear()
        answer.update(orjson.loads(body))
        assert (status == 200) == (answer["details"]["phase"] == "ready") == (not answer["reasons"])
        return status == 200

    await eventually(f"{worker.name} has started", done)
    details: dict[str, Any] = answer["details"]
    assert details["records"]["done"] == details["records"]["total"]
    assert details["estimated_s"] is None
    assert len(details["tables"]) == len(TABLES) * PARTITIONS
    assert worker.log().count("Recovered in ") == 1
    return details


async def settled_rows(worker: Worker, settings: Settings, data: Path) -> Rows:
    """Its rows once it has stopped. An assignment begins with writing the totals afresh."""
    await stop_combined(worker, settings)
    await worker.start().ready()
    await stop_combined(worker, settings)
    return rows_of(data)


async def counted(out: Writer, deployment: Deployment, more: int) -> None:
    """Publish, wait until all is counted and committed."""
    async with public_counts(deployment.settings) as counts:
        await out.made(made_load(seed=more, count=more))
        await counts.reach(out.published.counts)
    await eventually("the ends are committed", lambda: all_committed(deployment.settings))


async def check(deployment: Deployment, expected: Counts) -> None:
    at_rest = await counts_at_rest(deployment.settings)
    assert at_rest.now() == expected, difference(at_rest.now(), expected)


async def test_recovery_from_local_state_and_from_the_changelog(deployment: Deployment) -> None:
    # The second member waits until the first is given up, which keeps its name in the group when it ends.
    deployment.configure(session_timeout_s="15")
    settings = deployment.settings
    first = deployment.worker("first", instance_id=f"{deployment.unique}-0")
    data = deployment.folder / "first"
    details = await started(first)
    assert details["source"] == "neither"
    assert "from neither local state nor changelog" in first.log()
    async with writer(settings) as out:
        await counted(out, deployment, NUMBER)
        before = await settled_rows(first, settings, data)
        assert sum(map(len, before.values())) > 20

        # Its own folder: nothing is read.
        details = await started(first)
        assert (details["source"], details["records"]["total"]) == ("local state", 0)
        assert "from local state, which is as new as the changelog" in first.log()
        assert "Recovering counts: " not in first.log()
        await first.stop()
        assert lost_or_changed(before, rows_of(data)) == []
        await first.start().ready()
        await counted(out, deployment, 1000)
        before = await settled_rows(first, settings, data)

        # The folder is thrown away, and another member on another disk goes on.
        shutil.rmtree(data)
        second = deployment.worker("second", instance_id=f"{deployment.unique}-7")
        details = await started(second)
        assert details["source"] == "the changelog"
        assert details["records"]["total"] >= sum(map(len, before.values()))
        log = second.log()
        assert "from the changelog, because the data folder has no state" in log
        for table in TABLES:
            assert f"{deployment.unique}-{table}-changelog" in log
        assert log.index("Recovering counts: 0 of ") < log.index("Recovered in ") < log.index("Working on ")
        await second.stop()
        assert lost_or_changed(before, rows_of(deployment.folder / "second")) == []
        await second.start().ready()
        await counted(out, deployment, 1000)
        await second.stop()
    await check(deployment, out.published.counts)
    await check_forwards(settings, out.published, repeats=False)


async def test_a_recovery_that_leaves_out_rows_is_found(deployment: Deployment) -> None:
    """The control: the same checks on a worker that reads the end of each changelog only."""
    first = await deployment.worker("first").start().ready()
    async with writer(deployment.settings) as out:
        await counted(out, deployment, NUMBER)
        await first.stop()
        before = rows_of(deployment.folder / "first")
        broken = deployment.worker("broken", command=["tests.integration.broken_recovery", "worker"])
        await broken.start().ready()
        await broken.stop()
    assert len(lost_or_changed(before, rows_of(deployment.folder / "broken"))) > 10


async def test_recovery_from_neither_reads_the_notifications_again(deployment: Deployment) -> None:
    """Fresh disk and empty changelogs: another application counts what retention keeps."""
    first = await deployment.worker("first").start().ready()
    async with writer(deployment.settings) as out:
        await counted(out, deployment, NUMBER)
        await first.stop()
    again = f"{deployment.unique}again"
    deployment.configure(
        app_id=again,
        event_counts_topic=f"{again}.counts",
        alert_topic_prefix=f"{again}.out.",
        dead_letter_topic=f"{again}.dead",
    )
    second = deployment.worker("second")
    details = await started(second)
    assert (details["source"], details["records"]["total"]) == ("neither", 0)
    async with public_counts(deployment.settings) as counts:
        await counts.reach(out.published.counts)
    await eventually("the ends are committed", lambda: all_committed(deployment.settings))
    await second.stop()
    await check(deployment, out.published.counts)
    topics = notification_topics(deployment.settings)
    assert len(await read_all(deployment.settings.brokers, *topics)) == NUMBER


async def test_a_rolling_restart_makes_no_rebalance(deployment: Deployment) -> None:
    """Two workers with static membership: SIGTERM and a new start of the one do not touch the other."""
    # Long enough that nobody notices that one was away, on a busy machine too.
    deployment.configure(session_timeout_s="180")
    settings = deployment.settings
    names = [f"{deployment.unique}-{ordinal}" for ordinal in range(2)]
    one, other = (deployment.worker(name, instance_id=name) for name in names)
    await one.start().ready()
    await other.start().ready()
    await one.ready()
    half = f"Working on {5 * PARTITIONS // 2} partitions"
    await eventually("they share the work", lambda: half in one.log() and half in other.log())
    async with writer(settings) as out, public_counts(settings) as counts:
        load = made_load(seed=9)
        async with out.steadily(load, rate=1000):
            for restarted, untouched in ((one, other), (other, one)):
                known = (await counts.refresh()).total()
                goal = max(known, out.published.counts.total()) + 1000

                async def some_more(goal: int = goal) -> bool:
                    return (await counts.refresh()).total() >= goal

                await eventually(f"{goal} are counted", some_more)
                before = untouched.log().count("Working on ")
                restarted.terminate()
                assert await restarted.ended() == 0
                await restarted.start().ready()
                assert half in restarted.log()
                assert "from local state" in restarted.log()
                assert untouched.log().count("Working on ") == before
                await untouched.ready()
        await counts.reach(out.published.counts)
        await eventually("the ends are committed", lambda: all_committed(settings))
        await one.stop()
        await other.stop()
    await check(deployment, out.published.counts)
    # Nothing was handled twice: what was in flight was finished before the end.
    await check_forwards(settings, out.published, repeats=False)


async def test_without_static_membership_a_restart_makes_a_rebalance(deployment: Deployment) -> None:
    """The control: the same restart of a worker without an instance id shows in the other's log."""
    one, other = deployment.worker("one"), deployment.worker("other")
    await one.start().ready()
    await other.start().ready()
    half = f"Working on {5 * PARTITIONS // 2} partitions"
    await eventually("they share the work", lambda: half in one.log() and half in other.log())
    before = other.log().count("Working on ")
    await one.stop()
    await eventually("the other takes over", lambda: other.log().count("Working on ") > before)
    await other.stop()
