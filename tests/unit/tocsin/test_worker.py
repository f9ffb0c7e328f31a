"""A worker's two stages: what Faust's transport and the web views are told in each. Connected to nothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from faust.types import TP

from agents.source_lives import SourceLives
from streams.broker.self_check import CheckedCluster
from streams.notifications import Priority
from streams.settings import load_settings
from tocsin.app import TocsinApp, make_app
from tocsin.figures import SchedulerFigures, WorkerFigures
from tocsin.starting import Starting
from tocsin.worker import Worker

ERROR = TP("notifications.error", 0)
PARTIALS = TP("tocsin-partials", 0)
IDS = {f"notifications.{priority.lower()}": "x" * 22 for priority in Priority}


@pytest.fixture
async def app(tmp_path: Path) -> TocsinApp:
    return make_app(load_settings(data_dir=tmp_path / "data", brokers="127.0.0.1:1", web_port=0))


def made(app: TocsinApp, inherited: Mapping[TP, int] | None = None) -> Worker:
    assert isinstance(app.stage, Starting)
    return Worker(
        app, app.stage, app.faust_tables, CheckedCluster(8, 8, IDS, dict.fromkeys(IDS, 8)), inherited or {}
    )


async def test_an_app_that_was_not_started_is_starting(app: TocsinApp) -> None:
    stage = app.stage
    assert app.coordinator is stage
    assert isinstance(stage, Starting)
    assert (stage.fetches(ERROR.topic), stage.manages(ERROR.topic), stage.committable()) == (False, False, {})
    assert stage.commit_note(ERROR, 1) == ""
    await stage.drain()
    await stage.on_revoked()
    with pytest.raises(RuntimeError, match="before the worker was made"):
        await stage.on_ready({ERROR}, {ERROR: 0}, IDS)
    with pytest.raises(RuntimeError, match="has not been started"):
        await app._ingest(None)
    app.on_crash(RuntimeError("before the start"))
    assert not app.health.live().ok
    await app.on_stop()


async def test_the_most_urgent_priority_sends_by_a_producer_of_its_own(app: TocsinApp) -> None:
    """The first of the settings is the most urgent one, in whatever order they were written."""
    worker = made(app)
    urgent, others, counts = worker.producers
    critical = TP(app.settings.notification_topic(Priority.CRITICAL), 0)
    assert worker.effects.of(critical)._producer is urgent
    assert worker.effects.of(ERROR)._producer is others
    assert len({urgent, others, counts}) == 3


async def test_what_may_be_committed_is_what_counting_and_effects_have_noted(app: TocsinApp) -> None:
    worker = made(app)
    assert worker.committable() == {}
    worker.offsets.counted(ERROR, 10)
    assert worker.committable() == {ERROR: 10}
    worker.offsets.outstanding(ERROR).begin(4)
    assert worker.committable() == {ERROR: 4}
    await worker.on_revoked()
    assert worker.committable() == {}
    assert worker.rebalances == 1


async def test_all_that_lanes_fetch_is_managed(app: TocsinApp) -> None:
    worker = made(app)
    for topic, whether in ((ERROR.topic, True), (PARTIALS.topic, True), ("other", False)):
        assert (worker.fetches(topic), worker.manages(topic)) == (whether, whether)


async def test_an_assignment_that_cannot_be_taken_up_ends_the_worker(
    app: TocsinApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = made(app)
    failed: list[BaseException] = []
    monkeypatch.setattr(app, "fail", failed.append)

    async def settle(*_: Any) -> dict[TP, int | None]:
        return {ERROR: 0}

    async def on_ready(*_: Any) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(SourceLives, "settle", settle)
    monkeypatch.setattr(worker.traffic, "on_ready", on_ready)
    await worker.on_ready({ERROR}, {ERROR: 0}, IDS)
    assert [str(error) for error in failed] == ["broken"]


async def test_the_views_show_nothing_before_and_the_worker_after(app: TocsinApp) -> None:
    assert isinstance(app.stage, Starting)
    sources = app.stage.web._sources
    assert (sources.scheduler.snapshot(), sources.scheduler.profile, sources.stats.flushes) == ({}, None, 0)
    worker = made(app)
    worker.web.show(SchedulerFigures(worker.traffic, worker.profile), WorkerFigures(worker))
    assert set(sources.scheduler.snapshot()) == set(app.settings.priorities)
    assert sources.scheduler.profile is worker.profile
    worker.ingest.stats.counted[Priority.ERROR] += 3
    worker.counting.flushes += 2
    worker.producers[-1].failures += 1
    assert sources.stats.counted == {Priority.ERROR: 3}
    assert (sources.stats.flushes, sources.stats.producer_retries, sources.stats.event_types) == (2, 1, 0)
