"""The driver file: lines of JSON, rotated by size, that a crash or a full disk does not spoil."""

from __future__ import annotations

import signal
import sys
import threading
from collections import Counter
from pathlib import Path

import orjson
import pytest

from streams.outgoing import Outgoing
from streams.publishing.driver import Stats
from streams.publishing.drivers.file import FileDriver
from streams.publishing.notifier import Notifier
from streams.settings import ConfigurationError
from tests import children
from tests.paths import ROOT

BOUND_S = 60.0


def lines(path: Path) -> list[bytes]:
    return path.read_bytes().split(b"\n")[:-1]


def test_each_notification_is_a_line_of_json(tmp_path: Path):
    path = tmp_path / "n.jsonl"
    with FileDriver(path=path) as driver:
        notifier = Notifier("p", driver, topic_prefix="n.")
        ids = [notifier.info("a.b", {"text": "é\n"}) for _ in range(500)]
        assert driver.flush(BOUND_S)
        assert driver.stats == Stats(pushed=500, delivered=500)
        found = [orjson.loads(line) for line in lines(path)]
    assert [each["message_id"] for each in found] == ids
    assert found[0]["payload"] == {"text": "é\n"}


def test_values_with_line_breaks_and_bytes_are_one_line_each(tmp_path: Path):
    path = tmp_path / "n.jsonl"
    with FileDriver(path=path) as driver:
        driver.push(Outgoing("t", b'{\n"a":\r\n1}'))
        driver.push(Outgoing("t", b"\xff\n"))
        assert driver.flush(BOUND_S)
    assert [orjson.loads(line) for line in lines(path)] == [{"a": 1}, {"topic": "t", "base64": "/wo="}]


def test_full_files_are_renamed_and_the_oldest_go(tmp_path: Path):
    path = tmp_path / "n.jsonl"
    with FileDriver(path=path, max_bytes=100, keep=2) as driver:
        for number in range(50):
            driver.push(Outgoing("t", b'"%08d"' % number))
        assert driver.flush(BOUND_S)
    files = [tmp_path / "n.jsonl.2", tmp_path / "n.jsonl.1", path]
    assert sorted(tmp_path.iterdir()) == sorted(files)
    assert all(0 < file.stat().st_size <= 100 for file in files)
    found = [int(orjson.loads(line)) for file in files for line in lines(file)]
    assert found == list(range(50 - len(found), 50))


def test_a_message_larger_than_a_file_has_one_to_itself(tmp_path: Path):
    path = tmp_path / "n.jsonl"
    with FileDriver(path=path, max_bytes=10, keep=9) as driver:
        for value in (b'"a"', b'"' + b"x" * 100 + b'"', b'"b"'):
            driver.push(Outgoing("t", value))
        assert driver.flush(BOUND_S)
    assert [lines(tmp_path / name) for name in ("n.jsonl.2", "n.jsonl.1", "n.jsonl")] == [
        [b'"a"'],
        [b'"' + b"x" * 100 + b'"'],
        [b'"b"'],
    ]


def test_nothing_earlier_is_kept_where_nobody_wants_it(tmp_path: Path):
    path = tmp_path / "n.jsonl"
    with FileDriver(path=path, max_bytes=10, keep=0) as driver:
        for number in range(9):
            driver.push(Outgoing("t", b'"%03d"' % number))
        assert driver.flush(BOUND_S)
    assert list(tmp_path.iterdir()) == [path]
    assert lines(path) == [b'"008"']


def test_a_torn_last_line_stays_alone(tmp_path: Path):
    path = tmp_path / "n.jsonl"
    path.write_bytes(b'{"event_type": "whole"}\n{"event_type": "to')
    with FileDriver(path=path) as driver:
        driver.push(Outgoing("t", b'{"event_type":"next"}'))
        assert driver.flush(BOUND_S)
    assert lines(path) == [b'{"event_type": "whole"}', b'{"event_type": "to', b'{"event_type":"next"}']


_KILLED = """
import sys
from streams.publishing.driver import load_driver, Outgoing
driver = load_driver("file", path=sys.argv[1])
number = 0
while True:
    driver.push(Outgoing("t.info", b'{"event_type":"a","payload":%d}' % number))
    number += 1
"""


def test_a_killed_process_leaves_whole_lines_before_the_last(tmp_path: Path):
    path = tmp_path / "n.jsonl"
    process = children.start([sys.executable, "-c", _KILLED, path], cwd=ROOT)
    while not path.exists() or path.stat().st_size < 100_000:
        assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    found = [orjson.loads(line)["payload"] for line in lines(path)]
    assert found == list(range(len(found)))


_WRITER = """
import sys
from streams.publishing.driver import load_driver, Outgoing
with load_driver("file", path=sys.argv[1], max_bytes=20_000, keep=50) as driver:
    for number in range(2000):
        driver.push(Outgoing("t.info", b'"%s-%d"' % (sys.argv[2].encode(), number)))
    assert driver.flush(60)
"""


def test_several_processes_share_a_file_through_its_rotations(tmp_path: Path):
    path = tmp_path / "n.jsonl"
    started = [
        children.start([sys.executable, "-c", _WRITER, path, name], cwd=ROOT) for name in ("a", "b", "c")
    ]
    assert [process.wait(BOUND_S) for process in started] == [0, 0, 0]
    found = Counter(orjson.loads(line) for file in tmp_path.iterdir() for line in lines(file))
    assert found == Counter(f"{name}-{number}" for name in "abc" for number in range(2000))
    assert all(file.stat().st_size <= 20_000 for file in tmp_path.iterdir())


_FULL = """
import resource, signal, sys, threading
from streams.publishing.driver import load_driver, Outgoing
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
driver = load_driver("file", path=sys.argv[1])
for number in range(200):
    assert driver.push(Outgoing("t.info", b'"%08d"' % number))
assert not driver.flush(2)
with open(sys.argv[1], "rb") as file:
    text = file.read()
assert text.endswith(b"\\n") or not text, text
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
assert driver.flush(60)
assert driver.stats.delivered == 200, driver.stats
"""


def test_a_full_disk_is_waited_for_and_loses_nothing(tmp_path: Path):
    path = tmp_path / "n.jsonl"
    result = children.run(
        [sys.executable, "-c", _FULL, path], cwd=ROOT, capture_output=True, text=True, timeout=BOUND_S
    )
    assert result.returncode == 0, result.stderr
    assert f"{path} cannot be written: File too large" in result.stderr
    assert [orjson.loads(line) for line in lines(path)] == [f"{number:08d}" for number in range(200)]


def test_a_file_that_cannot_be_opened_is_a_configuration_error(tmp_path: Path):
    with pytest.raises(ConfigurationError, match=r"cannot write to .*No such file or directory\.$"):
        FileDriver(path=tmp_path / "none" / "n.jsonl")
    with pytest.raises(ConfigurationError, match="keep=-1"):
        FileDriver(path=tmp_path / "n.jsonl", keep=-1)


def test_a_disk_that_hangs_holds_up_nobody(tmp_path: Path):
    path = tmp_path / "n.jsonl"
    driver = FileDriver(path=path, buffer_bytes=10_000, max_wait_s=0.0)
    held = threading.Event()
    driver._write = lambda lines: held.wait(BOUND_S)  # type: ignore[method-assign,assignment,return-value]
    taken = [driver.push(Outgoing("t.debug", b"1" * 1000)) for _ in range(100)]
    assert driver.push(Outgoing("t.critical", b"2")) is True
    assert 0 < sum(taken) < 100
    held.set()
    driver.close()
