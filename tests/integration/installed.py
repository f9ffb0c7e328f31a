"""The wheel in an environment of its own, as `pip install tocsin` leaves it, without the extra."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
import venv
from pathlib import Path

from packaging.requirements import Requirement

from tests.integration.worker_process import Worker
from tests.paths import ROOT

#: Names an environment that has the wheel already, made by ``make check-wheel``.
VARIABLE = "WHEEL_ENVIRONMENT"
_BOUND_S = 120


class Installed:
    """An environment with the wheel in it.

    Args:
        environment: its folder.
        folder: where commands run, away from the source.
    """

    def __init__(self, environment: Path, folder: Path) -> None:
        self.bin = environment / "bin"
        self.folder = folder

    def run(self, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a command of the environment, with nothing but these variables."""
        return subprocess.run(
            [str(self.bin / command[0]), *command[1:]],
            check=False,
            cwd=self.folder,
            env=self.variables(variables),
            capture_output=True,
            text=True,
            timeout=_BOUND_S,
        )

    def variables(self, variables: dict[str, str]) -> dict[str, str]:
        """Environment variables of a process: none that leads it to the source or to other packages."""
        ours = ("TOCSIN_", "PYTHON", "VIRTUAL_ENV")
        clean = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        given = {name: value for name, value in variables.items() if name != "PYTHONPATH"}
        return clean | given | {"PATH": f"{self.bin}:/usr/bin:/bin"}


class InstalledWorker(Worker):
    """``tocsin worker`` of such an environment."""

    def __init__(self, installed: Installed, variables: dict[str, str], log: Path) -> None:
        super().__init__("installed", [], installed.variables(variables), log)
        self._installed = installed

    def start(self) -> Worker:
        """Start it; what it writes goes to its log."""
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [str(self._installed.bin / "tocsin"), "worker"],
                cwd=self._installed.folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        return self


def build_wheel(folder: Path) -> Path:
    """Build the wheel of this source."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, check=True, cwd=ROOT, capture_output=True, timeout=_BOUND_S)
    (wheel,) = folder.glob("*.whl")
    return wheel


def make_environment(folder: Path, wheel: Path) -> None:
    """Make an environment of the wheel and of what `requirements/runtime.txt` pins, and nothing else.

    The pinned distributions are those of this environment, linked: nothing is downloaded.
    """
    venv.EnvBuilder(symlinks=True, with_pip=False).create(folder)
    (site,) = folder.glob("lib/python*/site-packages")
    for name in runtime_distributions():
        found = importlib.metadata.distribution(name)
        for top in {file.parts[0] for file in found.files or ()} - {"..", "__pycache__"}:
            if not (site / top).exists():
                (site / top).symlink_to(Path(str(found.locate_file(top))))
    install = ["install", "--no-index", "--no-deps", "--disable-pip-version-check", str(wheel)]
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python"), *install],
        check=True,
        capture_output=True,
        timeout=_BOUND_S,
    )


def runtime_distributions() -> list[str]:
    """Names of the distributions that `requirements/runtime.txt` pins for this platform."""
    lines = (ROOT / "requirements" / "runtime.txt").read_text(encoding="utf-8").splitlines()
    pins = [Requirement(line.rstrip(" \\")) for line in lines if line and not line.startswith((" ", "#"))]
    return [pin.name for pin in pins if pin.marker is None or pin.marker.evaluate()]
