"""What the probes of an archiver say, and its metrics."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from aiohttp.test_utils import TestClient, TestServer
from aiokafka import TopicPartition

from streams.archive.archiver import Archiver
from streams.archive.files import ArchiveWriter
from streams.archive.lane import Missing, Taken
from streams.archive.writing import Position
from streams.notifications.priority import Priority
from streams.settings import Settings, load_settings
from tocsin.archive.figures import METRICS
from tocsin.archive.probes import ArchiveHealth, make_app


class Process:
    """An archiver that is connected to nothing, with its probes."""

    def __init__(self, folder: Path) -> None:
        self.settings: Settings = load_settings(brokers="127.0.0.1:1", priorities="error,info")
        self.stopping = False
        self.writer = ArchiveWriter(folder, "a", roll_bytes=10**6, roll_s=60)
        self.health = ArchiveHealth(lambda: self.stopping)

    def begin(self) -> Archiver:
        """Have the brokers reached."""
        self.health.archiver = Archiver(self.settings, self.writer, "g")
        return self.health.archiver

    async def get(self, path: str) -> tuple[int, str]:
        async with TestClient(TestServer(make_app(self.health, self.writer))) as client:
            answer = await client.get(path)
            return answer.status, await answer.text()

    async def reasons(self) -> list[str]:
        status, text = await self.get("/readyz")
        found: list[str] = json.loads(text)["reasons"]
        assert (status == 200) == (not found)
        return found


@pytest.fixture
def process(tmp_path: Path) -> Process:
    return Process(tmp_path)


async def test_ready_says_all_that_is_missing_and_live_does_not_mind(process: Process) -> None:
    assert await process.reasons() == ["The brokers of Kafka have not been reached yet."]
    archiver = process.begin()
    assert await process.reasons() == ["Partitions are being assigned."]
    archiver._begun = True
    assert await process.reasons() == []
    archiver._out.fault = "No space left on device"
    assert await process.reasons() == ["The archive cannot be written: No space left on device."]
    process.stopping = True
    assert len(await process.reasons()) == 2
    assert (await process.get("/livez"))[0] == 200
    assert (await process.get("/"))[0] == 404


async def test_every_metric_is_there_before_and_after_the_brokers_were_reached(process: Process) -> None:
    for begun in (False, True):
        if begun:
            process.begin()
        status, text = await process.get("/metrics")
        assert status == 200
        for name, kind, labels, meaning in METRICS:
            assert f"# TYPE {name} {kind}" in text
            assert meaning in text
            if not labels:
                assert f"\n{name} 0.0\n" in text
            elif begun:
                assert all(f'{name}{{priority="{each}"}} 0.0' in text for each in ("ERROR", "INFO"))
    assert "process_cpu_seconds_total" in text


async def test_metrics_tell_what_is_durable_what_is_held_and_what_is_missing(process: Process) -> None:
    archiver = process.begin()
    topic = process.settings.notification_topic(Priority.ERROR)

    async def nothing(_: object) -> None:
        """As of a group."""

    archiver._out._commit = nothing
    archiver._out.take(TopicPartition(topic, 0), b"12345\n", 2, Position(2))
    assert "tocsin_archive_held_bytes 6.0" in (await process.get("/metrics"))[1]
    assert await archiver._out.write()
    archiver._lanes[topic].topic_id = "id"
    await archiver._take(topic, Taken(0, Missing(range(5, 8), "deleted"), 8, -1))
    await archiver._out.write()
    archiver._tps, archiver._begun = {TopicPartition(topic, 0)}, True
    text = (await process.get("/metrics"))[1]
    for line in (
        "tocsin_archive_records_total 2.0",
        f"tocsin_archive_bytes_total {process.writer.written}.0",
        "tocsin_archive_missing_records_total 3.0",
        "tocsin_archive_held_bytes 0.0",
        "tocsin_archive_partitions 1.0",
        "tocsin_archive_ready 1.0",
    ):
        assert line in text
    process.writer.finish()
