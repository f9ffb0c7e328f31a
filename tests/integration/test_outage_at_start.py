"""A broker that goes while a worker starts is waited for, after the self-check as before it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.breakable_kafka import BreakableKafka
from tests.integration.held_start import HELD
from tests.integration.reading import all_committed, counts_at_rest, difference, public_counts
from tests.integration.worker_process import Deployment, Worker, eventually
from tests.integration.writing import made_load, writer

pytestmark = pytest.mark.kafka

_WAITS = "Waiting for the broker at "


@dataclass
class Held:
    """A worker that has seen the broker in its self-check, and that waits at some point of its start."""

    worker: Worker
    kafka: BreakableKafka
    _go_on: Path

    async def loses_its_broker(self, fault: str) -> None:
        """Go on without a broker."""
        await eventually("the worker is past its self-check", lambda: HELD in self.worker.log())
        await asyncio.to_thread(self.kafka.kill if fault == "gone" else self.kafka.pause)
        self._go_on.touch()
        await eventually("it says that it waits", lambda: _WAITS in self.worker.log())


@pytest.fixture
def held(
    own_deployment: Deployment,
    own_kafka: BreakableKafka,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> Held:
    monkeypatch.setenv("HELD_AT", request.param)
    monkeypatch.setenv("HELD_UNTIL", str(tmp_path / "go on"))
    worker = own_deployment.worker(command=["tests.integration.held_start", "worker"], drain_deadline_s="5")
    return Held(worker.start(), own_kafka, tmp_path / "go on")


@pytest.mark.parametrize(
    ("held", "fault"),
    [("inherited_offsets", "gone"), ("TotalsReader.start", "gone"), ("TotalsReader.start", "frozen")],
    indirect=["held"],
)
async def test_a_broker_that_goes_while_a_worker_starts_is_waited_for(
    held: Held, own_deployment: Deployment, fault: str
) -> None:
    settings = own_deployment.settings
    worker = held.worker
    await held.loses_its_broker(fault)
    assert (await asyncio.to_thread(worker.get, "/livez"))[0] == 200
    assert (await asyncio.to_thread(worker.get, "/readyz"))[0] == 503
    await asyncio.to_thread(held.kafka.restart_broker if fault == "gone" else held.kafka.resume)
    await worker.ready()
    async with writer(settings) as out, public_counts(settings) as counts:
        await out.made(made_load(seed=41, count=3000))
        await counts.reach(out.published.counts)
        await eventually("the ends are committed", lambda: all_committed(settings))
        await worker.stop()
    at_rest = await counts_at_rest(settings)
    assert at_rest.now() == out.published.counts, difference(at_rest.now(), out.published.counts)
    assert "Traceback" not in worker.log()


@pytest.mark.parametrize(
    ("held", "fault"),
    [("inherited_offsets", "gone"), ("TotalsReader.start", "frozen")],
    indirect=["held"],
)
async def test_one_that_waits_for_it_ends_when_it_is_told_to(held: Held, fault: str) -> None:
    await held.loses_its_broker(fault)
    held.worker.terminate()
    assert await held.worker.ended() == 0
    assert "Traceback" not in held.worker.log()
