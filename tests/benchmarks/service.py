"""What an arm did for each priority, seen by others at once; and extra work by priority."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.shared_numbers import SharedNumbers
from tests.benchmarks.spec import RunSpec

#: Every priority that an arm may meet, in the order of the file.
PRIORITIES = ("CRITICAL", "ERROR", "WARN", "INFO", "DEBUG")
#: Name of the file in the folder of an arm's ``RunSpec``.
FILE = "service"
_GATE_POLL_S = 0.02


@dataclass(frozen=True, slots=True)
class Served:
    """Records and seconds in the agent, by priority, at one moment."""

    records: Mapping[str, int]
    seconds: Mapping[str, float]

    def since(self, earlier: Served) -> Served:
        """What came after ``earlier``."""
        return Served(
            {name: self.records[name] - earlier.records[name] for name in PRIORITIES},
            {name: self.seconds[name] - earlier.seconds[name] for name in PRIORITIES},
        )


class ServiceTimes:
    """Numbers of one writer, in a file that both map into memory."""

    def __init__(self, folder: str | Path) -> None:
        """Open the file in ``folder``; made when missing."""
        self._shared = SharedNumbers(Path(folder) / FILE, 2 * len(PRIORITIES))
        self._values = self._shared.all()

    def add(self, priority: str, records: int, nanoseconds: int) -> None:
        """So much more was done."""
        place = 2 * PRIORITIES.index(priority)
        self._values[place] += records
        self._values[place + 1] += nanoseconds
        for each in (place, place + 1):
            self._shared[each] = self._values[each]

    def read(self) -> Served:
        """What the writer wrote last."""
        values = self._shared.all()
        return Served(
            dict(zip(PRIORITIES, values[::2], strict=True)),
            {name: value / 1e9 for name, value in zip(PRIORITIES, values[1::2], strict=True)},
        )


def work_seconds(spec: RunSpec, priority: str) -> float:
    """Seconds of work to burn per record: by the option ``work_us_by_priority``, else ``spec.work_us``."""
    by_priority: Mapping[str, float] = spec.option("work_us_by_priority") or {}
    return by_priority.get(priority, spec.work_us) / 1e6


class Gate:
    """Holds an arm's agents before their first record, until the file of the option ``gate`` is there.

    So that connecting, recovering and the filling of buffers are over when the measurement begins.
    """

    def __init__(self, spec: RunSpec) -> None:
        """Open at once when there is no such option."""
        name = spec.option("gate")
        self._path = Path(name) if name else None

    async def opened(self) -> None:
        """Wait until it is open."""
        while self._path is not None:
            if self._path.exists():
                self._path = None
            else:
                await asyncio.sleep(_GATE_POLL_S)
