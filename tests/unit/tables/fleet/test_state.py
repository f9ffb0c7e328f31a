"""Rows of the status topic: what is written is read, and what is not ours is left out."""

from __future__ import annotations

import json
import re
from pathlib import Path

import msgspec
import pytest

from streams.settings import load_settings
from tables.fleet.state import (
    MOST_BYTES,
    MOST_KEY_BYTES,
    DeadLetters,
    LeftOutError,
    Partitions,
    decode_key,
    decode_state,
    encode_state,
    worker_id,
)
from tests.unit.tables.fleet.states import APP, class_state, row, worker_state


def test_what_is_written_is_read() -> None:
    state = worker_state(
        classes={"DEBUG": class_state(lag_records=7, oldest_age_s=2.5, achieved_share=0.25)},
        partitions=[Partitions("notifications.debug", "working", [0, 3], "DEBUG")],
        dead_letters=[DeadLetters("DEBUG", "not-json", 4)],
        repairs={"not-a-number": 2},
        reasons=["The worker is stopping."],
    )
    assert decode_state(encode_state(state), APP) == state


def test_members_of_a_newer_worker_are_passed_over_and_its_other_version_is_left_out() -> None:
    more = json.loads(row()) | {"colour": "green"}
    assert decode_state(json.dumps(more).encode(), APP) == worker_state()
    other = json.loads(row()) | {"v": 2}
    with pytest.raises(LeftOutError) as caught:
        decode_state(json.dumps(other).encode(), APP)
    assert caught.value.why == "newer"


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (b"", "unreadable"),
        (b"\xff\xfe", "unreadable"),
        (b"[]", "unreadable"),
        (b"{}", "unreadable"),
        (b'{"v":1}', "foreign"),
        (b'{"v":0,"app":"tocsin"}', "unreadable"),
        (b"[" * 10_000, "unreadable"),
        (b" " * (MOST_BYTES + 1), "unreadable"),
        (row(app="another"), "foreign"),
        (row().replace(b'"ready":true', b'"ready":"yes"'), "unreadable"),
        (row().replace(b'"lag_records":0', b'"lag_records":-1'), "unreadable"),
        (row().replace(b'"lag_records":0', b'"lag_records":1e400'), "unreadable"),
        (row().replace(b'"lag_records":0', b'"lag_records":' + b"9" * 400), "unreadable"),
        (row().replace(b'"achieved_share":0', b'"achieved_share":1.5'), "unreadable"),
        (row().replace(b'"loop_lag_s":0.01', b'"loop_lag_s":NaN'), "unreadable"),
        (row(mode="x" * 51), "unreadable"),
        (row().replace(b'"v":1', b'"v":0'), "unreadable"),
    ],
)
def test_a_row_that_is_no_state_of_ours_is_left_out(value: bytes, why: str) -> None:
    with pytest.raises(LeftOutError) as caught:
        decode_state(value, APP)
    assert caught.value.why == why


@pytest.mark.parametrize("key", [None, b"", b"\xff", b"k" * (MOST_KEY_BYTES + 1)])
def test_a_key_that_is_no_id_is_left_out(key: bytes | None) -> None:
    with pytest.raises(LeftOutError):
        decode_key(key)


def test_a_row_is_bounded_whatever_the_worker_has() -> None:
    """The parts that are left out are said to be more; what is largest goes first."""
    numbers = list(range(5000))
    many = [Partitions("n" * 200, "working", numbers, "DEBUG"), Partitions("m", "gone", numbers)]
    read = decode_state(encode_state(worker_state(partitions=many, reasons=["r" * 10_000] * 100)), APP)
    assert [len(each.numbers) for each in read.partitions] == [2000, 0]
    assert [each.more for each in read.partitions] == [3000, 5000]
    assert len(read.reasons) == 20
    assert {len(each) for each in read.reasons} == {500}

    long = [Partitions(f"{'n' * 150}{number}", "working", numbers[:8], "DEBUG") for number in range(250)]
    value = encode_state(worker_state(partitions=long, dead_letters=[DeadLetters("D", "r" * 90, 1)] * 500))
    assert len(value) <= MOST_BYTES
    assert decode_state(value, APP).classes


def test_a_worker_has_the_same_id_after_a_restart_and_another_than_those_beside_it(tmp_path: Path) -> None:
    def made(**values: object) -> str:
        return worker_id(load_settings(**{"data_dir": tmp_path / "a"} | values), "host")

    assert made() == made()
    assert made().startswith("host-")
    others = [made(data_dir=tmp_path / "b"), made(web_port=7000), made(pool="urgent"), made(app_id="me")]
    assert len({made(), *others}) == 5
    assert made(instance_id="tocsin-0") == "tocsin-0"


def test_a_row_has_only_members_that_are_documented() -> None:
    assert set(json.loads(row())) == set(msgspec.structs.asdict(worker_state()))


def test_what_cannot_be_seen_in_a_row_and_its_key_is_escaped() -> None:
    hostile, shown = "\u202e\u200b\x1b[2J\n", r"\u202e\u200b\x1b[2J\n"
    state = worker_state(
        run=hostile,
        version=hostile,
        host=hostile,
        pool=hostile,
        reasons=[hostile],
        mode=hostile,
        profile=hostile,
        classes={hostile: class_state()},
        partitions=[Partitions(hostile, hostile, [1], hostile)],
        dead_letters=[DeadLetters(hostile, hostile, 1)],
        repairs={hostile: 1},
    )
    for value in (encode_state(state), json.dumps(json.loads(encode_state(state))).encode()):
        found = decode_state(value, APP)
        text = msgspec.json.encode(found).decode()
        assert (
            text.count(json.dumps(shown)[1:-1]) == msgspec.json.encode(state).decode().count("\u202e") == 14
        )
        assert found.host == shown
        assert not {"\u202e", "\u200b", r"\u001b", r"\n"} & set(
            re.findall(r"(?<!\\)\\u....|(?<!\\)\\n|[^\x20-\x7e]", text)
        )
    assert decode_key(hostile.encode()) == shown
    with pytest.raises(LeftOutError):
        decode_state(encode_state(worker_state(host="\u202e" * 900)), APP)
