"""``python -m tests.benchmarks.publish``: how many notifications a second each driver takes and delivers.

``notify`` is a call of the notifier in a service: how many calls a second the caller's thread could make, by
its processor time, since other threads share the interpreter with it. Delivered is by the clock, from the
first call until the last delivery is confirmed, by a real server on the same machine.
"""

from __future__ import annotations

import argparse
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from streams.publishing.driver import Driver, load_driver
from streams.publishing.notifier import Notifier
from streams.settings import load_settings
from tests.benchmarks import report
from tests.benchmarks.cluster import bench_cluster
from tests.benchmarks.measure import median_and_spread
from tests.benchmarks.processes import BenchmarkError
from tests.benchmarks.targets import Target, all_met
from tests.benchmarks.trial import make_topics
from tests.debian_packages import NotToBeHadError
from tests.rabbit_server import RabbitServer

#: Calls of ``notify`` a second with the driver noop.
LIMIT = 100_000.0
_PREFIX = "bench-publish.notifications."
_PAYLOAD = {"instance_id": "4b0ee1f0-6a57-4a5a-8bd0-1f8a1bd6a1c5", "state": "active", "metrics": [1, 2, 3]}
_WAIT_S = 120.0
#: Drivers with a buffer get one that holds everything, so that nothing is dropped.
_ROOM = {"buffer_bytes": 2**30}

Make = Callable[[], Driver]


def _run(make: Make, number: int) -> dict[str, float]:
    with make() as driver:
        notifier = Notifier("compute.host1", driver, topic_prefix=_PREFIX)
        # Connections and threads are there before the clock runs.
        notifier.info("compute.instance.create.end", _PAYLOAD)
        if not driver.flush(_WAIT_S):
            raise BenchmarkError("the first notification was not delivered")
        began, used = time.monotonic(), time.thread_time()
        for _ in range(number):
            notifier.info("compute.instance.create.end", _PAYLOAD)
        used = time.thread_time() - used
        if not driver.flush(_WAIT_S) or driver.stats.delivered != number + 1:
            raise BenchmarkError(f"not everything was delivered: {driver.stats}")
        return {"calls": number / used, "delivered": number / (time.monotonic() - began)}


@contextmanager
def _drivers() -> Iterator[dict[str, tuple[Make, float]]]:
    """Each driver, with the share of the notifications that it is measured with."""
    with ExitStack() as stack:
        brokers, folder = stack.enter_context(bench_cluster())
        make_topics(brokers, _PREFIX, 8)
        settings = load_settings(brokers=brokers)
        found: dict[str, tuple[Make, float]] = {
            "noop": (lambda: load_driver("noop"), 1.0),
            "memory": (lambda: load_driver("memory"), 1.0),
            "log": (lambda: load_driver("log", logger="bench.publish"), 0.5),
            "file": (lambda: load_driver("file", path=folder / "n.jsonl", **_ROOM), 1.0),
            "kafka": (lambda: load_driver("kafka", settings=settings, **_ROOM), 1.0),
            "routing": (
                lambda: load_driver(
                    "routing", settings=settings, routes={"g": {"noop": {"accepted_events": ["*"]}}}, **_ROOM
                ),
                1.0,
            ),
        }
        try:
            server = RabbitServer(folder / "rabbitmq")
        except NotToBeHadError as error:
            print(f"Without the driver rabbit: {error}.", flush=True)
        else:
            stack.callback(server.stop)
            server.start()
            for form in ("envelope", "flat"):
                found[f"rabbit, {form}"] = (_rabbit(server.url, form), 0.2)
        _log_to(folder / "log")
        yield found


def _rabbit(url: str, form: str) -> Make:
    return lambda: load_driver("rabbit", url=url, form=form, **_ROOM)


def _log_to(path: Path) -> None:
    logger = logging.getLogger("bench.publish")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.handlers[:] = [logging.FileHandler(path)]


def targets(results: dict[str, list[dict[str, float]]]) -> list[Target]:
    """At least 100,000 calls a second with noop, in the median run."""
    if not (runs := results.get("noop")):
        return []
    reached = median_and_spread(run["calls"] for run in runs)[0]
    return [Target("publish", "notify with the driver noop", LIMIT, reached, "calls/s", False)]


def main(arguments: list[str] | None = None) -> int:
    """Measure every driver; 0 when noop met its target."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--notifications", type=int, default=200_000, help="for the quickest drivers")
    parser.add_argument("--quick", action="store_true", help="fewer, once")
    options = parser.parse_args(arguments)
    if options.quick:
        options.repeats, options.notifications = 1, min(options.notifications, 20_000)
    before = report.machine()
    results: dict[str, list[dict[str, float]]] = defaultdict(list)
    with _drivers() as drivers:
        for repeat in range(options.repeats):
            for name, (make, share) in drivers.items():
                run = _run(make, int(options.notifications * share))
                results[name].append(run)
                print(
                    f"{repeat + 1}/{options.repeats} {name}: {run['calls']:,.0f} calls/s, "
                    f"{run['delivered']:,.0f} delivered/s",
                    flush=True,
                )
    report.show(
        "Notifications a second, one service with one thread that publishes; the median of the runs",
        ["driver", "notify, calls/s", "delivered/s"],
        [[name, *(f"{_median(runs, what):,.0f}" for what in runs[0])] for name, runs in results.items()],
    )
    reached = targets(results)
    result: dict[str, Any] = {"options": vars(options), "runs": results}
    report.finish("publish", before, reached, result)
    return 0 if all_met(reached) else 1


def _median(runs: list[dict[str, float]], what: str) -> float:
    return median_and_spread(run[what] for run in runs)[0]


if __name__ == "__main__":
    raise SystemExit(main())
