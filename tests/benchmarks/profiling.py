"""Where a process spends its time, by py-spy (needs no change in the process)."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path


class Profile:
    """A recording of a process for some seconds, in the background."""

    def __init__(self, pid: int, seconds: int, out: Path) -> None:
        self._out = out
        out.parent.mkdir(parents=True, exist_ok=True)
        self._process = subprocess.Popen(
            [
                str(Path(sys.executable).with_name("py-spy")),
                *("record", "--pid", str(pid), "--duration", str(seconds), "--rate", "200"),
                *("--format", "raw", "--output", str(out)),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def print_hottest(self, count: int = 30) -> None:
        """Wait for the end of the recording, and print functions by own and by inclusive time."""
        self._process.wait(60)
        if not self._out.exists():
            print("py-spy recorded nothing (it may not be allowed to).")
            return
        own: Counter[str] = Counter()
        inclusive: Counter[str] = Counter()
        for line in self._out.read_text().splitlines():
            stack, _, samples = line.rpartition(" ")
            frames = [frame.rpartition(":")[0] for frame in stack.split(";")]
            own[frames[-1]] += int(samples)
            for frame in set(frames):
                inclusive[frame] += int(samples)
        total = own.total()
        for title, found in (("own time", own), ("with callees", inclusive)):
            print(f"\n{title}, of {total} samples ({self._out})")
            for frame, number in found.most_common(count):
                print(f"{100 * number / total:6.1f} %  {frame}")
