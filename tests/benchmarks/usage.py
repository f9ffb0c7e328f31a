"""Who used the processors during a measurement: the arm, the broker, and whoever else is on the machine."""

from __future__ import annotations

import json
import time
from pathlib import Path

import psutil


def broker_pid(folder: Path) -> int:
    """Process id of the Kafka that ``bench_cluster`` started in ``folder``."""
    pid: int = json.loads((folder / "kafka" / "broker-1" / "pid.json").read_text())["pid"]
    return pid


class Usage:
    """Processor time since the making of this object."""

    def __init__(self, arm: int, broker: int) -> None:
        self._processes = {"cpu": psutil.Process(arm), "broker_cpu": psutil.Process(broker)}
        self._at = time.monotonic()
        self._before = self._now()

    def _now(self) -> dict[str, float]:
        found = {}
        for name, process in self._processes.items():
            times = process.cpu_times()
            found[name] = times.user + times.system
        machine = psutil.cpu_times()
        found["machine_cpu"] = sum(machine) - machine.idle - getattr(machine, "iowait", 0.0)
        return found

    def since_start(self) -> dict[str, float]:
        """Cores in use on average, and the arm's memory in MB."""
        passed = time.monotonic() - self._at
        now = self._now()
        cores = {name: (now[name] - self._before[name]) / passed for name in now}
        cores["other_cpu"] = max(0.0, cores.pop("machine_cpu") - cores["cpu"] - cores["broker_cpu"])
        return cores | {"rss_mb": self._processes["cpu"].memory_info().rss / 2**20}


def shown(usage: dict[str, float]) -> str:
    """The usage in words."""
    return (
        f"cores used: itself {usage['cpu']:.2f}, broker {usage['broker_cpu']:.2f}, "
        f"others {usage['other_cpu']:.2f}"
    )
