"""The line of a record: whatever the record holds comes back as it was."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.archive.lines import LineError, archive_line, archived, missing_line
from streams.notifications.priority import Priority
from streams.records import UnreadableRecord

BYTES = st.none() | st.binary() | st.text().map(str.encode)


def record(**members: Any) -> Any:
    given_ = {"offset": 7, "timestamp": 1, "timestamp_type": 0, "key": None, "value": b"", "headers": ()}
    return SimpleNamespace(**given_ | members)


@given(
    st.text(),
    st.sampled_from(list(Priority)),
    st.integers(0, 2**31 - 1),
    st.integers(0, 2**63 - 1),
    st.none() | st.integers(-1, 2**63 - 1),
    st.sampled_from([0, 1, None]),
    BYTES,
    BYTES,
    st.lists(st.tuples(st.text(), BYTES)),
)
def test_all_of_a_record_comes_back(
    topic: str,
    priority: Priority,
    partition: int,
    offset: int,
    timestamp: int | None,
    whose: int | None,
    key: bytes | None,
    value: bytes | None,
    headers: list[tuple[str, bytes | None]],
) -> None:
    line = archive_line(
        topic,
        priority,
        partition,
        record(
            offset=offset, timestamp=timestamp, timestamp_type=whose, key=key, value=value, headers=headers
        ),
    )
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert isinstance(orjson.loads(line), dict)
    found = archived(line)
    assert (found.topic, found.priority, found.partition, found.offset) == (
        topic,
        priority,
        partition,
        offset,
    )
    assert (found.key, found.value, found.headers) == (key, value, tuple(headers))
    assert found.timestamp_ms == (-1 if timestamp is None else timestamp)
    assert found.timestamp_type == {0: "create", 1: "append", None: None}[whose]
    assert found.unreadable is None


def test_a_line_has_text_as_text_and_all_else_in_base64() -> None:
    line = archive_line("t", Priority.ERROR, 3, record(key=b"\xff", value=b'{"a": "\xc3\xa4"}'))
    assert orjson.loads(line) == {
        "topic": "t",
        "priority": "ERROR",
        "partition": 3,
        "offset": 7,
        "timestamp_ms": 1,
        "timestamp_type": "create",
        "key": {"base64": "/w=="},
        "value": '{"a": "ä"}',
        "headers": [],
    }


def test_what_could_not_be_read_says_so_with_what_lay_there() -> None:
    stand_in = UnreadableRecord("t", 3, 9, "its checksum is wrong", corrupt=True, found=b"\x00ok")
    found = archived(archive_line("t", Priority.INFO, 3, stand_in))
    assert (found.unreadable, found.value, found.offset) == ("its checksum is wrong", b"\x00ok", 9)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{}",
        b"[]",
        b"\xff",
        archive_line("t", Priority.INFO, 1, record())[:-3],
        archive_line("t", Priority.INFO, 1, record(key=b"\xff")).replace(b"/w==", b"/w=!"),
        archive_line("t", Priority.INFO, 1, record()).replace(b"INFO", b"info"),
    ],
)
def test_what_is_no_record_is_refused(line: bytes) -> None:
    with pytest.raises(LineError):
        archived(line)


def test_records_that_differ_in_anything_have_other_checksums() -> None:
    some = [
        record(),
        record(timestamp=2),
        record(key=b""),
        record(value=None),
        record(value=b"x"),
        record(headers=[("a", None)]),
        record(headers=[("a", b"b")]),
    ]
    sums = {archived(archive_line("t", Priority.INFO, 1, each)).checksum for each in some}
    assert len(sums) == len(some)


def test_a_line_of_an_earlier_version_is_read() -> None:
    line = (
        b'{"topic":"n.info","priority":"INFO","partition":2,"offset":5,"timestamp_ms":9,'
        b'"timestamp_type":"append","key":null,"value":{"base64":"/w=="},"headers":[["a",null]]}'
    )
    found = archived(line)
    assert (found.value, found.headers, found.topic_id, found.end_offset) == (b"\xff", (("a", None),), "", 6)


def test_a_line_says_of_which_topic_it_is_and_what_is_missing() -> None:
    assert archived(archive_line("t", Priority.INFO, 1, record(), "id")).topic_id == "id"
    mark = archived(missing_line("t", Priority.INFO, 1, range(7, 12), "deleted", "id"))
    assert (mark.offset, mark.end_offset, mark.unreadable, mark.topic_id) == (7, 12, "deleted", "id")
