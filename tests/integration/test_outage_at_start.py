"""Brokers that are away while a worker starts are waited for: before the self-check, and after it."""

from __future__ import annotations

import asyncio
import os
import pty
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from streams.settings import EXIT_AWAY, EXIT_CONFIG
from tests import children
from tests.breakable_kafka import BreakableKafka
from tests.integration.held_start import HELD
from tests.integration.reading import all_committed, counts_at_rest, difference, public_counts
from tests.integration.worker_process import BOUND_S, Deployment, Worker, eventually
from tests.integration.writing import made_load, writer
from tests.long_form import in_the_long_form
from tests.paths import ROOT

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
    [
        ("TotalsReader.start", "frozen"),
        *in_the_long_form(("inherited_offsets", "gone"), ("TotalsReader.start", "gone")),
    ],
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
    [("inherited_offsets", "gone"), *in_the_long_form(("TotalsReader.start", "frozen"))],
    indirect=["held"],
)
async def test_one_that_waits_for_it_ends_when_it_is_told_to(held: Held, fault: str) -> None:
    await held.loses_its_broker(fault)
    held.worker.terminate()
    assert await held.worker.ended() == 0
    assert "Traceback" not in held.worker.log()


# --- Brokers that are not there when it starts -----------------------------------------------------

_AWAY = "Waiting for Kafka, for "
_NOWHERE = "127.0.0.1:1"


def sentences(worker: Worker) -> list[str]:
    """What it said at its end."""
    return [line for line in worker.log().splitlines() if line.startswith("tocsin: ")]


@pytest.mark.parametrize("fault", ["gone", *in_the_long_form("frozen")])
async def test_brokers_that_are_away_at_its_start_are_waited_for(
    own_deployment: Deployment, own_kafka: BreakableKafka, fault: str
) -> None:
    settings = own_deployment.settings
    await asyncio.to_thread(own_kafka.kill if fault == "gone" else own_kafka.pause)
    worker = own_deployment.worker().start()
    await eventually("it says that it waits", lambda: _AWAY in worker.log())
    await eventually("its web views are there", lambda: worker.get("/livez")[0] == 200)
    for probe in ("/startupz", "/readyz"):
        status, body = await asyncio.to_thread(worker.get, probe)
        assert (status, b"The brokers have not been reached yet." in body) == (503, True), probe
    # Longer than a worker once had patience.
    await eventually("it still waits after 10 s", lambda: worker.log().count(_AWAY) >= 2)
    await asyncio.to_thread(own_kafka.restart_broker if fault == "gone" else own_kafka.resume)
    await worker.ready()
    assert (await asyncio.to_thread(worker.get, "/startupz"))[0] == 200
    async with writer(settings) as out, public_counts(settings) as counts:
        await out.made(made_load(seed=43, count=1000))
        await counts.reach(out.published.counts)
        await worker.stop()
    assert (sentences(worker), "Traceback" in worker.log()) == ([], False)


@pytest.mark.parametrize("seconds", ["0", *in_the_long_form("2", "9")])
async def test_it_ends_as_for_a_passing_trouble_when_they_are_away_for_too_long(
    deployment: Deployment, seconds: str
) -> None:
    worker = deployment.worker(brokers=_NOWHERE, wait_for_brokers_s=seconds).start()
    assert await worker.ended() == EXIT_AWAY
    (said,) = sentences(worker)
    why = f"No Kafka broker can be used ({_NOWHERE} refuses connections)"
    assert said == f"tocsin: {why}: start Kafka, or set TOCSIN_BROKERS."
    assert "Traceback" not in worker.log()


async def test_a_name_that_is_not_known_is_waited_for_too(deployment: Deployment) -> None:
    """Names may be away as brokers are; and one that waits for them ends when it is told to."""
    worker = deployment.worker(brokers="no-such-host.invalid:9092").start()
    await eventually("its web views are there", lambda: worker.get("/startupz")[0] == 503)
    await eventually("it says so", lambda: "no-such-host.invalid:9092 is not a known" in worker.log())
    await worker.stop()
    assert (sentences(worker), "Traceback" in worker.log()) == ([], False)


async def test_a_port_of_another_protocol_is_not_waited_for(deployment: Deployment) -> None:
    worker = deployment.worker(security_protocol="SSL").start()
    assert await worker.ended() == EXIT_CONFIG
    assert [line for line in sentences(worker) if "TOCSIN_SECURITY_PROTOCOL" not in line] == []
    assert len(sentences(worker)) == 1


def all_of(terminal: int) -> bytes:
    """What was written to a terminal that nobody has open any more: the kernel brings it in pieces."""
    found = b""
    with suppress(OSError):  # the end of it
        while read := os.read(terminal, 2**16):
            found += read
    return found


async def test_who_sits_at_a_terminal_gets_the_sentence_instead(deployment: Deployment) -> None:
    ours, theirs = pty.openpty()
    worker = children.start(
        [sys.executable, "-m", "tocsin", "worker"],
        cwd=ROOT,
        env=deployment.environment(brokers=_NOWHERE, data_dir=str(deployment.folder / "terminal")),
        stderr=theirs,
    )
    try:
        os.close(theirs)
        async with asyncio.timeout(BOUND_S):
            assert await asyncio.to_thread(worker.wait) == EXIT_AWAY
            said = (await asyncio.to_thread(all_of, ours)).decode()
        assert f"tocsin: No Kafka broker can be used ({_NOWHERE} refuses connections)" in said
    finally:
        os.close(ours)
        worker.kill()
        worker.wait()
