"""Every arm of the benchmarks starts, handles some records and ends; Tocsin's also without each mechanism.

Arms that need an environment of their own are left to the benchmarks, which make it.
"""

from __future__ import annotations

import signal
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.admin import apply_topics
from tests.benchmarks.arms.ablations import ABLATIONS
from tests.benchmarks.arms.registry import arms
from tests.benchmarks.progress import Progress
from tests.benchmarks.spec import RunSpec
from tests.integration.reading import all_committed, public_counts
from tests.integration.worker_process import PARTITIONS, Deployment, Worker, eventually
from tests.integration.writing import made_load, writer

pytestmark = pytest.mark.kafka

NUMBER = 1000
OURS = {name: arm for name, arm in arms().items() if arm.python is None}
STOCK = [name for name, arm in OURS.items() if arm.module != "tocsin"]


@dataclass
class Run:
    """An arm in a process, and what it tells of its progress."""

    worker: Worker
    progress: Progress = field(repr=False)

    def handled(self) -> int:
        """Records that it has handled."""
        assert self.worker.runs, self.worker.tail()
        return self.progress.read().handled


async def started(deployment: Deployment, module: str, options: dict[str, Any]) -> Run:
    """Start an arm on topics that are there."""
    # Names that the arms make of that of their group.
    deployment.configure(
        event_counts_topic=f"{deployment.unique}-event-counts",
        dead_letter_topic=f"{deployment.unique}-dead-letters",
    )
    settings = deployment.settings
    await apply_topics(settings)
    folder = deployment.folder / "arm"
    folder.mkdir()
    spec = RunSpec(
        brokers=settings.brokers,
        group=settings.app_id,
        prefix=settings.notification_topic_prefix,
        alerts=settings.alert_topic_prefix,
        partitions=PARTITIONS,
        work_us=0,
        target=NUMBER,
        progress=str(folder / "progress"),
        folder=str(folder),
        options=options,
    )
    worker = deployment.worker(command=[f"tests.benchmarks.arms.{module}", spec.to_json()])
    return Run(worker.start(), Progress(spec.progress))


@pytest.mark.parametrize("without", [None, *ABLATIONS])
async def test_tocsin_counts_exactly_without_each_of_its_mechanisms(
    deployment: Deployment, without: str | None
) -> None:
    options = {"forward": True} | ({"tune": {"without": [without]}} if without else {})
    run = await started(deployment, "tocsin", options)
    await run.worker.ready()
    settings = deployment.settings
    async with writer(settings) as out, public_counts(settings) as counts:
        await out.made(made_load(seed=51, count=NUMBER))
        await counts.reach(out.published.counts)
        await eventually("the ends are committed", lambda: all_committed(settings))
    assert run.handled() == NUMBER
    await run.worker.stop()
    assert "Traceback" not in run.worker.log()


@pytest.mark.parametrize("name", STOCK)
async def test_every_other_arm_handles_what_there_is_and_ends(deployment: Deployment, name: str) -> None:
    arm = OURS[name]
    if (reason := arm.available()) is not None:
        pytest.skip(reason)
    run = await started(deployment, arm.module, {"forward": arm.latency} | arm.options)
    async with writer(deployment.settings) as out:
        await out.made(made_load(seed=52, count=NUMBER))
    await eventually(f"{NUMBER} are handled", lambda: run.handled() >= NUMBER)
    run.worker.terminate()
    # Java says by its exit code which signal has ended it.
    assert await run.worker.ended() in {0, 128 + signal.SIGTERM}
