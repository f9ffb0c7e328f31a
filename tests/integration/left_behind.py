"""Not collected by itself: what ``test_nothing_is_left`` lets a pytest of its own run, and kills.

Each test has a worker run on the shared Kafka, says so, and waits for ever.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
from pathlib import Path

import psutil
import pytest

from tests import children
from tests.integration.worker_process import Deployment


@pytest.mark.parametrize("number", [1, 2])
async def test_waits_for_ever(deployment: Deployment, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    if "LEFT_BEHIND_UNLEASHED" in os.environ:
        # The control: a process as any other.
        monkeypatch.setattr(children, "start", subprocess.Popen)
    worker = await deployment.worker().start().ready()
    pid = worker.process.pid
    # The pid may be another's by the time that it is read.
    told = Path(os.environ["LEFT_BEHIND_TOLD"]) / f"{os.getpid()}"
    told.with_suffix(".new").write_text(f"{pid} {psutil.Process(pid).create_time()}")
    told.with_suffix(".new").rename(told)
    await asyncio.Event().wait()
