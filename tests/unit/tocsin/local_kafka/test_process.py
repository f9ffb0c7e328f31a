"""Why a broker did not start, read from its logs; and what is still a process and what is not."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tocsin.local_kafka.process import BrokerProcess


def _after_failed_start(folder: Path, log: str = "", console: str = "") -> BrokerProcess:
    process = BrokerProcess(folder)
    process.log.write_text(log)
    process.console.write_text(console)
    return process


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("java.io.IOException: No space left on device", "the disk is full"),
        (
            "KafkaException: Failed to acquire lock on file .lock in /d",
            "another Kafka uses the same data folder",
        ),
        ("# There is insufficient memory for the Java Runtime", "memory is short"),
        ("java.nio.file.AccessDeniedException: /d/meta.properties", "it cannot write its folder"),
        (
            "2026-01-01 ERROR Something of its own (kafka.Kafka)",
            "2026-01-01 ERROR Something of its own (kafka.Kafka)",
        ),
    ],
)
def test_the_reason_is_known_or_the_last_telling_line(tmp_path: Path, line: str, reason: str) -> None:
    log = f"INFO starting\n{line}\n\tat kafka.Kafka.main\nINFO shut down completely\n"
    assert _after_failed_start(tmp_path, log=log).reason() == reason
    assert _after_failed_start(tmp_path, console=line).reason() == reason


def test_the_reason_without_any_log(tmp_path: Path) -> None:
    assert BrokerProcess(tmp_path).reason() == "it wrote no log"


def test_a_port_in_use_is_read_from_the_log(tmp_path: Path) -> None:
    line = "ERROR KafkaException: Socket server failed to bind to 127.0.0.1:9092: Address already in use.\n"
    assert _after_failed_start(tmp_path, log=line).port_in_use() == 9092
    assert _after_failed_start(tmp_path, log="ERROR something else\n").port_in_use() is None


def test_what_an_earlier_start_logged_does_not_count(tmp_path: Path) -> None:
    process = _after_failed_start(tmp_path, log="ERROR No space left on device\n")
    process.start([sys.executable, "-c", "print('Exception: of this start')"], die_with_parent=False)
    assert process.wait_gone(30.0)
    assert process.reason() == "Exception: of this start"


def test_a_process_is_found_again_and_its_end_is_seen(tmp_path: Path) -> None:
    first = BrokerProcess(tmp_path)
    first.start([sys.executable, "-c", "import time; time.sleep(600)"], die_with_parent=True)
    second = BrokerProcess(tmp_path)
    pid = first.pid()
    assert pid is not None
    assert second.pid() == pid
    assert second.send(signal.SIGKILL)
    assert first.wait_gone(30.0)
    assert second.pid() is None
    assert not (tmp_path / "pid.json").exists()


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"pid": "x", "started": "1"}', '{"pid": 0, "started": ""}']
)
def test_a_broken_pid_file_means_no_process(tmp_path: Path, text: str) -> None:
    (tmp_path / "pid.json").write_text(text)
    assert BrokerProcess(tmp_path).pid() is None
    assert BrokerProcess(tmp_path).wait_gone(0.0)


def test_a_recycled_pid_is_not_ours(tmp_path: Path) -> None:
    other = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    try:
        (tmp_path / "pid.json").write_text(json.dumps({"pid": other.pid, "started": "1"}))
        process = BrokerProcess(tmp_path)
        assert process.pid() is None
        assert process.send(signal.SIGKILL) is False
        assert other.poll() is None
    finally:
        other.communicate(timeout=30)
