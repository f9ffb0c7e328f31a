"""Consumers of this process read their batches through ``LenientRecords``."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from aiokafka.consumer import fetcher
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy
from aiokafka.record.legacy_records import LegacyRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords

from streams.upstream.corrupt_batches import judge
from streams.upstream.lenient_records import LenientRecords, _Batch, install_lenient_records


class NotText(str):
    """A header name whose bytes on the wire are no UTF-8."""

    __slots__ = ()

    def encode(self, *_args: Any) -> bytes:
        return b"a\xff"


@pytest.fixture
def _not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetcher, "MemoryRecords", MemoryRecords)
    monkeypatch.setattr(_Batch, "limit", _Batch.limit)


def batch() -> bytes:
    builder = _DefaultRecordBatchBuilderPy(2, 0, 0, -1, -1, -1, 1 << 20)
    builder.append(0, 1000, b"k", b"v", [(NotText("x"), b"h")])
    return bytes(builder.build())


@pytest.mark.usefixtures("_not_installed")
def test_the_fetcher_makes_them_by_the_name_that_is_replaced() -> None:
    install_lenient_records(123_456)
    assert fetcher.MemoryRecords is LenientRecords
    assert _Batch.limit == 123_456
    assert "MemoryRecords" in fetcher.Fetcher._proc_fetch_request.__code__.co_names


def test_a_header_name_that_is_no_text_is_escaped() -> None:
    (record,) = LenientRecords(batch()).next_batch()
    assert (record.key, record.value, list(record.headers)) == (b"k", b"v", [("a\\xff", b"h")])


def test_stock_aiokafka_raises_for_it() -> None:
    """The control."""
    with pytest.raises(UnicodeDecodeError):
        list(MemoryRecords(batch()).next_batch())


def of_version(magic: int) -> bytes:
    if magic == 2:
        return batch()
    builder = LegacyRecordBatchBuilder(magic, 0, 1 << 20)
    builder.append(0, timestamp=1000, key=b"k", value=b"v")
    return bytes(builder.build())


@pytest.mark.parametrize(
    ("magic", "before"), [(0, b""), (1, b""), (2, b""), (2, batch())], ids=["0", "1", "2", "behind another"]
)
def test_a_batch_of_any_version_is_held_to_its_checksum(magic: int, before: bytes) -> None:
    data = before + of_version(magic)
    for last, expected in ((data[-1], True), (data[-1] ^ 1, False)):
        records = LenientRecords(data[:-1] + bytes([last]))
        if before:
            assert records.next_batch().validate_crc()
        assert records.next_batch().validate_crc() is expected


@pytest.mark.parametrize("length", [-(2**31), -(len(batch()) + 12), -13, -12, -1, 0, 4, 13])
@pytest.mark.parametrize("number", [0, 1, 2])
@pytest.mark.parametrize("magic", [0, 2])
def test_a_length_that_no_batch_has_ends_what_was_fetched(length: int, number: int, magic: int) -> None:
    batches = [bytearray(batch()) for _ in range(3)]
    for offset, each in enumerate(batches):
        struct.pack_into(">q", each, 0, offset)
    struct.pack_into(">i", batches[number], 8, length)
    batches[number][16] = magic
    records = LenientRecords(b"".join(batches))
    for offset in range(number):
        assert judge(records.next_batch(), offset, 3, first=offset == 0) is None
    found = judge(records.next_batch(), number, 3, first=number == 0)
    assert found is not None
    assert found.first == number < found.end
    assert not records.has_next()
