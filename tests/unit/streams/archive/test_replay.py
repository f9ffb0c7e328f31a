"""What is archived is read again: any bytes, up to a tear, each record once, and what is missing is told."""

from __future__ import annotations

import gzip
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.archive.lines import LineError, archive_line, archived, missing_line
from streams.archive.members import pack
from streams.archive.replay import ArchiveFiles, is_archive
from streams.notifications.priority import Priority
from streams.records import UnreadableRecord

_content = st.none() | st.binary(max_size=60) | st.text(max_size=20).map(str.encode)
_names = st.text(st.characters(codec="utf-8"), max_size=10)


def _record(offset: int, value: bytes | None, **more: Any) -> Any:
    return SimpleNamespace(
        **{"offset": offset, "timestamp": 5, "timestamp_type": 0, "key": None, "value": value, "headers": ()}
        | more
    )


def _line(offset: int, value: bytes | None = b"{}", topic: str = "n.info", topic_id: str = "") -> bytes:
    return archive_line(topic, Priority.INFO, 0, _record(offset, value), topic_id)


class _Files:
    """What comes of some files."""

    def __init__(self, *paths: Path) -> None:
        self.lost: list[tuple[int, str]] = []
        self.notes: list[str] = []
        files = ArchiveFiles(paths, lambda *lost: self.lost.append(lost), self.notes.append)
        self.found = list(files.records())
        self.repeats = files.repeats

    @property
    def offsets(self) -> list[int]:
        return [each.offset for each in self.found]


def _replayed(*paths: Path) -> list[int]:
    """The offsets of the records of sound files."""
    files = _Files(*paths)
    assert (files.lost, files.notes) == ([], [])
    return files.offsets


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
    found = _Files(path)
    ends = [len(b"".join(members[: number + 1])) for number in range(3)]
    durable = 2 * sum(end <= cut for end in ends)
    assert found.offsets == list(range(durable))
    # A file that is written to has the other ending; of one that was finished the end is missing.
    whole_members = cut in (0, *ends)
    assert ["damaged from byte" in sentence for _, sentence in found.lost] == [True] * (not whole_members)
    part = path.rename(path.with_name(path.name + ".part"))
    found = _Files(part)
    assert found.lost == []
    assert ["its end is torn" in sentence for sentence in found.notes] == [True] * (not whole_members)


def test_what_lies_around_damage_is_read(tmp_path: Path) -> None:
    members = [bytearray(pack(_line(number))) for number in range(3)]
    members[1][40] ^= 0xFF
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(b"".join(members) + pack(b"no line\n" + _line(3)))
    found = _Files(path)
    assert found.offsets == [0, 2, 3]
    (damaged, no_line) = found.lost
    assert (damaged[0], "damaged from byte" in damaged[1]) == (1, True)
    assert (no_line[0], "line 3: it is no record" in no_line[1]) == (1, True)


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
    assert (_replayed(*paths), _Files(*paths).repeats) == ([0, 1, 1, 2], 2)


@pytest.mark.parametrize("ids", [("", ""), ("old", "new"), ("", "new"), ("old", "")])
def test_a_topic_that_was_made_again_is_another_one(tmp_path: Path, ids: tuple[str, str]) -> None:
    old, new = ids
    path = tmp_path / "a"
    former = [_line(offset, b"former", topic_id=old) for offset in range(3)]
    later = [_line(offset, b"later", topic_id=new) for offset in range(2)]
    path.write_bytes(pack(b"".join(former + later)) + pack(former[1] + later[1]))
    found = _Files(path)
    assert [(each.offset, each.value) for each in found.found] == [
        *((offset, b"former") for offset in range(3)),
        *((offset, b"later") for offset in range(2)),
    ]
    assert found.repeats == 2


def test_by_their_ids_topics_with_the_same_content_differ(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(pack(_line(0, topic_id="old") + _line(0, topic_id="new") + _line(0, topic_id="old")))
    assert _replayed(path) == [0, 0]


def test_what_an_earlier_version_wrote_is_taken_for_the_same(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(pack(_line(0) + _line(0, topic_id="new")) + pack(_line(1, topic_id="new") + _line(1)))
    assert _replayed(path) == [0, 1]


def test_what_is_missing_is_told_at_the_end_once_and_with_its_number(tmp_path: Path) -> None:
    corrupt = [
        archive_line("n.info", Priority.INFO, 0, UnreadableRecord("n.info", 0, offset, "corrupt"), "id")
        for offset in range(5, 8)
    ]
    deleted = missing_line("n.info", Priority.INFO, 0, range(20, 120), "deleted", "id")
    path = tmp_path / "a"
    path.write_bytes(pack(_line(4, topic_id="id") + b"".join(corrupt)) + pack(corrupt[2] + deleted + deleted))
    found = _Files(path)
    assert (found.offsets, found.repeats) == ([4], 0)
    assert found.lost == [
        (3, "n.info, partition 0, offset 5 to 7: not in the archive (corrupt)."),
        (100, "n.info, partition 0, offset 20 to 119: not in the archive (deleted)."),
    ]
    # Another replica was sound: it was archived again.
    other = tmp_path / "b"
    other.write_bytes(pack(b"".join(_line(offset, topic_id="id") for offset in (6, 7, 50))))
    found = _Files(path, other)
    assert found.offsets == [4, 6, 7, 50]
    assert [(number, sentence.split(",")[2].split(":")[0]) for number, sentence in found.lost] == [
        (1, " offset 5"),
        (30, " offset 20 to 49"),
        (69, " offset 51 to 119"),
    ]


def test_a_reader_of_an_earlier_version_takes_a_mark_for_a_record_that_could_not_be_read() -> None:
    line = missing_line("n.info", Priority.INFO, 0, range(20, 120), "deleted", "id")
    earlier = ["topic", "priority", "partition", "offset", "timestamp_ms", "timestamp_type"]
    found = orjson.loads(line)
    assert list(found)[:9] == [*earlier, "key", "value", "headers"]
    assert (found["offset"], found["end_offset"], found["unreadable"]) == (20, 120, "deleted")


def test_an_archive_is_told_by_its_first_bytes() -> None:
    assert [is_archive(start) for start in (pack(b"x\n")[:2], b'{"', b"")] == [True, False, False]
