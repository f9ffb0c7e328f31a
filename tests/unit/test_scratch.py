"""Programs that run for minutes leave no folder behind, also when they are told to end."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests import children

_PROGRAM = """
import signal, tempfile
from tests.scratch import scratch_folder

with {context} as folder:
    open(f"{{folder}}/file", "w").close()
    print(folder, flush=True)
    signal.pause()
"""


def left_by(context: str, number: signal.Signals, parent: Path) -> tuple[bool, int]:
    """Whether a program's folder is there after a signal, and its exit code."""
    program = _PROGRAM.format(context=context.format(parent=str(parent)))
    process = children.start([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdout is not None
        folder = Path(process.stdout.readline().strip())
        assert (folder / "file").exists()
        process.send_signal(number)
        code = process.wait()
    return folder.exists(), code


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_folder_is_gone_after_a_signal(number: signal.Signals, tmp_path: Path) -> None:
    assert left_by("scratch_folder('test-', '{parent}')", number, tmp_path) == (False, 128 + number)


def test_without_it_the_folder_stays(tmp_path: Path) -> None:
    left, _ = left_by("tempfile.TemporaryDirectory(dir='{parent}')", signal.SIGTERM, tmp_path)
    assert left
