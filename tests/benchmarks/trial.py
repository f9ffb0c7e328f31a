"""One run of one arm, for benchmarks that look into the worker: fresh topics, a process, and its figures."""

from __future__ import annotations

import json
import socket
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from tests.benchmarks.cluster import CommittedOffsets, create_topics, notification_topics
from tests.benchmarks.processes import Child, running, wait_until
from tests.benchmarks.progress import Progress
from tests.benchmarks.service import ServiceTimes
from tests.benchmarks.spec import RunSpec

_START_S = 120.0
_COMMIT_S = 120.0
_COMMIT_POLL_S = 0.1


@dataclass
class Trial:
    """A running arm.

    Attributes:
        spec: what it was told.
        child: its process.
        progress: what it has handled.
        service: what it did for each priority.
        port: of its web views, for Tocsin.
        gate: file that lets its agents begin; see ``Gate``.
    """

    spec: RunSpec
    child: Child
    progress: Progress
    service: ServiceTimes
    port: int
    gate: Path
    _process: psutil.Process = field(init=False)

    def __post_init__(self) -> None:
        self._process = psutil.Process(self.child.pid)

    def wait_for_first(self) -> None:
        """Wait until the first record is handled."""
        wait_until(lambda: self.progress.read().first_ns > 0, _START_S, "the first record", self.child)

    def wait_for_ready(self) -> None:
        """Wait until Tocsin works on its partitions and has read the public counts."""
        wait_until(self._is_ready, _START_S, "readiness", self.child, poll_s=0.1)

    def _is_ready(self) -> bool:
        try:
            answer = self.ask("/readyz")
        except OSError:
            return False
        details: Mapping[str, Any] = answer.get("details", answer)
        return bool(details.get("counts_complete", True))

    def ask(self, path: str) -> dict[str, Any]:
        """Answer of the web views.

        Raises:
            OSError: there is none, or not yet.
        """
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
            found: dict[str, Any] = json.load(answer)
            return found

    def cpu_s(self) -> float:
        """Processor seconds that the process has used."""
        times = self._process.cpu_times()
        return float(times.user + times.system)

    def rss_mb(self) -> float:
        """Resident memory now, in MB."""
        return float(self._process.memory_info().rss) / 1e6

    def peak_rss_mb(self) -> float:
        """Greatest resident memory of the process so far, in MB, as the kernel noted it."""
        status = Path(f"/proc/{self.child.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024 / 1e6

    def wait_for_commit(self, messages: int, timeout_s: float = _COMMIT_S) -> None:
        """Wait until the group has committed ``messages`` records of the notification topics."""
        topics = list(notification_topics(self.spec.prefix).values())
        committed = CommittedOffsets(self.spec.brokers, self.spec.group, topics)
        try:
            wait_until(
                lambda: committed.total() >= messages,
                timeout_s,
                "the last commit",
                self.child,
                poll_s=_COMMIT_POLL_S,
            )
        finally:
            committed.close()


@contextmanager
def trial(
    module: str,
    brokers: str,
    folder: Path,
    name: str,
    prefix: str,
    *,
    partitions: int,
    target: int = 0,
    work_us: float = 0.0,
    gated: bool = False,
    settings: Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
) -> Iterator[Trial]:
    """Run the arm ``module`` on the notification topics under ``prefix``, and stop it at the end.

    Args:
        module: in ``tests.benchmarks.arms``.
        brokers: bootstrap addresses.
        folder: of the whole benchmark; the run gets one of its own in it.
        name: of the group and the folder, not used before.
        prefix: of the notification topics, which are there.
        partitions: of each of them.
        target: records after which the arm's clock stops.
        work_us: work a record.
        gated: whether the agents wait for ``Trial.gate`` to be made.
        settings: of Tocsin.
        options: more of the arm.
    """
    path = folder / name
    path.mkdir(exist_ok=True)
    port = _free_port()
    gate = path / "gate"
    all_options: dict[str, Any] = dict(options or {})
    if module == "tocsin":
        all_options["tune"] = {"settings": {"web_port": port, **(settings or {})}}
    if gated:
        all_options["gate"] = str(gate)
    spec = RunSpec(
        brokers=brokers,
        group=name,
        prefix=prefix,
        alerts=f"{name}.alerts.",
        partitions=partitions,
        work_us=work_us,
        target=target,
        progress=str(path / "progress"),
        folder=str(path),
        options=all_options,
    )
    progress, service = Progress(spec.progress), ServiceTimes(path)
    with running(f"tests.benchmarks.arms.{module}", spec.to_json(), log=path / "log") as child:
        yield Trial(spec, child, progress, service, port, gate)


def make_topics(brokers: str, prefix: str, partitions: int) -> None:
    """Create the notification topics under ``prefix``."""
    create_topics(brokers, list(notification_topics(prefix).values()), partitions)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
