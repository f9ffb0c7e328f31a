"""A local Kafka whose brokers a test can kill, freeze and start again, one by one."""

from __future__ import annotations

import signal
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from tests.shared_kafka import START_S
from tocsin.local_kafka.cluster import LocalKafka, LocalKafkaError
from tocsin.local_kafka.config import load_cluster, save_cluster
from tocsin.local_kafka.process import BrokerProcess


def is_frozen(pid: int) -> bool:
    """Whether each thread of a process that was sent SIGSTOP stands still."""
    states = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):  # a thread that ended meanwhile
            # Behind the name of the program, which may have any signs.
            states.append((task / "stat").read_text().rpartition(")")[2].split()[0])
    return all(state in "TtZX" for state in states)


class BreakableKafka(LocalKafka):
    """A `LocalKafka`, with failures."""

    def kill(self, broker: int = 1) -> None:
        """Kill a broker with SIGKILL and return when it is gone."""
        process = self._running(broker)
        process.send(signal.SIGKILL)
        if not process.wait_gone(30.0):
            raise LocalKafkaError(f"Broker {broker} is still there after SIGKILL.")

    def pause(self, broker: int = 1) -> None:
        """Freeze a broker with SIGSTOP: its connections stay open and nobody answers.

        Returns when each of its threads stands still: on a busy machine one may go on for a while.
        """
        process = self._running(broker)
        process.send(signal.SIGSTOP)
        until = time.monotonic() + 30.0
        while (pid := process.pid()) is not None and not is_frozen(pid):
            if time.monotonic() > until:
                raise LocalKafkaError(f"Broker {broker} still runs after SIGSTOP.")
            time.sleep(0.01)

    def resume(self, broker: int = 1) -> None:
        """Let a paused broker go on."""
        self._running(broker).send(signal.SIGCONT)

    def restart_broker(self, broker: int = 1, timeout: float = START_S) -> None:
        """Start a broker again at its old port, after an orderly stop when it runs.

        Returns when it answers, and the brokers that run are known to it.
        """
        java = self._java()
        with self._lock():
            cluster = load_cluster(self.data_dir)
            if cluster is None or not 1 <= broker <= cluster.brokers:
                raise LocalKafkaError(f"There is no broker {broker} in {self.data_dir}.")
            self._end(self._process(broker), timeout)
            self._launch(cluster, broker, java)
            self._wait_until_answering(cluster, [broker], timeout)

    def move(self, timeout: float = START_S) -> str:
        """Stop the brokers, and start them at other ports with the same data; returns the new addresses.

        Nobody listens at the old ones meanwhile or later, unless somebody takes them.
        """
        self.stop()
        with self._lock():
            cluster = load_cluster(self.data_dir)
            if cluster is None:
                raise LocalKafkaError(f"There is no cluster in {self.data_dir}.")
            none = (0,) * cluster.brokers
            save_cluster(
                self.data_dir, replace(cluster, ports=none, controller_ports=none, ports_given=False)
            )
        return self.start(timeout=timeout)

    def throw_away(self) -> None:
        """Delete all data: nobody waits for the orderly stop of a broker whose data nobody reads."""
        self.reset(timeout=0.0)

    def begin_anew(self) -> None:
        """Delete all data, and start as a new cluster at the same addresses."""
        self._port = int(self.bootstrap.partition(",")[0].rpartition(":")[2])
        self.throw_away()
        self.start(timeout=START_S)

    def _running(self, broker: int) -> BrokerProcess:
        process = self._process(broker)
        if process.pid() is None:
            raise LocalKafkaError(f"Broker {broker} of {self.data_dir} does not run.")
        return process
