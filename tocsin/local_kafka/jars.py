"""The jars of the pinned Apache Kafka: downloaded once, checked by hash, kept in the user's cache.

``jars.lock`` names every jar with its size and SHA-256, so that a start resolves nothing and a
download that is not the one that was tested is refused. ``python -m tocsin.local_kafka.jars`` writes
it anew.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import ssl
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streams.settings import ConfigurationError

#: The Apache Kafka that ``tocsin kafka`` runs.
KAFKA_VERSION = "4.4.0"

#: What is resolved into the lock file. Kafka's jars bring no backend for their logging: the second
#: is that. Its "!" keeps log4j's own dependency management from overriding Kafka's versions.
_COORDINATES = (
    f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}",
    "org.apache.logging.log4j:log4j-slf4j-impl:2.25.5!",
)
_LOCK_FILE = Path(__file__).with_name("jars.lock")
_DOWNLOADING = f"Downloading Apache Kafka {KAFKA_VERSION}"
_SCRATCH = ".download-"
_ATTEMPTS = 3
_HTTP_TIMEOUT_S = 60

#: Called with what is being done, and how much of how much is done (bytes; 0 of 0 when not known).
Progress = Callable[[str, int, int], None]


class LocalKafkaError(Exception):
    """The local Kafka cannot do what was asked; the message is one sentence that says why."""


class LocalKafkaConfigurationError(LocalKafkaError, ConfigurationError):
    """What was asked for does not fit the data folder, or is out of range."""


@dataclass(frozen=True, slots=True)
class Jar:
    """One jar of the lock file."""

    group: str
    artifact: str
    version: str
    size: int
    sha256: str

    @property
    def file_name(self) -> str:
        """Name of the file; no two jars of the lock share one."""
        return f"{self.artifact}-{self.version}.jar"

    @property
    def coordinate(self) -> str:
        """Maven coordinate."""
        return f"{self.group}:{self.artifact}:{self.version}"


def no_progress(what: str, done: int, total: int) -> None:
    """Tell nobody."""


def locked_jars(lock_file: Path = _LOCK_FILE) -> list[Jar]:
    """The jars of a lock file, by default that of the local Kafka."""
    jars = []
    for line in lock_file.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            coordinate, size, sha256 = line.split()
            group, artifact, version = coordinate.split(":")
            jars.append(Jar(group, artifact, version, int(size), sha256))
    return jars


def cache_dir() -> Path:
    """Folder of what is downloaded once for this user: ``$XDG_CACHE_HOME/tocsin`` or ``~/.cache/tocsin``."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG specification tells us to ignore a relative path.
    root = Path(base) if Path(base).is_absolute() else Path.home() / ".cache"
    return root / "tocsin" / f"kafka-{KAFKA_VERSION}"


@contextlib.contextmanager
def file_lock(path: Path, *, wait: bool = True) -> Iterator[bool]:
    """Hold an exclusive lock among processes.

    Args:
        path: the lock's file; its folder must exist.
        wait: whether to wait for another holder.

    Yields:
        Whether the lock is held: always when ``wait`` is true.
    """
    with path.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
        else:
            yield True


def class_path(progress: Progress = no_progress, jars: Sequence[Jar] | None = None) -> list[Path]:
    """The jars to run Kafka with, downloaded when they are not in the cache.

    Args:
        progress: told about the download.
        jars: others than those of the local Kafka.

    Raises:
        LocalKafkaError: they cannot be downloaded or written, or are not the ones that are pinned.
    """
    folder = cache_dir() / "jars"
    if jars is None:
        jars = locked_jars()
    try:
        if not all(_is_whole(folder / jar.file_name, jar) for jar in jars):
            folder.mkdir(parents=True, exist_ok=True)
            progress(_DOWNLOADING, 0, 0)  # said before we wait for another process that is at it
            with file_lock(cache_dir() / "download.lock"):
                # Another process may have brought them while we waited.
                missing = [jar for jar in jars if not _is_whole(folder / jar.file_name, jar)]
                for left_over in folder.glob(f"{_SCRATCH}*"):
                    shutil.rmtree(left_over, ignore_errors=True)
                _download(missing, folder, progress)
    except OSError as error:
        raise LocalKafkaError(
            f"The cache folder {cache_dir()} cannot be used ({error.strerror or error}); "
            "free it, or set XDG_CACHE_HOME to another folder."
        ) from None
    return [folder / jar.file_name for jar in jars]


def _is_whole(path: Path, jar: Jar) -> bool:
    try:
        return path.stat().st_size == jar.size and _sha256(path) == jar.sha256
    except FileNotFoundError:
        return False


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _download(jars: list[Jar], folder: Path, progress: Progress) -> None:
    if not jars:
        return
    total = sum(jar.size for jar in jars)
    done = 0
    guard = threading.Lock()

    def advance(count: int) -> None:
        nonlocal done
        with guard:
            done += count
            progress(_DOWNLOADING, done, total)

    with _system_certificates(), ThreadPoolExecutor(max_workers=4) as pool:
        tasks = [pool.submit(_download_one, jar, folder, advance) for jar in jars]
        try:
            for task in tasks:
                task.result()
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _download_one(jar: Jar, folder: Path, advance: Callable[[int], None]) -> None:
    import requests
    from jgo.maven import MavenContext, PythonResolver

    for attempt in range(1, _ATTEMPTS + 1):
        received = 0

        @contextlib.contextmanager
        def watch(_name: str, _size: int) -> Iterator[Callable[[int], None]]:
            def count(size: int) -> None:
                nonlocal received
                received += size
                advance(size)

            yield count

        # A repository of its own for each try: jgo leaves a broken file behind when a transfer
        # breaks off, and takes it for whole the next time.
        with tempfile.TemporaryDirectory(dir=folder, prefix=_SCRATCH) as scratch:
            context = MavenContext(
                resolver=PythonResolver(progress_callback=watch),
                repo_cache=Path(scratch),
                timeout=_HTTP_TIMEOUT_S,
            )
            try:
                component = context.project(jar.group, jar.artifact).at_version(jar.version)
                found: Path = component.artifact().resolve()
            except (requests.RequestException, RuntimeError, AssertionError) as error:
                advance(-received)
                if attempt < _ATTEMPTS:
                    time.sleep(attempt)
                    continue
                raise LocalKafkaError(
                    f"Cannot download {jar.coordinate} of Apache Kafka ({_why(error)}); "
                    "check the network, and HTTPS_PROXY or REQUESTS_CA_BUNDLE if you need them."
                ) from None
            if _sha256(found) != jar.sha256:
                raise LocalKafkaError(
                    f"The downloaded {jar.coordinate} is not the one that is pinned (its SHA-256 differs); "
                    "something between here and the Maven repository changed it."
                )
            found.replace(folder / jar.file_name)
            return


def _why(error: Exception) -> str:
    """The kind of a failed download in a few words; what the libraries say takes lines."""
    from requests import exceptions

    for kind, words in (
        (exceptions.ProxyError, "the proxy cannot be reached"),
        (exceptions.SSLError, "the server's certificate is not trusted here"),
        (exceptions.Timeout, f"no answer within {_HTTP_TIMEOUT_S} s"),
        (exceptions.ConnectionError, "no connection"),
        (exceptions.RequestException, "the transfer broke off"),
    ):
        if isinstance(error, kind):
            return words
    return "the Maven repository does not give it"


@contextlib.contextmanager
def _system_certificates() -> Iterator[None]:
    """Let ``requests`` trust what the system trusts, as pip does, and not only its own bundle."""
    paths = ssl.get_default_verify_paths()
    bundle = paths.cafile or paths.capath
    given = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
    if given or not bundle:
        yield
        return
    os.environ["REQUESTS_CA_BUNDLE"] = bundle
    try:
        yield
    finally:
        os.environ.pop("REQUESTS_CA_BUNDLE", None)


def _resolve(coordinates: Sequence[str]) -> list[Jar]:
    """Resolve coordinates with all they need at run time."""
    from jgo.maven import MavenContext
    from jgo.parse import Coordinate

    with _system_certificates(), tempfile.TemporaryDirectory() as scratch:
        context = MavenContext(repo_cache=Path(scratch), timeout=_HTTP_TIMEOUT_S)
        inputs = [context.create_dependency(Coordinate.parse(text)) for text in coordinates]
        found, transitive = context.resolver.resolve(inputs)
        needed: list[Any] = [*found, *(item for item in transitive if item.scope in ("compile", "runtime"))]
        jars = []
        for item in needed:
            path: Path = item.artifact.resolve()
            jars.append(Jar(item.groupId, item.artifactId, item.version, path.stat().st_size, _sha256(path)))
    return sorted(jars, key=lambda jar: jar.coordinate)


def write_lock_file(lock_file: Path, coordinates: Sequence[str], what: str, module: str) -> None:
    """Resolve coordinates anew and pin all that came of it.

    Args:
        lock_file: file to write.
        coordinates: what is wanted, in the form of jgo.
        what: the jars in words, for the head of the file.
        module: what writes the file, for its head.
    """
    lines = [
        f"# The jars of {what}: coordinate, bytes, SHA-256.",
        f"# Written by: python -m {module}",
        *(f"{jar.coordinate} {jar.size} {jar.sha256}" for jar in _resolve(coordinates)),
    ]
    lock_file.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> None:
    """Write the lock file anew."""
    write_lock_file(_LOCK_FILE, _COORDINATES, "the local Kafka", "tocsin.local_kafka.jars")


if __name__ == "__main__":
    main()
