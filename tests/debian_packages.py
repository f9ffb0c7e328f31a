"""Servers for tests out of Debian's packages, fetched once for this user and unpacked into the cache.

Nothing is installed and no rights are needed: ``apt-get`` downloads, checks signatures and hashes, and
``dpkg-deb`` unpacks.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tocsin.local_kafka.jars import cache_dir, file_lock

_APT_S = 300.0


class NotToBeHadError(Exception):
    """The packages cannot be fetched here; the message is one sentence that says why."""


def unpacked(name: str, packages: Sequence[str]) -> Path:
    """The folder in which the packages are unpacked, as if it were the root.

    Raises:
        NotToBeHadError: they cannot be fetched.
    """
    cache = cache_dir().parent
    cache.mkdir(parents=True, exist_ok=True)
    folder = cache / f"debian-{name}"
    with file_lock(cache / f"debian-{name}.lock"):
        if folder.is_dir():
            return folder
        for tool in ("apt-get", "dpkg-deb"):
            if shutil.which(tool) is None:
                raise NotToBeHadError(f"{name} comes from Debian's packages, and there is no {tool} here")
        with tempfile.TemporaryDirectory(dir=cache, prefix=f".debian-{name}-") as scratch:
            root = Path(scratch) / "root"
            root.mkdir()
            for package in _downloaded(packages, Path(scratch)):
                subprocess.run(["dpkg-deb", "-x", package, root], check=True, capture_output=True)
            root.rename(folder)
    return folder


def _downloaded(packages: Sequence[str], scratch: Path) -> list[Path]:
    folder = scratch / "packages"
    folder.mkdir()
    said = _apt(folder, "download", *packages)
    if said is not None:
        # The lists of this machine may be old, or thrown away as in most images: with lists of our own.
        state, cache = scratch / "state", scratch / "cache"
        for each in (state / "lists/partial", cache / "archives/partial"):
            each.mkdir(parents=True)
        own = ["-o", f"Dir::State={state}", "-o", f"Dir::Cache={cache}"]
        said = _apt(folder, *own, "update") or _apt(folder, *own, "download", *packages)
    if said is not None:
        raise NotToBeHadError(f"apt-get cannot fetch {packages[0]}: {said}")
    return sorted(folder.glob("*.deb"))


def _apt(folder: Path, *arguments: str) -> str | None:
    """What is wrong, in one line; None when nothing is."""
    environment = os.environ | {"LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
    try:
        done = subprocess.run(
            ["apt-get", "-q", "-o", "Acquire::Retries=3", "-o", "APT::Sandbox::User=", *arguments],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=_APT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"no answer within {_APT_S:g} s"
    if done.returncode == 0:
        return None
    lines = [line for line in done.stderr.splitlines() if line.startswith("E:")]
    return lines[0] if lines else f"exit code {done.returncode}"
