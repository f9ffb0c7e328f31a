"""Becomes the Java program: the process id stays, and so does that it dies with its parent."""

from __future__ import annotations

import os
import time
from pathlib import Path

from tests.benchmarks.arms.kafka_streams.build import MAIN_CLASS, prepare
from tests.benchmarks.arms.topics import priorities_by_topic
from tests.benchmarks.progress import Progress
from tests.benchmarks.spec import from_command_line


def main() -> None:
    """Hand over to Java."""
    spec = from_command_line()
    Progress(spec.progress)  # makes the file that the program maps
    Path(spec.folder, "tmp").mkdir(exist_ok=True)
    java, class_path = prepare()
    told = {
        "brokers": spec.brokers,
        "group": spec.group,
        "folder": spec.folder,
        "progress": spec.progress,
        "target": spec.target,
        "workNanos": round(spec.work_us * 1000),
        "state": str(bool(spec.option("state"))).lower(),
        "alerts": spec.alerts + "critical" if spec.option("forward") else "",
        "startedAt": time.monotonic_ns(),
        "topics": ",".join(f"{topic}={name}" for topic, name in priorities_by_topic(spec.prefix).items()),
    }
    command = [
        java,
        "-Xmx1g",
        "-XX:-UsePerfData",
        "-XX:+ExitOnOutOfMemoryError",
        # Native libraries are unpacked there and loaded.
        f"-Djava.io.tmpdir={spec.folder}/tmp",
        "--enable-native-access=ALL-UNNAMED",
        "-cp",
        class_path,
        *(f"-Dbench.{name}={value}" for name, value in told.items()),
        MAIN_CLASS,
    ]
    os.execv(java, command)


if __name__ == "__main__":
    main()
