"""`tocsin verify` on a real Kafka: totals, by topic id, for what is left; and what it cannot know."""

from __future__ import annotations

import orjson
import pytest

from streams.notifications import Priority
from streams.settings import Settings
from tables.rows import base_name, bucket_in
from tests.admin import admin_of
from tests.integration.reading import all_committed, read_all, stop_combined
from tests.integration.test_topic_changes import delete, make
from tests.integration.test_topic_changes import publish as publish_type
from tests.integration.test_verify import counted_load, delete_before, publish, verify
from tests.integration.worker_process import Deployment, eventually
from tests.integration.writing import writer

pytestmark = pytest.mark.kafka

Rows = dict[tuple[int, bytes], bytes]


async def newest(settings: Settings, topic: str) -> Rows:
    """Newest value of each key, of those that have one."""
    found: dict[tuple[int, bytes], bytes | None] = {}
    for record in await read_all(settings.brokers, topic):
        found[record.partition, record.key] = record.value
    return {place: value for place, value in found.items() if value is not None}


async def falsify(settings: Settings, rows: Rows, priority: str, event_type: str, change: int) -> None:
    """Publish each public row that has this total once more, with another."""
    for (partition, key), value in rows.items():
        body = orjson.loads(value)
        if body["priority"] == priority and event_type in body.get("totals", {}):
            body["totals"][event_type][0] += change
            await publish(settings, settings.event_counts_topic, partition, key, orjson.dumps(body))


async def test_each_total_that_is_falsified_is_found(deployment: Deployment) -> None:
    """Windows stay as they are, which is why totals must be compared too."""
    settings = deployment.settings
    published = await counted_load(deployment, 1000)
    code, report = await verify(deployment)
    assert (code, report["differences"]) == (0, []), report
    assert set(report["totals_compared"]) == {priority.value for priority in settings.priorities}
    rows = await newest(settings, settings.event_counts_topic)
    for (priority, event_type), change in zip(sorted(published), (-1, +1, +7), strict=False):
        await falsify(settings, rows, priority, event_type, change)
        code, report = await verify(deployment)
        assert (code, report["public_differences"], report["lost"], report["too_many"]) == (1, 1, 0, 0)
        (difference,) = report["differences"]
        assert (difference["priority"], difference["event_type"]) == (priority, event_type)
        assert difference["bucket"] is None
        number = published[priority, event_type]
        assert (difference["published"], difference["counted"]) == (number, number + change)
        # The windows have not changed: only who compares totals finds it.
        await falsify(settings, rows, priority, event_type, 0)
    code, report = await verify(deployment)
    assert (code, report["differences"]) == (0, []), report
    # Where not every record is read, too low a total is still found as far as records are read.
    code, report = await verify(deployment, "--most-records", "0", "--since", "10s", "--window", "10s")
    assert report["totals_compared"] == []
    assert any("could be counted again" in sentence for sentence in report["sentences"])


async def test_totals_of_what_retention_took_are_said_to_be_unknown(deployment: Deployment) -> None:
    settings = deployment.settings
    published = await counted_load(deployment, 2000)
    await delete_before(settings, settings.notification_topic(Priority.INFO), 10)
    code, report = await verify(deployment)
    assert (code, report["differences"]) == (0, []), report
    assert set(report["totals_compared"]) == {p.value for p in settings.priorities if p != Priority.INFO}
    assert any(
        sentence.startswith("Not every record of INFO could be counted again")
        for sentence in report["sentences"]
    )
    rows = await newest(settings, settings.event_counts_topic)
    event_type = max((n, each) for (priority, each), n in published.items() if priority == "INFO")[1]
    # Too high is not known any more, as it says; lower than what is left is a difference.
    await falsify(settings, rows, "INFO", event_type, +5)
    assert (await verify(deployment))[0] == 0
    await falsify(settings, rows, "INFO", event_type, -published["INFO", event_type])
    code, report = await verify(deployment)
    assert code == 1
    assert [each["event_type"] for each in report["differences"]] == [event_type]
    assert report["differences"][0]["counted"] == 0


async def test_a_topic_made_again_is_compared_under_its_new_id(deployment: Deployment) -> None:
    """Nothing of the old one is missed, and what is missing of the new one is named to the last."""
    settings = deployment.settings
    old = await counted_load(deployment, 1000)
    topic = settings.notification_topic(Priority.WARN)
    async with admin_of(settings.brokers) as admin:
        await delete(admin, topic)
        await make(admin, topic)
    async with writer(settings) as out:
        await publish_type(out, topic, "again", 30, Priority.WARN)
    code, report = await verify(deployment)
    # Nobody has read them: they are no loss, and that nothing is committed is said.
    assert (report["lost"], report["too_many"], report["public_differences"]) == (0, 0, 0), report
    assert code == 1
    assert "cannot be compared in full" in report["sentences"][0]
    assert report["gone_sources"]
    assert any("nothing is committed" in sentence for sentence in report["sentences"])

    worker = await deployment.worker().start().ready()
    await eventually("the ends are committed", lambda: all_committed(settings))
    await stop_combined(worker, settings)
    code, report = await verify(deployment)
    assert (report["lost"], report["too_many"], report["public_differences"]) == (0, 0, 0), report
    assert any("which nobody can count again" in sentence for sentence in report["sentences"])
    # Of what came again, exactly what is taken away is named; the others' totals are still compared.
    rows = await newest(settings, settings.event_counts_topic)
    await falsify(settings, rows, "WARN", "again", -7)
    code, report = await verify(deployment)
    assert [(each["event_type"], each["published"], each["counted"]) for each in report["differences"]] == [
        ("again", 30, 23)
    ]
    assert old


async def test_rows_of_another_cluster_are_no_agreement(deployment: Deployment) -> None:
    """Rows that a local store of another cluster brought: sources whose topic ids nobody here has."""
    settings = deployment.settings
    await counted_load(deployment, 500)
    assert (await verify(deployment))[0] == 0
    changelog = settings.internal_topic("partial-counts-changelog")
    foreign = "A" * 22 + ":0"
    for (_, key), value in (await newest(settings, changelog)).items():
        if key.startswith(b"r/") and b"/0010/" in key and bucket_in(key):
            parts = key.split(b"/")
            await publish(settings, changelog, 0, b"/".join([parts[0], foreign.encode(), *parts[2:]]), value)
        if key.startswith(b"b/"):
            await publish(settings, changelog, 0, base_name(foreign) + b"@another", value)
    code, report = await verify(deployment)
    assert (code, report["agree"]) == (1, False), report
    assert "belongs to another cluster" in report["sentences"][0]
    assert report["gone_sources"] == [foreign]
    assert not any(sentence.startswith("The counts agree") for sentence in report["sentences"])


async def test_rows_of_another_app_are_told(deployment: Deployment) -> None:
    settings = deployment.settings
    await counted_load(deployment, 500)
    rows = await newest(settings, settings.event_counts_topic)
    (partition, _), value = next(each for each in sorted(rows.items()) if b"/10/" in each[0][1])
    false = orjson.dumps(orjson.loads(value) | {"app": "other", "counts": {"made up": 1}})
    await publish(settings, settings.event_counts_topic, partition, b"INFO/10/1793534400/0", false)
    code, report = await verify(deployment)
    assert (code, report["foreign_rows"]) == (0, {"other": 1}), report
