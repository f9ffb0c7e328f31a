"""One Kafka for all processes of a test run, kept by a process of its own for as long as one of them uses it.

Each user holds a shared lock on a file. The keeper, started by the first one, waits until it has that lock to
itself, which is when the last user has ended or was killed, and then stops the broker. If the keeper is
killed, the broker ends with it. So nothing is left behind, whichever process is killed.
"""

from __future__ import annotations

import fcntl
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from tests.paths import ROOT
from tocsin.local_kafka import cluster as local_kafka
from tocsin.local_kafka.cluster import Cluster, LocalKafka
from tocsin.local_kafka.process import SHORT_LIFE

#: Seconds for a broker to answer: several start at once, and the machine may be busy with other things.
START_S = 300.0
#: Of a broker that nobody kills and starts again: a busy machine may keep it from saying that it lives.
NEVER_KILLED = {"broker.session.timeout.ms": "60000"}
_UP = b"up\n"
#: Those that this process started: kept, so that they are not waited for as lost children.
_KEEPERS: list[subprocess.Popen[bytes]] = []


@contextmanager
def shared_kafka(folder: Path) -> Iterator[LocalKafka]:
    """A running Kafka that other processes use as well.

    Args:
        folder: the same for all of them; made when missing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "users.lock").open("wb") as users:
        with (folder / "start.lock").open("wb") as starting:
            fcntl.flock(starting, fcntl.LOCK_EX)
            # Waits while a keeper, all of whose users have gone, stops its broker.
            fcntl.flock(users, fcntl.LOCK_SH)
            if not is_kept(folder):
                _KEEPERS.append(_start_keeper(folder))
        yield LocalKafka(folder / "data")


def is_kept(folder: Path) -> bool:
    """Whether a keeper lives."""
    if not folder.is_dir():
        return False
    with (folder / "keeper.lock").open("wb") as lock:
        try:
            # Shared, so that two who ask at once do not take each other for the keeper.
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _start_keeper(folder: Path) -> subprocess.Popen[bytes]:
    with (folder / "keeper.log").open("wb") as log:
        # In a session of its own, so that Ctrl-C in a terminal leaves it to its users.
        keeper = subprocess.Popen(
            [sys.executable, "-m", "tests.shared_kafka", str(folder)],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,
        )
    assert keeper.stdout is not None
    with keeper.stdout:
        if keeper.stdout.readline() == _UP:
            return keeper
    keeper.wait()
    raise RuntimeError(f"The Kafka of the tests did not start: {(folder / 'keeper.log').read_text()}")


@contextmanager
def more_properties(properties: Callable[[Cluster], Mapping[str, object]]) -> Iterator[None]:
    """Give more lines to the properties of brokers that are started meanwhile, or others in their place.

    Args:
        properties: of a broker, by what its cluster is like.
    """
    write = local_kafka.write_broker_files

    def write_more(folder: Path, cluster: Cluster, broker: int) -> None:
        write(folder, cluster, broker)
        with (folder / "server.properties").open("a", encoding="utf-8") as file:
            file.writelines(f"{name}={value}\n" for name, value in properties(cluster).items())

    local_kafka.write_broker_files = write_more
    try:
        yield
    finally:
        local_kafka.write_broker_files = write


def _keep(folder: Path, out: IO[bytes]) -> None:
    """Run a broker until nobody uses it."""
    with (folder / "keeper.lock").open("wb") as mine, (folder / "users.lock").open("wb") as users:
        fcntl.flock(mine, fcntl.LOCK_EX)
        local = LocalKafka(folder / "data", die_with_parent=True, jvm_options=SHORT_LIFE)
        try:
            with more_properties(lambda _: NEVER_KILLED):
                local.start(timeout=START_S)
            out.write(_UP)
            out.flush()
            fcntl.flock(users, fcntl.LOCK_EX)
        finally:
            # Nobody reads its data any more.
            local.reset(timeout=0.0)


if __name__ == "__main__":
    _keep(Path(sys.argv[1]), sys.stdout.buffer)
