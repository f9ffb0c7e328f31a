"""Worker processes of a run: started, stopped, killed, frozen, asked."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import orjson

from tests import children
from tests.paths import ROOT

_POLL_S = 0.05
_ADDRESS = re.compile(rb"The web views are at http://([0-9.]+):([0-9]+)/")


class ChaosError(Exception):
    """A run could not be carried out; the message says why."""


async def until(what: str, holds: Callable[[], Awaitable[bool] | bool], timeout_s: float) -> float:
    """Wait until ``holds`` says so, and return the seconds that it took.

    Raises:
        ChaosError: it did not come true in time.
    """
    begun = time.monotonic()
    while True:
        answer = holds()
        if answer if isinstance(answer, bool) else await answer:
            return time.monotonic() - begun
        if time.monotonic() - begun > timeout_s:
            raise ChaosError(f"Waited {timeout_s:.0f} s in vain: {what}.")
        await asyncio.sleep(_POLL_S)


class Member:
    """One worker of the group, which may be started again and again.

    Args:
        name: of the worker; it stands in the history.
        module: run as ``python -m``.
        environment: of the process, complete.
        folder: holds its log, its data folder and the file that tells it to strike itself.
        probed: whether it has web views that say when it is ready.
    """

    def __init__(
        self, name: str, module: str, environment: dict[str, str], folder: Path, *, probed: bool = True
    ) -> None:
        self.name = name
        self.folder = folder
        self.log = folder / f"{name}.log"
        self.strike_file = folder / f"{name}.strike"
        self.environment = environment | {"CHAOS_NAME": name, "CHAOS_STRIKE": str(self.strike_file)}
        self._module = module
        self._probed = probed
        self._log_start = 0
        self._folders = 0
        self.process: subprocess.Popen[bytes] | None = None
        self.frozen = False

    @property
    def data_dir(self) -> Path:
        """Its local state."""
        return self.folder / f"{self.name}.{self._folders}"

    def start(self, *, fresh: bool = False, **environment: str) -> None:
        """Start the process.

        Args:
            fresh: with an empty data folder, as after the loss of a machine.
            environment: further variables, for this start only.
        """
        assert not self.runs, f"{self.name} runs already"
        self._folders += fresh
        self.strike_file.unlink(missing_ok=True)
        self._log_start = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            self.process = children.start(
                [sys.executable, "-m", self._module],
                cwd=ROOT,
                env=self.environment | {"TOCSIN_DATA_DIR": str(self.data_dir)} | environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.frozen = False

    @property
    def runs(self) -> bool:
        """Whether the process lives, frozen or not."""
        return self.process is not None and self.process.poll() is None

    @property
    def exit_code(self) -> int | None:
        """Of the last process, once it has ended."""
        return None if self.process is None else self.process.poll()

    def send(self, number: signal.Signals) -> None:
        """Send a signal, if it lives."""
        if self.process is not None and self.runs:
            self.process.send_signal(number)
            if number in {signal.SIGSTOP, signal.SIGCONT}:
                self.frozen = number == signal.SIGSTOP

    async def kill(self) -> None:
        """End it with SIGKILL."""
        self.send(signal.SIGKILL)
        await self.gone(60)

    async def gone(self, timeout_s: float) -> float:
        """Wait for its end, and return the seconds that it took."""
        return await until(f"{self.name} has ended", lambda: not self.runs, timeout_s)

    async def strike(self, place: str, with_signal: str = "SIGKILL", timeout_s: float = 5.0) -> bool:
        """Let it send itself a signal at a place of its life; False when it did not come there in time."""
        scratch = self.strike_file.with_suffix(".new")
        scratch.write_text(f"{place} {with_signal}", encoding="ascii")
        scratch.rename(self.strike_file)
        try:
            await until("struck", lambda: not self.strike_file.exists() or not self.runs, timeout_s)
            if with_signal == "SIGKILL":
                await self.gone(timeout_s)
            else:
                self.frozen = True
            return True
        except ChaosError:
            self.strike_file.unlink(missing_ok=True)
            return False

    # ---------------------------------------------------------------- questions

    def text(self) -> bytes:
        """What it logged since its last start."""
        with contextlib.suppress(FileNotFoundError), self.log.open("rb") as log:
            log.seek(self._log_start)
            return log.read()
        return b""

    def get(self, path: str) -> tuple[int, bytes]:
        """Status and body that its web views answer; status 0 when they do not."""
        found = None if self.frozen or not self.runs else _ADDRESS.search(self.text())
        if found is None:
            return 0, b""
        connection = http.client.HTTPConnection(found[1].decode(), int(found[2]), timeout=2)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException):
            return 0, b""
        finally:
            connection.close()

    async def is_ready(self) -> bool:
        """Whether it works on its share, as far as it can be asked."""
        if not self._probed:
            return self.runs
        return (await asyncio.to_thread(self.get, "/readyz"))[0] == 200

    async def counts(self) -> list[tuple[str, str, int]] | None:
        """The totals that it shows; None when it does not, or says that they are not complete."""
        path = "/api/v1/counts?window=total&limit=1000&sort=event_type"
        status, body = await asyncio.to_thread(self.get, path)
        if status != 200:
            return None
        answer = orjson.loads(body)
        if not answer["complete"] or answer["next"] is not None:
            return None
        return [(each["priority"], each["event_type"], each["count"]) for each in answer["items"]]

    def tail(self, lines: int = 25) -> str:
        """The end of its log."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])


def clean_environment(history: Path, **values: str) -> dict[str, str]:
    """The environment of a worker: nothing of Tocsin's but these settings."""
    clean = {n: v for n, v in os.environ.items() if not n.startswith(("TOCSIN_", "CHAOS_"))}
    mine = {f"TOCSIN_{name.upper()}": value for name, value in values.items()}
    return clean | {"PYTHONPATH": str(ROOT), "CHAOS_HISTORY": str(history)} | mine
