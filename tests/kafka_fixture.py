"""A real Kafka for the tests that ask for one: one for a whole run, in a scratch folder, at free ports."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Iterator

import psutil
import pytest

from tests.shared_kafka import shared_kafka
from tocsin.local_kafka.cluster import LocalKafka

_POLL_S = 0.05


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Iterator[LocalKafka]:
    """A running Kafka; tests use ``kafka.bootstrap`` and share it, also with those that run at the same time.

    So each names its topics and groups by ``unique``, and one that stops a broker asks for ``own_kafka``.
    """
    base = tmp_path_factory.getbasetemp()
    # A process of pytest-xdist has a folder of its own in that of the run.
    run = base.parent if hasattr(pytestconfig, "workerinput") else base
    with shared_kafka(run / "shared-kafka") as local:
        yield local


@pytest.fixture
def unique() -> str:
    """A name that no other test has: an application id, or a prefix of topics."""
    return f"t{uuid.uuid4().hex[:12]}"


def living(processes: Iterable[psutil.Process]) -> list[psutil.Process]:
    """Those of some processes that run; one that has ended and that nobody has asked for its end does not."""
    return [each for each in processes if each.is_running() and _status(each) != psutil.STATUS_ZOMBIE]


def wait_until_gone(processes: Iterable[psutil.Process], deadline_s: float) -> None:
    """Wait until none of some processes runs; fails after ``deadline_s`` seconds."""
    until = time.monotonic() + deadline_s
    while left := living(processes):
        assert time.monotonic() < until, f"still there: {left}"
        time.sleep(_POLL_S)


def _status(process: psutil.Process) -> str:
    try:
        return str(process.status())
    except psutil.NoSuchProcess:
        return psutil.STATUS_ZOMBIE


def processes_of(data_dir: object) -> list[int]:
    """Pids of live processes whose command line names the data folder of a local Kafka."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        alive = process.info["status"] != psutil.STATUS_ZOMBIE
        if alive and any(f"{data_dir}/" in part for part in process.info["cmdline"] or ()):
            found.append(process.pid)
    return found
