"""What is archived is read again: any bytes, up to a tear, each place once."""

from __future__ import annotations

import gzip
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.archive.lines import Archived, LineError, archive_line, archived
from streams.archive.members import pack
from streams.archive.replay import Places, Torn, read_archive, replayed
from streams.notifications.priority import Priority

_content = st.none() | st.binary(max_size=60) | st.text(max_size=20).map(str.encode)
_names = st.text(st.characters(codec="utf-8"), max_size=10)


def _record(offset: int, value: bytes | None, **more: Any) -> Any:
    return SimpleNamespace(
        **{"offset": offset, "timestamp": 5, "timestamp_type": 0, "key": None, "value": value, "headers": ()}
        | more
    )


def _line(offset: int, value: bytes | None = b"{}", topic: str = "n.info") -> bytes:
    return archive_line(topic, Priority.INFO, 0, _record(offset, value))


def _offsets(found: list[Archived | str]) -> list[int | str]:
    return [each if isinstance(each, str) else each.offset for each in found]


@given(_content, _content, st.lists(st.tuples(_names, _content), max_size=4), st.sampled_from([0, 1, None]))
def test_any_record_comes_back_as_it_was(
    key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes | None]], kind: int | None
) -> None:
    record = _record(7, value, key=key, headers=headers, timestamp_type=kind)
    line = archive_line("n.error", Priority.ERROR, 3, record)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    found = archived(line)
    assert (found.topic, found.priority, found.partition, found.offset) == ("n.error", Priority.ERROR, 3, 7)
    assert (found.key, found.value, list(found.headers)) == (key, value, headers)
    assert found.timestamp_ms == 5
    assert found.timestamp_type == {0: "create", 1: "append", None: None}[kind]


@pytest.mark.parametrize("line", [b"", b"{}", b"\xff", b"[1]"])
def test_what_is_no_record_is_said(line: bytes) -> None:
    with pytest.raises(LineError):
        archived(line)


@given(st.data())
def test_a_torn_file_is_read_up_to_the_tear(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    members = [pack(_line(2 * number) + _line(2 * number + 1)) for number in range(3)]
    whole = b"".join(members)
    cut = data.draw(st.integers(0, len(whole)))
    path = tmp_path_factory.mktemp("torn") / "a.jsonl.gz"
    path.write_bytes(whole[:cut])
    found = list(read_archive(path))
    ends = [len(b"".join(members[: number + 1])) for number in range(3)]
    durable = 2 * sum(end <= cut for end in ends)
    assert _offsets(found)[:durable] == list(range(durable))
    tear = found[durable:]
    if cut in (0, *ends):
        assert tear == []
    else:
        (sentence,) = tear
        assert isinstance(sentence, Torn)
        assert "torn at byte" in sentence


def test_what_lies_around_damage_is_read(tmp_path: Path) -> None:
    members = [bytearray(pack(_line(number))) for number in range(3)]
    members[1][40] ^= 0xFF
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(b"".join(members))
    first, sentence, last = _offsets(list(read_archive(path)))
    assert (first, last) == (0, 2)
    assert isinstance(sentence, str)
    assert "damaged from byte" in sentence


def test_gzip_itself_reads_a_file(tmp_path: Path) -> None:
    lines = [_line(number, bytes([number, 255])) for number in range(4)]
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(pack(lines[0] + lines[1]) + pack(lines[2]) + pack(lines[3]))
    with gzip.open(path) as file:
        assert file.readlines() == lines


def test_what_is_there_twice_is_replayed_once(tmp_path: Path) -> None:
    paths = [tmp_path / "a", tmp_path / "b"]
    paths[0].write_bytes(pack(_line(0) + _line(1) + _line(1, topic="n.warn")))
    paths[1].write_bytes(pack(_line(1) + _line(2) + _line(0)))
    found = list(replayed(paths, Places()))
    assert _offsets(found) == [0, 1, 1, 2]


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 2), st.integers(0, 12))))
def test_a_place_is_new_once(places: list[tuple[str, int, int]]) -> None:
    known: set[tuple[str, int, int]] = set()
    seen = Places()
    for place in places:
        assert seen.add(*place) == (place not in known)
        known.add(place)
