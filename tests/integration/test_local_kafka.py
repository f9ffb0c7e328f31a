"""The local Kafka: start, stop, failures of a broker, and what it says when it cannot start."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import orjson
import psutil
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import NewTopic
from aiokafka.errors import (
    KafkaConnectionError,
    MessageSizeTooLargeError,
    TopicAlreadyExistsError,
    UnknownTopicOrPartitionError,
)

from streams.settings import ConfigurationError
from tests import children
from tests.admin import PATIENT, admin_of
from tests.breakable_kafka import BreakableKafka
from tests.integration.worker_process import BOUND_S, eventually
from tests.kafka_fixture import processes_of, wait_until_gone
from tests.paths import ROOT
from tests.shared_kafka import START_S
from tocsin.local_kafka import config as kafka_config
from tocsin.local_kafka.cluster import LocalKafka, LocalKafkaError
from tocsin.local_kafka.jars import cache_dir
from tocsin.local_kafka.ping import ping
from tocsin.local_kafka.process import SHORT_LIFE

TOCSIN = [sys.executable, "-c", "from tocsin.cli import main; main()", "kafka"]


@pytest.fixture
def data_dir(tmp_path: Path) -> Iterator[Path]:
    """A data folder of its own; whatever runs on it at the end is stopped."""
    folder = tmp_path / "kafka"
    yield folder
    if (folder / "cluster.json").exists():
        LocalKafka(folder).reset(timeout=0.0)
    assert processes_of(folder) == []


@pytest.fixture
def watched_data_dir(data_dir: Path) -> Iterator[Path]:
    """For brokers that are to outlive the process that starts them: they do not outlive this test run."""
    # The pipe closes when this process is gone, even by SIGKILL; a line on it says all is well.
    stop = 'read -r line || exec "$0" -m tocsin kafka stop --data-dir "$1"'
    guard = subprocess.Popen(
        ["/bin/sh", "-c", stop, sys.executable, str(data_dir)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        start_new_session=True,
    )
    yield data_dir
    guard.communicate(b"\n")


def _tocsin(*arguments: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Run the command with nothing of our environment but what is needed, so without any Java."""
    clean = {"PATH": "/nonexistent", "HOME": str(cwd), "PYTHONPATH": str(ROOT)}
    # The jars that are there already, to stay quick.
    clean["XDG_CACHE_HOME"] = str(cache_dir().parents[1])
    return children.run(
        [*TOCSIN, *arguments],
        cwd=cwd,
        env=clean | env,
        capture_output=True,
        text=True,
        timeout=2 * BOUND_S,
    )


def _status_of_one_that_runs(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """The first answer that ends with 0: a look gives a broker 2 s, too few at times after a start."""
    until = time.monotonic() + BOUND_S
    while (ended := _tocsin("status", *arguments, cwd=cwd)).returncode:
        assert (ended.returncode, "Traceback" in ended.stderr) == (1, False), ended
        assert time.monotonic() < until, ended
    return ended


def wait_until_running(local: LocalKafka) -> None:
    """Wait until all brokers answer: a look gives each of them 2 s, too few at times after a start."""
    until = time.monotonic() + BOUND_S
    while (found := local.status().state) != "running":
        assert time.monotonic() < until, found
        time.sleep(0.1)


async def _create_topic(bootstrap: str, name: str, partitions: int = 1, replicas: int = 1) -> None:
    async with admin_of(bootstrap) as admin:

        async def created() -> bool:
            answer = await admin.create_topics([NewTopic(name, partitions, replicas)])
            [(_, code, *_)] = answer.topic_errors
            # Refused while the controller has too few brokers.
            return code in {0, TopicAlreadyExistsError.errno}

        await eventually("the topic is created", created)


async def _produce(bootstrap: str, topic: str, values: list[bytes]) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", enable_idempotence=True, **PATIENT)
    await producer.start()
    try:
        for value in values:
            await producer.send_and_wait(topic, value)
    finally:
        await producer.stop()


async def _consume(bootstrap: str, topic: str, count: int) -> list[bytes]:
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, **PATIENT)
    await consumer.start()
    try:
        partition = TopicPartition(topic, 0)
        consumer.assign([partition])
        await consumer.seek_to_beginning(partition)
        found: list[bytes] = []
        while len(found) < count:
            found.append((await consumer.getone()).value or b"")
        return found
    finally:
        await consumer.stop()


async def test_produces_and_consumes(kafka: LocalKafka, unique: str) -> None:
    await _create_topic(kafka.bootstrap, unique)
    await _produce(kafka.bootstrap, unique, [b"one", b"two"])
    assert await _consume(kafka.bootstrap, unique, 2) == [b"one", b"two"]


async def test_accepts_900_kb_and_refuses_2_mb(kafka: LocalKafka, unique: str) -> None:
    await _create_topic(kafka.bootstrap, unique)
    async with AIOKafkaProducer(
        bootstrap_servers=kafka.bootstrap, max_request_size=4 * 2**20, **PATIENT
    ) as producer:
        await producer.send_and_wait(unique, bytes(900_000))
        with pytest.raises(MessageSizeTooLargeError):
            await producer.send_and_wait(unique, bytes(2_000_000))


async def test_a_mistyped_topic_is_an_error_and_not_a_new_topic(kafka: LocalKafka, unique: str) -> None:
    async with admin_of(kafka.bootstrap) as admin:
        (found,) = await admin.describe_topics([unique])
        assert found["error_code"] == UnknownTopicOrPartitionError.errno
        assert unique not in await admin.list_topics()


async def test_allows_sessions_of_one_second(kafka: LocalKafka, unique: str) -> None:
    await _create_topic(kafka.bootstrap, unique)
    async with AIOKafkaConsumer(
        unique,
        bootstrap_servers=kafka.bootstrap,
        group_id=unique,
        session_timeout_ms=1000,
        heartbeat_interval_ms=300,
        auto_offset_reset="earliest",
        **PATIENT,
    ) as consumer:
        await _produce(kafka.bootstrap, unique, [b"one"])
        assert (await consumer.getone()).value == b"one"


async def test_data_and_address_survive_a_stop_and_a_kill(
    data_dir: Path, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # One look, for which a busy machine may take longer than the 2 s that a broker is given.
    monkeypatch.setattr("tocsin.local_kafka.cluster.ping", partial(ping, timeout=BOUND_S))
    first = BreakableKafka(data_dir, die_with_parent=True, jvm_options=SHORT_LIFE)
    assert first.status().state == "stopped"
    address = first.start(timeout=START_S)
    assert first.status().state == "running"
    await _create_topic(address, unique)
    await _produce(address, unique, [b"before the stop"])

    first.stop()
    assert first.status().state == "stopped"
    assert processes_of(data_dir) == []
    with pytest.raises(KafkaConnectionError):
        await _consume(address, unique, 1)

    second = BreakableKafka(data_dir, die_with_parent=True, jvm_options=SHORT_LIFE)
    assert second.start(timeout=START_S) == address
    await _produce(address, unique, [b"before the kill"])
    second.kill()
    assert second.status().state == "stopped"
    assert second.start(timeout=START_S) == address
    assert await _consume(address, unique, 2) == [b"before the stop", b"before the kill"]

    second.reset()
    assert not data_dir.exists()
    assert second.status().state == "stopped"


def test_start_is_idempotent_and_refuses_another_shape(data_dir: Path) -> None:
    first = LocalKafka(data_dir, die_with_parent=True, jvm_options=SHORT_LIFE)
    address = first.start(timeout=START_S)
    pid = first.status().brokers[0].pid

    other = LocalKafka(data_dir)
    assert other.start(timeout=START_S) == address
    assert other.status().brokers[0].pid == pid
    with pytest.raises(ConfigurationError, match=r"was made with 1 broker\(s\), not 2"):
        LocalKafka(data_dir, brokers=2).start(timeout=START_S)
    with pytest.raises(ConfigurationError, match="already runs at"):
        LocalKafka(data_dir, port=int(address.rpartition(":")[2]) + 1).start(timeout=START_S)
    wait_until_running(first)


def test_status_as_json(data_dir: Path) -> None:
    ended = _tocsin("status", "--json", "--data-dir", str(data_dir), cwd=data_dir.parent)
    assert (ended.returncode, orjson.loads(ended.stdout)["brokers"]) == (1, [])
    address = LocalKafka(data_dir, jvm_options=SHORT_LIFE).start(timeout=START_S)
    ended = _status_of_one_that_runs("--json", "--data-dir", str(data_dir), cwd=data_dir.parent)
    found = orjson.loads(ended.stdout)
    assert (found["state"], found["bootstrap"]) == ("running", address)
    (broker,) = found["brokers"]
    assert broker["answers"] is True
    assert address.endswith(f":{broker['port']}")


def test_a_paused_broker_does_not_answer_until_it_is_resumed(data_dir: Path) -> None:
    local = BreakableKafka(data_dir, die_with_parent=True, jvm_options=SHORT_LIFE)
    local.start(timeout=START_S)
    local.pause()
    assert local.status().state == "partial"
    local.resume()
    assert local.start(timeout=START_S) == local.bootstrap  # waits until it answers again
    # One that was paused for long is given up by the controller then, until it has said that it lives.
    wait_until_running(local)
    local.pause()
    local.stop()
    assert processes_of(data_dir) == []


def test_a_stale_pid_is_survived_and_its_new_owner_is_left_alone(data_dir: Path) -> None:
    local = BreakableKafka(data_dir, die_with_parent=True, jvm_options=SHORT_LIFE)
    address = local.start(timeout=START_S)
    local.kill()
    # As after a crash of the machine: the pid is now that of a process that we know well.
    bystander = os.getpid()
    pid_file = data_dir / "broker-1" / "pid.json"
    pid_file.write_text(json.dumps({"pid": bystander, "started": "1"}))
    assert local.status().state == "stopped"
    local.stop()
    assert psutil.pid_exists(bystander)
    pid_file.write_text("not JSON")
    assert local.start(timeout=START_S) == address


def test_a_given_port_in_use_is_named(data_dir: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(LocalKafkaError, match=f"^Port {port} is in use by another program;"):
            LocalKafka(data_dir, port=port).start(timeout=START_S)
        assert processes_of(data_dir) == []


def test_a_port_that_is_snatched_after_the_look_is_replaced(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        lies = iter([True])
        really_free = kafka_config.port_is_free
        monkeypatch.setattr(
            kafka_config,
            "port_is_free",
            lambda wanted: (wanted == port and next(lies, False)) or really_free(wanted),
        )
        local = LocalKafka(data_dir, preferred_port=port, die_with_parent=True, jvm_options=SHORT_LIFE)
        address = local.start(timeout=START_S)
        assert next(lies, None) is None
        assert address != f"127.0.0.1:{port}"
        wait_until_running(local)


def test_an_id_that_begins_with_a_dash_is_no_option(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dash = uuid.UUID(bytes=b"\xf8" + bytes(15))
    monkeypatch.setattr(kafka_config.uuid, "uuid4", lambda: dash)
    local = LocalKafka(data_dir, die_with_parent=True, jvm_options=SHORT_LIFE)
    local.start(timeout=START_S)
    assert json.loads((data_dir / "cluster.json").read_text())["cluster_id"].startswith("-")
    wait_until_running(local)


def test_a_foreign_folder_is_refused_and_left_alone(tmp_path: Path) -> None:
    precious = tmp_path / "precious.txt"
    precious.write_text("mine")
    local = LocalKafka(tmp_path)
    for method in (local.start, local.stop, local.reset, local.status):
        with pytest.raises(ConfigurationError, match="is not the data folder of a local Kafka"):
            method()
    assert [item.name for item in tmp_path.iterdir()] == ["precious.txt"]


def test_data_of_another_cluster_are_named_in_the_error(data_dir: Path) -> None:
    local = LocalKafka(data_dir, die_with_parent=True, jvm_options=SHORT_LIFE)
    local.start(timeout=START_S)
    local.stop()
    description = json.loads((data_dir / "cluster.json").read_text())
    meta = data_dir / "broker-1" / "data" / "meta.properties"
    meta.write_text(
        meta.read_text().replace(description["cluster_id"], kafka_config.new_cluster(1).cluster_id)
    )
    # Kafka itself would start with that; but it is not the cluster that the folder describes.
    with pytest.raises(ConfigurationError, match="are those of another cluster"):
        local.start(timeout=START_S)
    assert processes_of(data_dir) == []


def test_a_broker_dies_with_the_process_that_said_so(data_dir: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from tocsin.local_kafka.cluster import LocalKafka\n"
        f"LocalKafka(Path(sys.argv[1]), die_with_parent=True).start(timeout={START_S})\n"
        "print('up', flush=True); sys.stdin.read()"
    )
    parent = children.start(
        [sys.executable, "-c", code, str(data_dir)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert parent.stdout is not None
    assert parent.stdout.readline() == b"up\n"
    brokers = [psutil.Process(pid) for pid in processes_of(data_dir)]
    assert len(brokers) == 1
    parent.send_signal(signal.SIGKILL)
    parent.communicate()
    wait_until_gone(brokers, BOUND_S)


def test_command_without_java_and_with_an_empty_home(tmp_path: Path, watched_data_dir: Path) -> None:
    """Start, survive the command's end, start again, status, stop, reset: codes and standard output."""
    data_dir = watched_data_dir
    home = tmp_path / "home"
    home.mkdir()
    option = ("--data-dir", str(data_dir))
    assert _tocsin("status", *option, cwd=home).returncode == 1

    with ThreadPoolExecutor() as pool:
        both = [pool.submit(_tocsin, "start", *option, cwd=home) for _ in range(2)]
    started, again = (task.result() for task in both)
    assert (started.returncode, again.returncode) == (0, 0), started.stderr + again.stderr
    assert started.stdout == again.stdout
    assert started.stdout == f"{LocalKafka(data_dir).bootstrap}\n"
    assert len(processes_of(data_dir)) == 1

    shown = _status_of_one_that_runs(*option, cwd=home)
    assert shown.stdout.startswith("running 127.0.0.1:")
    refused = _tocsin("start", "--brokers", "3", *option, cwd=home)
    assert (refused.returncode, refused.stdout) == (78, "")
    assert refused.stderr.count("\n") == 1
    assert _tocsin("start", "--brokers", "none", *option, cwd=home).returncode == 2

    stopped = _tocsin("stop", *option, cwd=home)
    assert (stopped.returncode, stopped.stdout) == (0, "")
    assert "Kafka has stopped" in stopped.stderr
    assert "No Kafka runs in" in _tocsin("stop", *option, cwd=home).stderr
    assert processes_of(data_dir) == []
    deleted = _tocsin("reset", *option, cwd=home)
    assert (deleted.returncode, deleted.stdout) == (0, "")
    assert "is deleted" in deleted.stderr
    assert not data_dir.exists()
    assert list(home.iterdir()) == []


async def test_three_brokers_lose_one_and_go_on(data_dir: Path, unique: str) -> None:
    local = BreakableKafka(data_dir, brokers=3, die_with_parent=True, jvm_options=SHORT_LIFE)
    address = local.start(timeout=START_S)
    assert len(address.split(",")) == 3
    await _create_topic(address, unique, replicas=3)
    await _produce(address, unique, [b"all three"])
    local.kill(2)
    assert local.status().state == "partial"
    await _produce(address, unique, [b"two of three"])
    local.restart_broker(2, timeout=START_S)
    wait_until_running(local)
    assert await _consume(address, unique, 2) == [b"all three", b"two of three"]
