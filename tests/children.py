"""Processes that tests start: none of them outlives the process that started it, however that ends.

Linux kills them when the thread that started them ends, so start them in the main thread, or wait for their
end in the thread that started them.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests import leash


def start(command: Sequence[str | Path], **options: Any) -> subprocess.Popen[Any]:
    """``subprocess.Popen`` of a command that is killed when this process ends."""
    return subprocess.Popen(leashed(command), **options)


def run(command: Sequence[str | Path], **options: Any) -> subprocess.CompletedProcess[Any]:
    """``subprocess.run`` of such a command, without ``check`` unless it is asked for."""
    return subprocess.run(leashed(command), check=options.pop("check", False), **options)


def leashed(command: Sequence[str | Path]) -> list[str]:
    """The command line that puts ``command`` on a leash; its pid and name are those of ``command``."""
    return [sys.executable, "-I", "-S", leash.__file__, str(os.getpid()), *map(str, command)]
