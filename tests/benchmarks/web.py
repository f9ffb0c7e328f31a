"""``python -m tests.benchmarks.web``: what readers of the web views cost CRITICAL.

CRITICAL is published at a fixed rate to a worker that has some thousand counts, and the same through Kafka
alone between two of them: a bare hop, which has to share the machine with the readers as well.

The first repeat does not count: the broker's JVM was just started, and compiles for 2 to 5 s of processor in
each of its first two runs.

Each repeat has three runs: without readers; with requests for counts on the worker itself; with live streams
and more requests on `tocsin web`. The figure is the time to a consumer of ``alerts.critical`` in bare hops,
with readers and without.

Beside it: how long it takes until an open page shows what was published (see ``web_shown``).
"""

from __future__ import annotations

import argparse
import socket
import urllib.request
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.benchmarks import report, web_shown
from tests.benchmarks.arms.registry import arms
from tests.benchmarks.cluster import bench_cluster
from tests.benchmarks.latency_run import Plan, Scenario, in_a_line, milliseconds, run_scenario
from tests.benchmarks.measure import median_and_spread, paired_ratios, read_json, summary
from tests.benchmarks.processes import BenchmarkError, Child, running, wait_until
from tests.benchmarks.spec import RunSpec
from tests.benchmarks.targets import Target, all_met
from tests.benchmarks.web_readers import Readers

#: CRITICAL with readers to CRITICAL without, both in bare hops.
LIMIT = 1.2
_START_S = 60.0


@dataclass(frozen=True, slots=True)
class Reading:
    """Who reads.

    Attributes:
        title: for tables.
        rate: requests for counts a second.
        streams: live streams.
        beside: whether `tocsin web` serves them, and not the worker.
    """

    title: str
    rate: float = 0.0
    streams: int = 0
    beside: bool = False


def readings(options: argparse.Namespace) -> list[Reading]:
    """Nobody, some on the worker, many on `tocsin web`."""
    return [
        Reading("no readers"),
        Reading(f"{options.worker_rate:g} requests/s on the worker", options.worker_rate),
        Reading(
            f"{options.streams} live streams and {options.web_rate:g} requests/s on tocsin web",
            options.web_rate,
            options.streams,
            beside=True,
        ),
    ]


class Beside:
    """Runs the readers of one measurement, and what serves them.

    Args:
        reading: who reads.
        port: of the worker's web views.
    """

    def __init__(self, reading: Reading, port: int) -> None:
        self._reading = reading
        self._port = port
        self._result: Path | None = None

    def __call__(self, spec: RunSpec) -> AbstractContextManager[object]:
        """While CRITICAL is published."""
        return self._running(spec) if self._reading.rate or self._reading.streams else nullcontext()

    @property
    def found(self) -> dict[str, Any]:
        """What came of it."""
        return {} if self._result is None else read_json(self._result)

    @contextmanager
    def _running(self, spec: RunSpec) -> Iterator[None]:
        path = spec.path
        if not self._reading.beside:
            with self._readers(path, f"http://127.0.0.1:{self._port}/"):
                yield
            return
        port = free_port()
        env = {
            "TOCSIN_BROKERS": spec.brokers,
            "TOCSIN_APP_ID": spec.group,
            "TOCSIN_EVENT_COUNTS_TOPIC": f"{spec.group}-event-counts",
            "TOCSIN_WEB_PORT": str(port),
            "TOCSIN_WEB_LIVE_CLIENTS": str(self._reading.streams),
        }
        address = f"http://127.0.0.1:{port}/"
        with running("tocsin", "web", log=path / "web.log", env=env) as web:
            wait_until(lambda: is_ready(address), _START_S, "tocsin web", web)
            with self._readers(path, address, web):
                yield

    @contextmanager
    def _readers(self, path: Path, address: str, *served: Child) -> Iterator[None]:
        self._result = path / "readers.json"
        ready = path / "readers-ready"
        readers = Readers(address, self._reading.rate, self._reading.streams, str(self._result), str(ready))
        with running(*readers.command, log=path / "readers.log") as child:
            wait_until(ready.exists, _START_S, "the readers", child, *served)
            yield
            child.check()


def is_ready(address: str) -> bool:
    """Whether web views have all counts."""
    try:
        with urllib.request.urlopen(f"{address}readyz", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def free_port() -> int:
    """A port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def in_hops(runs: Sequence[Mapping[str, Any]], figure: str) -> list[float]:
    """A figure of CRITICAL to a consumer in bare hops of the same run, one a run."""
    return [summary(run["visible"])[figure] / summary(run["hop"])[figure] for run in runs]


def targets(results: Mapping[Reading, Sequence[Mapping[str, Any]]]) -> list[Target]:
    """With readers beside without, of each reading."""
    alone = next((runs for reading, runs in results.items() if not (reading.rate or reading.streams)), [])
    found = []
    for reading, runs in results.items():
        if not (reading.rate or reading.streams):
            continue
        for figure in ("p50", "p99"):
            ratio = median_and_spread(paired_ratios(in_hops(runs, figure), in_hops(alone, figure)))[0]
            what = f"{reading.title}: {figure} of CRITICAL in bare hops, to that without readers"
            found.append(Target("web", what, LIMIT, ratio, "x", True))
        failed = sum(run["readers"]["failed"] for run in runs)
        found.append(Target("web", f"{reading.title}: readers that failed", 0, failed, "", True))
    return found


def main(arguments: list[str] | None = None) -> int:
    """Run all readings several times in turn; 0 when Tocsin met its targets."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=15.0, help="of CRITICAL in each run")
    parser.add_argument("--rate", type=float, default=100.0, help="CRITICAL a second")
    parser.add_argument("--rows", type=int, default=6000, help="counts, of an event type and priority each")
    parser.add_argument("--worker-rate", type=float, default=100.0, help="requests a second on the worker")
    parser.add_argument("--web-rate", type=float, default=500.0, help="requests a second on tocsin web")
    parser.add_argument("--streams", type=int, default=200, help="live streams of tocsin web")
    parser.add_argument("--partitions", type=int, default=8)
    parser.add_argument("--warm-up", type=int, default=1, help="repeats before, whose results do not count")
    parser.add_argument(
        "--shown", type=int, default=20, help="of CRITICAL, and of others, looked for on a page"
    )
    parser.add_argument("--only-shown", action="store_true", help="without the readers")
    parser.add_argument("--quick", action="store_true", help="once, and shorter")
    options = parser.parse_args(arguments)
    if options.quick:
        options.repeats, options.seconds, options.shown = 1, min(options.seconds, 5.0), min(options.shown, 5)
    plan = Plan(rate=options.rate, seconds=options.seconds, partitions=options.partitions, rows=options.rows)
    before = report.machine()
    arm = arms()["tocsin"]
    results: dict[Reading, list[dict[str, Any]]] = defaultdict(list)
    every = [] if options.only_shown else readings(options)
    turns = every * (options.warm_up + options.repeats)
    with bench_cluster() as (brokers, folder):
        for number, reading in enumerate(turns):
            print(f"{number + 1} of {len(turns)}: {reading.title}", flush=True)
            port = free_port()
            scenario = Scenario(
                "tocsin", reading.title, 0, 0.0, tune=f'{{"settings": {{"web_port": {port}}}}}'
            )
            beside = Beside(reading, port)
            run = run_scenario(scenario, arm, brokers, folder, number, plan, beside)
            run["readers"] = beside.found
            if reading.rate and run["readers"].get("requests_per_s", 0.0) < 0.9 * reading.rate:
                print(f"    Note: only {run['readers']['requests_per_s']:.0f} requests/s", flush=True)
            if reading.streams and run["readers"].get("streams") != reading.streams:
                raise BenchmarkError(f"Only {run['readers']['streams']} live streams have begun.")
            print(f"    {in_a_line(run)}", flush=True)
            if number >= options.warm_up * len(every):
                results[reading].append(run)
        shown = web_shown.run(brokers, folder, options)
    return _report(options, before, results, shown)


def rows(results: Mapping[Reading, Sequence[Mapping[str, Any]]]) -> list[list[str]]:
    """The table: one row a reading."""
    found = []
    for reading, runs in results.items():
        row = [reading.title]
        for what in ("visible", "hop"):
            for figure in ("p50", "p99"):
                middle, least, most = map(
                    milliseconds, median_and_spread(summary(run[what])[figure] for run in runs)
                )
                row.append(f"{middle} ({least} to {most})" if len(runs) > 1 else middle)
        row += [f"{median_and_spread(in_hops(runs, figure))[0]:.2f}" for figure in ("p50", "p99")]
        answers = [run["readers"] for run in runs if run["readers"]]
        if answers:
            row.append(f"{median_and_spread(each['requests_per_s'] for each in answers)[0]:.0f}")
            row.append(milliseconds(median_and_spread(each["answer_s"]["p99"] for each in answers)[0]))
            row.append(f"{median_and_spread(each['events_per_s'] for each in answers)[0]:.0f}")
        else:
            row += ["", "", ""]
        row.append(f"{median_and_spread(run['cpu'] for run in runs)[0]:.0%}")
        found.append(row)
    return found


def _show(options: argparse.Namespace, results: Mapping[Reading, list[dict[str, Any]]]) -> None:
    report.show(
        f"CRITICAL at {options.rate:g}/s to a consumer of alerts.critical, with {options.rows:,} counts and "
        "readers; median (least to greatest) of the runs",
        [
            *("", "p50", "p99", "p50 hop", "p99 hop", "p50 in hops", "p99 in hops"),
            *("requests/s", "p99 answer", "events/s", "worker busy"),
        ],
        rows(results),
    )


def _report(
    options: argparse.Namespace,
    before: dict[str, Any],
    results: Mapping[Reading, list[dict[str, Any]]],
    shown: Mapping[str, list[float]],
) -> int:
    if results:
        _show(options, results)
    if shown:
        title = "From publishing to a page in Chromium that was open, with the worker's default settings"
        report.show(title, ["", "samples", "p50", "max"], web_shown.rows(shown))
    reached = targets(results) + web_shown.targets(shown)
    report.finish(
        "web",
        before,
        reached,
        {
            "options": vars(options),
            "shown_s": shown,
            "results": [
                {
                    "reading": reading.title,
                    "visible": [summary(run["visible"]) for run in runs],
                    "hop": [summary(run["hop"]) for run in runs],
                    "readers": [run["readers"] for run in runs],
                }
                for reading, runs in results.items()
            ],
        },
    )
    return 0 if all_met(reached) else 1


if __name__ == "__main__":
    raise SystemExit(main())
