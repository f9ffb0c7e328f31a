"""``python -m tests.benchmarks.http_bridge``: how much the bridge for HTTP takes in a second.

Clients with connections of their own, in one process, post until the time is over: one notification at a
time, then 100 in a JSON array. A request counts once it is answered 202, so once Kafka has confirmed it.
Bridge, clients and broker share the machine; how much one core of the bridge's own would take is by its
processor time.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import aiohttp
import psutil

from tests import children
from tests.benchmarks import report
from tests.benchmarks.cluster import bench_cluster
from tests.benchmarks.measure import median_and_spread
from tests.benchmarks.processes import BenchmarkError
from tests.benchmarks.trial import make_topics
from tests.paths import ROOT

_PREFIX: Final = "bench-bridge.notifications."
_PAYLOAD: Final = {
    "instance_id": "4b0ee1f0-6a57-4a5a-8bd0-1f8a1bd6a1c5",
    "state": "active",
    "metrics": [1, 2, 3],
}
_SIZES: Final = (1, 100)
_START_S: Final = 60.0


def _body(size: int) -> bytes:
    one = {
        "message_id": "f12b1c1e-0f39-4b1c-a8bd-3f1d2c7b6a55",
        "publisher_id": "compute.host1",
        "timestamp": "2026-11-29 02:00:00.000000",
        "priority": "INFO",
        "event_type": "compute.instance.create.end",
        "payload": _PAYLOAD,
    }
    return json.dumps(one if size == 1 else [one] * size).encode()


async def _load(url: str, size: int, clients: int, seconds: float) -> float:
    """Requests a second that were taken."""
    body, headers = _body(size), {"Content-Type": "application/json"}
    taken = 0
    connector = aiohttp.TCPConnector(limit=clients)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def client() -> None:
            nonlocal taken
            while time.monotonic() < until:
                async with session.post(url, data=body, headers=headers) as answer:
                    await answer.read()
                    if answer.status != 202:
                        raise BenchmarkError(f"the bridge answered {answer.status}")
                taken += 1

        began = time.monotonic()
        until = began + seconds
        await asyncio.gather(*(client() for _ in range(clients)))
        return taken / (time.monotonic() - began)


@contextmanager
def _bridge(brokers: str, folder: Path) -> Iterator[tuple[str, psutil.Process]]:
    """The address of a bridge that runs, and its process."""
    environment = {name: text for name, text in os.environ.items() if not name.startswith("TOCSIN_")}
    environment |= {
        "TOCSIN_BROKERS": brokers,
        "TOCSIN_NOTIFICATION_TOPIC_PREFIX": _PREFIX,
        "TOCSIN_HTTP_BRIDGE_PORT": "0",
    }
    path = folder / "bridge.log"
    with path.open("wb") as log:
        process = children.start(
            [sys.executable, "-m", "tocsin", "bridge", "http"],
            cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        until = time.monotonic() + _START_S
        while (found := re.search(r"The bridge for HTTP is at (\S+)", path.read_text())) is None:
            if process.poll() is not None or time.monotonic() > until:
                raise BenchmarkError(path.read_text())
            time.sleep(0.1)
        yield f"{found[1]}api/v1/notifications", psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(_START_S)


def _cpu_s(process: psutil.Process) -> float:
    """Processor time that a process has taken, in seconds."""
    times = process.cpu_times()
    return float(times.user + times.system)


async def _ready(url: str) -> None:
    """Wait until it takes something."""
    until = time.monotonic() + _START_S
    async with aiohttp.ClientSession() as session:
        while True:
            async with session.post(url, json=[]) as answer:
                if answer.status == 202:
                    return
            if time.monotonic() > until:
                raise BenchmarkError("the bridge takes nothing")
            await asyncio.sleep(0.1)


def main(arguments: list[str] | None = None) -> int:
    """Measure; always 0, having no target."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each run")
    parser.add_argument("--clients", type=int, default=32, help="at a time")
    parser.add_argument("--quick", action="store_true", help="shorter, once")
    options = parser.parse_args(arguments)
    if options.quick:
        options.repeats, options.seconds = 1, min(options.seconds, 3.0)
    before = report.machine()
    results: dict[str, list[dict[str, float]]] = defaultdict(list)
    with bench_cluster() as (brokers, folder):
        make_topics(brokers, _PREFIX, 8)
        with _bridge(brokers, folder) as (url, process):
            asyncio.run(_ready(url))
            for repeat in range(options.repeats):
                for size in _SIZES:
                    used = _cpu_s(process)
                    rate = asyncio.run(_load(url, size, options.clients, options.seconds))
                    used = _cpu_s(process) - used
                    results[f"{size} a request"].append(
                        {
                            "requests": rate,
                            "notifications": rate * size,
                            "of a core": rate * size * options.seconds / used,
                        }
                    )
                    print(
                        f"{repeat + 1}/{options.repeats} {size} a request: {rate:,.0f} requests/s", flush=True
                    )
    report.show(
        "Requests and notifications a second that the bridge for HTTP took; the median of the runs",
        ["notifications", "requests/s", "notifications/s", "notifications/s of a core"],
        [
            [name, *(f"{median_and_spread(run[what] for run in runs)[0]:,.0f}" for what in runs[0])]
            for name, runs in results.items()
        ],
    )
    result: dict[str, Any] = {"options": vars(options), "runs": results}
    report.finish("http_bridge", before, [], result)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
