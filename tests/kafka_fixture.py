"""A real Kafka for the tests that ask for one: started once a session, in a scratch folder, at free ports."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import psutil
import pytest

from tests.breakable_kafka import BreakableKafka


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BreakableKafka]:
    """A running Kafka; tests use ``kafka.bootstrap`` and share it, so each names its topics by ``unique``."""
    data_dir = tmp_path_factory.mktemp("kafka") / "data"
    # The quick compiler alone: a short life never pays the thorough one's work back.
    local = BreakableKafka(data_dir, die_with_parent=True, jvm_options=["-XX:TieredStopAtLevel=1"])
    local.start()
    yield local
    local.stop()
    assert processes_of(data_dir) == []
    local.reset()


@pytest.fixture
def unique() -> str:
    """A name that no other test has: an application id, or a prefix of topics."""
    return f"t{uuid.uuid4().hex[:12]}"


def processes_of(data_dir: object) -> list[int]:
    """Pids of live processes whose command line names the data folder of a local Kafka."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        alive = process.info["status"] != psutil.STATUS_ZOMBIE
        if alive and any(f"{data_dir}/" in part for part in process.info["cmdline"] or ()):
            found.append(process.pid)
    return found
