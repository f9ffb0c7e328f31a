"""The form of an archive file: every reader of gzip reads it, and a fault hides nothing but what it is in."""

from __future__ import annotations

import gzip
import os
import subprocess
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streams.archive import members as module
from streams.archive.members import Content, Fault, pack, read_members, whole_end

LINES = st.lists(st.binary(min_size=1, max_size=400), min_size=1, max_size=5)


def read(path: Path) -> list[Content | Fault]:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return list(read_members(descriptor))
    finally:
        os.close(descriptor)


def data(found: list[Content | Fault]) -> list[bytes]:
    return [part.data for part in found if isinstance(part, Content)]


def written(folder: Path, content: bytes) -> Path:
    path = folder / "file"
    path.write_bytes(content)
    return path


kept_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@kept_folder
@given(LINES)
def test_members_come_back_and_other_readers_read_them(tmp_path: Path, some: list[bytes]) -> None:
    path = written(tmp_path, b"".join(map(pack, some)))
    assert data(read(path)) == some
    assert gzip.decompress(path.read_bytes()) == b"".join(some)
    descriptor = os.open(path, os.O_RDONLY)
    assert whole_end(descriptor) == (path.stat().st_size, True)
    os.close(descriptor)


def test_zcat_reads_it(tmp_path: Path) -> None:
    path = written(tmp_path, pack(b"one\n") + pack(b"two\n"))
    assert subprocess.run(["gzip", "-dc"], stdin=path.open("rb"), capture_output=True, check=True).stdout == (
        b"one\ntwo\n"
    )


@kept_folder
@given(LINES, st.data())
def test_a_torn_end_hides_only_the_member_that_is_torn(
    tmp_path: Path, some: list[bytes], chosen: st.DataObject
) -> None:
    packed = [pack(each) for each in some]
    ends = [sum(map(len, packed[: index + 1])) for index in range(len(packed))]
    cut = chosen.draw(st.integers(0, ends[-1]))
    path = written(tmp_path, b"".join(packed)[:cut])
    whole = [each for each, end in zip(some, ends, strict=True) if end <= cut]
    found = read(path)
    assert data(found) == whole
    at = ([0, *ends])[len(whole)]
    assert [part for part in found if isinstance(part, Fault)] == ([Fault(at, None)] if cut > at else [])
    descriptor = os.open(path, os.O_RDONLY)
    assert whole_end(descriptor) == (at, True)
    os.close(descriptor)


@kept_folder
@given(LINES, st.data())
def test_a_byte_that_has_changed_hides_only_its_own_member(
    tmp_path: Path, some: list[bytes], chosen: st.DataObject
) -> None:
    packed = [pack(each) for each in some]
    bad = chosen.draw(st.integers(0, len(packed) - 1))
    # The fields of time, hint and system, and the length, mean nothing to gzip: those may change unseen.
    place = chosen.draw(st.sampled_from([0, 1, 2, *range(20, len(packed[bad]))]))
    damaged = bytearray(packed[bad])
    damaged[place] ^= 0x20 if place != 2 else 0x01
    path = written(tmp_path, b"".join([*packed[:bad], bytes(damaged), *packed[bad + 1 :]]))
    if data(read(path)) == some:
        return  # a bit that says nothing, as those that fill up the last byte
    assert data(read(path)) == some[:bad] + some[bad + 1 :]
    start, end = sum(map(len, packed[:bad])), sum(map(len, packed[: bad + 1]))
    last = bad == len(packed) - 1
    assert [part for part in read(path) if isinstance(part, Fault)] == [Fault(start, None if last else end)]
    descriptor = os.open(path, os.O_RDONLY)
    assert whole_end(descriptor)[1] is last
    os.close(descriptor)


def test_a_file_packed_by_others_is_read_also_when_it_is_large(tmp_path: Path, monkeypatch: object) -> None:
    monkeypatch.setattr(module, "_MOST_HELD", 1000)  # type: ignore[attr-defined]
    text = b"".join(b"%d\n" % number for number in range(10_000))
    found = read(written(tmp_path, gzip.compress(text)))
    assert b"".join(data(found)) == text
    assert len(found) > 10


def test_the_mark_of_a_member_within_its_data_misleads_nobody(tmp_path: Path) -> None:
    # What does not compress is stored as it is.
    inner = pack(os.urandom(3000))
    packed = pack(os.urandom(3000) + inner[:40]), pack(b"next\n")
    damaged = bytearray(packed[0])
    damaged[30] ^= 1
    found = read(written(tmp_path, bytes(damaged) + packed[1]))
    assert data(found) == [b"next\n"]
