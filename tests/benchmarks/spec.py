"""What a run of an arm is told: one JSON object on its command line."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.leash import die_with_parent


@dataclass(frozen=True, slots=True)
class RunSpec:
    """One run of one arm.

    Attributes:
        brokers: bootstrap addresses.
        group: consumer group, and the application id.
        prefix: of the notification topics.
        alerts: prefix of the alert topics.
        partitions: of every notification topic.
        work_us: microseconds of work to burn per record, besides reading and counting it.
        target: number of records after which the clock is stopped; 0 for none.
        progress: file that the arm tells its progress in (see ``Progress``).
        folder: for state and logs.
        options: of the arm, such as ``table`` or ``forward``.
    """

    brokers: str
    group: str
    prefix: str
    alerts: str
    partitions: int
    work_us: float
    target: int
    progress: str
    folder: str
    options: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        """The form that goes on a command line."""
        return json.dumps(asdict(self))

    @property
    def path(self) -> Path:
        """The folder."""
        return Path(self.folder)

    def option(self, name: str) -> Any:
        """An option, None when not given."""
        return self.options.get(name)


def from_command_line() -> RunSpec:
    """The spec that this process was started with."""
    die_with_parent()
    return RunSpec(**json.loads(sys.argv[1]))
