"""One measurement of latency: one arm under one load, on fresh topics."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.benchmarks import report
from tests.benchmarks.arms.registry import Arm
from tests.benchmarks.cluster import create_topics, delete_topics, notification_topics
from tests.benchmarks.flood import Flood
from tests.benchmarks.handled import read_handled
from tests.benchmarks.load import MIX, Load
from tests.benchmarks.measure import latencies, percentile, read_json, summary
from tests.benchmarks.processes import BenchmarkError, Child, running, wait_until
from tests.benchmarks.profiling import Profile
from tests.benchmarks.progress import Progress
from tests.benchmarks.spec import RunSpec
from tests.benchmarks.usage import Usage, broker_pid, shown

_START_S = 90.0
_POLL_S = 0.01
#: A late arm is in the middle of its fetched records; nothing of what it still does is of interest.
_PATIENCE_S = 3.0


@dataclass(frozen=True, slots=True)
class Scenario:
    """One load on one arm.

    Attributes:
        arm: name in the registry.
        title: for tables and plots.
        backlog: records held unconsumed all the time; 0 for none.
        work_us: work per record.
        tune: changes to Tocsin, as JSON (see ``arms.tocsin``).
        flood: priority of the backlog.
    """

    arm: str
    title: str
    backlog: int
    work_us: float
    tune: str = ""
    flood: str = "DEBUG"

    @property
    def load(self) -> str:
        """The load in words."""
        backlog = f"{self.backlog:,} {self.flood} queued" if self.backlog else "no backlog"
        return f"{backlog}, {work_in_words(self.work_us)}"


def work_in_words(work_us: float) -> str:
    """How much an agent has to do."""
    return f"{work_us / 1000:g} ms a record" if work_us else "no extra work"


@dataclass(frozen=True, slots=True)
class Plan:
    """How to measure.

    Attributes:
        rate: CRITICAL a second.
        seconds: for which they are published.
        settle: seconds that a worker has after its first record: connecting, filling its buffers.
        grace: seconds to wait for late ones.
        partitions: of every topic.
        profile: whether to record where the worker's time goes.
        rows: pairs of event type and priority that are counted before; about so many.
    """

    rate: float = 100.0
    seconds: float = 10.0
    settle: float = 2.0
    grace: float = 40.0
    partitions: int = 8
    profile: bool = False
    rows: int = 0


class _DepthWatch(threading.Thread):
    """Looks at the depth of the backlog while CRITICAL is published."""

    def __init__(self, filled: Progress | None, worker: Progress) -> None:
        super().__init__(daemon=True)
        self._filled = filled
        self._worker = worker
        self._stopped = threading.Event()
        self._depths: list[int] = []

    def run(self) -> None:
        while self._filled is not None and not self._stopped.wait(_POLL_S):
            self._depths.append(max(0, self._filled.read().handled - self._worker.read().flooded))

    def stop(self) -> dict[str, float]:
        """Median depth, and the one that was exceeded in 95 % of the time."""
        self._stopped.set()
        self.join()
        depths = self._depths or [0]
        return {"queued": percentile(depths, 0.5), "queued_least": percentile(depths, 0.05)}


def run_scenario(
    scenario: Scenario,
    arm: Arm,
    brokers: str,
    folder: Path,
    number: int,
    plan: Plan,
    beside: Callable[[RunSpec], AbstractContextManager[object]] = lambda _: nullcontext(),
) -> dict[str, Any]:
    """Measure once; ``beside`` runs something else while CRITICAL is published.

    Returns:
        ``agent`` and ``visible``, in seconds; ``records_per_s``; how deep the backlog was; processor use.

    Raises:
        BenchmarkError: the arm or a publisher did not do its part.
    """
    name = f"bench-{arm.name}-{number}"
    path = folder / name
    path.mkdir()
    prefix, alerts = f"{name}.notifications.", f"{name}.alerts."
    spec = RunSpec(
        brokers=brokers,
        group=name,
        prefix=prefix,
        alerts=alerts,
        partitions=plan.partitions,
        work_us=scenario.work_us,
        target=0,
        progress=str(path / "progress"),
        folder=str(path),
        options=arm.options
        | {"forward": True, "flood": scenario.flood, "tune": json.loads(scenario.tune or "null")},
    )
    hop = f"{name}.hop"
    topics = notification_topics(prefix)
    create_topics(brokers, [*topics.values(), f"{alerts}critical", f"{alerts}error", hop], plan.partitions)
    worker, seen = Progress(spec.progress), Progress(path / "seen")
    filled, sent = Progress(path / "filled"), Progress(path / "sent")
    flood = Flood(
        brokers,
        f"{prefix}{scenario.flood.lower()}",
        plan.partitions,
        scenario.backlog,
        progress=str(path / "filled"),
        consumed=spec.progress,
        priority=scenario.flood,
    )
    count = round(plan.rate * plan.seconds)
    critical = Load(
        "steady",
        brokers,
        prefix,
        count,
        str(path / "sent"),
        rate=plan.rate,
        result=str(path / "sent.json"),
        hop=hop,
    )
    watcher = RunSpec(
        brokers, name, prefix, alerts, plan.partitions, 0, 0, str(path / "seen"), str(path), {"hop": hop}
    )
    with ExitStack() as stack:
        started: list[Child] = []

        def start(module: str, argument: str, log: str, **options: Any) -> Child:
            child = stack.enter_context(running(module, argument, log=path / log, **options))
            started.append(child)
            return child

        if scenario.backlog:
            start(*flood.command, log="fill.log")
        watching = start("tests.benchmarks.measure", watcher.to_json(), log="seen.log")
        process = start(
            f"tests.benchmarks.arms.{arm.module}", spec.to_json(), log="log", python=arm.python, env=arm.env
        )
        wait_until(lambda: seen.read().ready, _START_S, "the consumer of alerts", *started)
        if scenario.backlog:
            wait_until(lambda: filled.read().ready, _START_S, "the backlog", *started)
            wait_until(lambda: worker.read().flooded > 0, _START_S, "the first of the backlog", *started)
        else:
            first = _wake(brokers, prefix, path, plan.rows)
            wait_until(lambda: worker.read().handled >= first, _START_S, "the first records", *started)
        time.sleep(plan.settle)
        with beside(spec):
            publishing = start(*critical.command, log="sent.log")
            wait_until(lambda: sent.read().handled > 0, _START_S, "the first CRITICAL", publishing)
            usage, began = Usage(process.pid, broker_pid(folder)), time.monotonic()
            handled = worker.read().handled
            depth = _DepthWatch(filled if scenario.backlog else None, worker)
            depth.start()
            profile = Profile(process.pid, 10, report.RESULTS / f"{name}.raw") if plan.profile else None
            publishing.wait(plan.seconds + 60)
            used, queued = usage.since_start(), depth.stop()
        rate = (worker.read().handled - handled) / (time.monotonic() - began)
        _wait_for_stragglers(seen, sent.read().handled, plan.grace)
        if profile is not None:
            profile.print_hottest()
        process.stop(_PATIENCE_S)
        watching.stop()
    found = latencies(
        read_json(path / "sent.json"),
        read_json(path / "seen.json"),
        read_handled(path),
        read_json(path / "hops.json"),
        read_json(path / "hops-seen.json"),
    )
    delete_topics(brokers, name)
    if not found["visible"]:
        raise BenchmarkError("No CRITICAL was published.")
    return found | {"records_per_s": rate, **queued, **used}


def _wake(brokers: str, prefix: str, path: Path, rows: int) -> int:
    """Without a backlog, one notification tells when the worker works, or those that make ``rows`` do.

    They bear no number to be measured. Returns how many they are.
    """
    mix = dict.fromkeys(MIX, 0.2) if rows else {"info": 1.0}
    # Five a row, so that hardly one is left out.
    messages, event_types = (5 * rows, rows // len(mix)) if rows else (1, 1)
    first = Load("fill", brokers, prefix, messages, str(path / "woken"), mix=mix, event_types=event_types)
    first.run(path / "fill.log")
    return messages


def _wait_for_stragglers(seen: Progress, count: int, grace_s: float) -> None:
    until = time.monotonic() + grace_s
    while seen.read().handled < count and time.monotonic() < until:
        time.sleep(_POLL_S)


def milliseconds(seconds: float) -> str:
    """A latency for a table."""
    if seconds == float("inf"):
        return "never"
    if seconds >= 1:
        return f"{seconds:.1f} s"
    return f"{seconds * 1000:.1f} ms" if seconds < 0.1 else f"{seconds * 1000:.0f} ms"


def in_a_line(run: dict[str, Any]) -> str:
    """One measurement for the log."""
    agent, visible, hop = (summary(run[what]) for what in ("agent", "visible", "hop"))
    return (
        f"to the agent p50 {milliseconds(agent['p50'])}, p99 {milliseconds(agent['p99'])}; "
        f"to a consumer p50 {milliseconds(visible['p50'])}, p99 {milliseconds(visible['p99'])}, "
        f"max {milliseconds(visible['max'])}; {visible['samples']:.0f} samples; "
        f"a bare hop p50 {milliseconds(hop['p50'])}, p99 {milliseconds(hop['p99'])}; "
        f"{run['queued']:,.0f} queued, {run['records_per_s']:,.0f} records/s; {shown(run)}"
    )
