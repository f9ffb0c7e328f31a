"""Results: on the screen as a table, and as JSON with everything that they depend on."""

from __future__ import annotations

import importlib.metadata
import json
import math
import os
import platform
import subprocess
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.benchmarks.arms.registry import Arm
from tests.benchmarks.cluster import scratch
from tests.benchmarks.processes import ROOT
from tests.benchmarks.targets import Target
from tocsin.local_kafka.jars import KAFKA_VERSION

RESULTS = ROOT / "bench-results"
_PACKAGES = ("faust-streaming", "aiokafka", "orjson", "rocksdict", "uvloop")

_PEERS = ("confluent-kafka", "quixstreams")


def machine() -> dict[str, Any]:
    """What the figures depend on besides the code."""
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "load": _load(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "kafka": KAFKA_VERSION,
        "commit": _commit(),
        "data": scratch(),
        "peers": _peers(),
        **{name: importlib.metadata.version(name) for name in _PACKAGES},
    }


def _load() -> list[float]:
    return [round(value, 2) for value in os.getloadavg()]


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def _peers() -> dict[str, str]:
    """Versions of the peers that have an environment of their own, as pinned."""
    found = {}
    for line in (ROOT / "requirements" / "peers.txt").read_text().splitlines():
        name, _, rest = line.partition("==")
        if name in _PEERS:
            found[name] = rest.split()[0]
    return found


def _commit() -> str:
    try:
        return subprocess.run(
            ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def show_machine(before: dict[str, Any]) -> None:
    """Print what the figures depend on."""
    versions = ", ".join(f"{name} {before[name]}" for name in ("python", "kafka", *_PACKAGES))
    versions += "".join(f", {name} {version}" for name, version in before["peers"].items())
    load = os.getloadavg()[0]
    print(
        f"{before['cpu']}, {before['cores']} cores, load {before['load'][0]} before and {load:.2f} after, "
        f"Kafka's data in {before['data']}; {versions}; Tocsin {before['commit']}"
    )


def show(title: str, columns: list[str], rows: list[list[str]]) -> None:
    """Print a table."""
    table = Table(title=title, title_justify="left")
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left", overflow="fold")
    for row in rows:
        table.add_row(*row)
    Console(width=None if Console().is_terminal else 150).print(table)


def available(wanted: Iterable[Arm]) -> dict[str, Arm]:
    """Those arms that can run on this machine, by name; says why the others cannot."""
    found = {}
    for arm in wanted:
        if reason := arm.available():
            print(f"Without {arm.title}: {reason}", flush=True)
        else:
            found[arm.name] = arm
    return found


def show_targets(targets: Sequence[Target]) -> None:
    """Print what was aimed at, what was reached, and whether that is enough."""
    show("Targets", ["", "bar", "reached", "verdict"], [target.row() for target in targets])


def finish(name: str, before: dict[str, Any], targets: Sequence[Target], result: dict[str, Any]) -> Path:
    """End of a benchmark: print its targets and the machine, write everything as JSON."""
    if targets:
        show_targets(targets)
    show_machine(before)
    result = {"machine": before, "targets": [target.to_json() for target in targets]} | result
    path = write(name, result)
    print(f"Written to {path.relative_to(ROOT)}", flush=True)
    return path


def plot_path(name: str) -> Path:
    """Where to put a plot."""
    return RESULTS / f"{name}-{_now()}.svg"


def _now() -> str:
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S}"


def write(name: str, result: dict[str, Any]) -> Path:
    """Write the results as JSON, with the load at the end; infinite is "inf", NaN null."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}-{_now()}.json"
    after = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "load": _load()}
    result = {"after": after} | result
    path.write_text(json.dumps(_plain(result), indent=1, allow_nan=False) + "\n")
    return path


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return "inf" if math.isinf(value) else None
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
