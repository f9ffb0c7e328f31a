"""Workers as processes of their own, with topics of their own, on the Kafka of the test session."""

from __future__ import annotations

import asyncio
import http.client
import os
import re
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from streams.settings import Settings, load_settings
from tests import children
from tests.breakable_kafka import BreakableKafka, is_frozen
from tests.configured_kafka import configured_kafka
from tests.formatted_kafka import FormattedKafka
from tests.paths import ROOT
from tests.shared_kafka import START_S
from tocsin.local_kafka.cluster import LocalKafka
from tocsin.local_kafka.process import SHORT_LIFE

PARTITIONS = 4
#: Seconds that a worker may be silent: no busy machine keeps one so long from saying that it lives.
SESSION_TIMEOUT_S = 30
#: The same where a test kills a worker that has no name in the group, and waits until it is given up.
SHORT_SESSION_TIMEOUT_S = 6
#: Longer than anything here takes, on a busy machine too; a hang then fails the test.
BOUND_S = 180.0

_POLL_S = 0.1
_LOG_TAIL_LINES = 80
_ADDRESS = re.compile(r"(?:The web views|Probes and metrics) are at http://([0-9.]+):([0-9]+)/")


async def eventually(
    what: str, holds: Callable[[], bool | Awaitable[bool]], *, deadline_s: float = BOUND_S
) -> None:
    """Wait until ``holds`` says so.

    Args:
        what: is waited for, to be read after "never came true:".
        holds: asked again and again; may be a coroutine function.
        deadline_s: seconds after which the test fails.
    """
    loop = asyncio.get_running_loop()
    until = loop.time() + deadline_s
    while True:
        answer = holds()
        if not isinstance(answer, bool):
            answer = await answer
        if answer:
            return
        assert loop.time() < until, f"never came true: {what}"
        await asyncio.sleep(_POLL_S)


class Worker:
    """One worker: a process that may be started again with the same settings and folder."""

    def __init__(self, name: str, command: list[str], environment: dict[str, str], log: Path) -> None:
        self.name = name
        self._command = command
        self._environment = environment
        self._log = log
        self._log_start = 0
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Worker:
        """Start it; what it writes to standard output and error goes to its log."""
        assert self._process is None or self._process.poll() is not None, "it runs already"
        self._log_start = self._log.stat().st_size if self._log.exists() else 0
        with self._log.open("ab") as log:
            self._process = children.start(
                [sys.executable, "-m", *self._command],
                cwd=ROOT,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        return self

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "it was never started"
        return self._process

    @property
    def runs(self) -> bool:
        """Whether the process lives."""
        return self._process is not None and self._process.poll() is None

    def log(self) -> str:
        """What it wrote since it was last started."""
        with self._log.open("rb") as log:
            log.seek(self._log_start)
            return log.read().decode(errors="replace")

    def tail(self) -> str:
        """The end of everything it ever wrote."""
        text = self._log.read_text(errors="replace") if self._log.exists() else ""
        return "\n".join(text.splitlines()[-_LOG_TAIL_LINES:])

    @property
    def address(self) -> tuple[str, int] | None:
        """Where the web views listen, as the log says; None before that."""
        found = _ADDRESS.search(self.log())
        return (found[1], int(found[2])) if found else None

    def get(self, path: str) -> tuple[int, bytes]:
        """Status and body that the web views answer; status 0 when they do not."""
        if (address := self.address) is None:
            return 0, b""
        connection = http.client.HTTPConnection(*address, timeout=BOUND_S)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except OSError:
            return 0, b""
        finally:
            connection.close()

    async def ready(self) -> Worker:
        """Wait until /readyz says that it works on its partitions."""

        async def is_ready() -> bool:
            assert self.runs, f"worker {self.name} ended with {self.process.returncode}"
            return (await asyncio.to_thread(self.get, "/readyz"))[0] == 200

        await eventually(f"worker {self.name} is ready", is_ready)
        return self

    def kill(self) -> None:
        """End it with SIGKILL, wherever it is."""
        assert self.runs, f"worker {self.name} ended by itself with {self.process.returncode}"
        self.process.kill()
        self.process.wait(BOUND_S)

    async def freeze(self) -> None:
        """Send it SIGSTOP, and wait until each of its threads stands still."""
        self.process.send_signal(signal.SIGSTOP)
        await eventually(f"{self.name} stands still", lambda: is_frozen(self.process.pid))

    def thaw(self) -> None:
        """Let it go on after `freeze`."""
        self.process.send_signal(signal.SIGCONT)

    def terminate(self) -> None:
        """Tell it to stop, with SIGTERM; see ``ended``."""
        assert self.runs, f"worker {self.name} ended by itself with {self.process.returncode}"
        self.process.send_signal(signal.SIGTERM)

    async def ended(self, deadline_s: float = BOUND_S) -> int:
        """Wait for its end, and return the exit code; its log gets the stacks of one that does not end."""
        try:
            await eventually(f"worker {self.name} has ended", lambda: not self.runs, deadline_s=deadline_s)
        except AssertionError:
            self.process.send_signal(signal.SIGABRT)
            self.process.wait(BOUND_S)
            raise
        return self.process.returncode

    async def stop(self) -> None:
        """SIGTERM, and a clean end."""
        self.terminate()
        assert await self.ended() == 0

    def cleanup(self) -> None:
        """Leave no process behind."""
        if self.runs:
            self.process.kill()
        if self._process is not None:
            self._process.wait(BOUND_S)


class Deployment:
    """Topics and a consumer group that no other test has, and the workers that share them."""

    def __init__(self, bootstrap: str, unique: str, folder: Path) -> None:
        self.unique = unique
        self.folder = folder
        self.workers: list[Worker] = []
        self._values: dict[str, str] = {
            "brokers": bootstrap,
            "app_id": unique,
            "partitions": str(PARTITIONS),
            "session_timeout_s": str(SESSION_TIMEOUT_S),
            "notification_topic_prefix": f"{unique}.in.",
            "alert_topic_prefix": f"{unique}.out.",
            "dead_letter_topic": f"{unique}.dead",
            "event_counts_topic": f"{unique}.counts",
            # Whatever listens does so on a port that is free, or tests that run side by side would meet.
            **{name: "0" for name in Settings.model_fields if name.endswith("_port")},
        }

    def configure(self, **values: str) -> None:
        """Change settings of all workers that are made from now on."""
        self._values |= values

    @property
    def settings(self) -> Settings:
        """The settings of the workers."""
        return load_settings(**self._values)

    def environment(self, **values: str | None) -> dict[str, str]:
        """The environment of a worker: nothing of Tocsin's but these settings; None leaves one out."""
        clean = {name: text for name, text in os.environ.items() if not name.startswith("TOCSIN_")}
        mine = {f"TOCSIN_{n.upper()}": v for n, v in (self._values | values).items() if v is not None}
        python = {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "PYTHONFAULTHANDLER": "1"}
        # aiohttp reads all certificates of the system when it is imported; no test asks any of their owners.
        return clean | python | {"SSL_CERT_FILE": os.devnull} | mine

    def worker(self, name: str = "worker", *, command: list[str] | None = None, **values: str) -> Worker:
        """Make a worker with a data folder of its own name; it is not started yet.

        Args:
            name: of the worker, its data folder and its log.
            command: module and arguments; ``python -m tocsin worker`` when None.
            values: settings that differ from the others'.
        """
        environment = self.environment(**{"data_dir": str(self.folder / name)} | values)
        log = self.folder / f"{name}.{len(self.workers)}.log"
        worker = Worker(name, command or ["tocsin", "worker"], environment, log)
        self.workers.append(worker)
        return worker


@pytest.fixture
def deployment(kafka: LocalKafka, unique: str, tmp_path: Path) -> Iterator[Deployment]:
    """Topics and a consumer group of this test's own; its workers are ended with it."""
    yield from _deployed(kafka, unique, tmp_path)


@pytest.fixture
def own_kafka(tmp_path: Path) -> Iterator[BreakableKafka]:
    """A broker that no other test needs, so that it may be killed."""
    local = FormattedKafka(tmp_path / "kafka", die_with_parent=True, jvm_options=SHORT_LIFE)
    local.start(timeout=START_S)
    yield local
    local.throw_away()


@pytest.fixture(scope="module")
def file_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalKafka]:
    """A broker that no other file uses; its tests of one xdist_group share it, and none of them stops it."""
    with configured_kafka(tmp_path_factory.mktemp("own") / "kafka", lambda _: {}) as local:
        yield local


@pytest.fixture
def file_deployment(file_kafka: LocalKafka, unique: str, tmp_path: Path) -> Iterator[Deployment]:
    """Topics and a consumer group of this test's own on the broker of its file."""
    yield from _deployed(file_kafka, unique, tmp_path)


@pytest.fixture
def own_deployment(own_kafka: BreakableKafka, unique: str, tmp_path: Path) -> Iterator[Deployment]:
    """The same on a broker of this test's own, which may be away for longer than a worker may be silent."""
    for made in _deployed(own_kafka, unique, tmp_path):
        made.configure(session_timeout_s=f"{SHORT_SESSION_TIMEOUT_S}")
        yield made


def _deployed(kafka: LocalKafka, unique: str, folder: Path) -> Iterator[Deployment]:
    made = Deployment(kafka.bootstrap, unique, folder)
    yield made
    for worker in made.workers:
        worker.cleanup()
        # pytest shows what is printed here when the test failed, and only then.
        print(f"---------------- end of the log of {worker.name}\n{worker.tail()}")
