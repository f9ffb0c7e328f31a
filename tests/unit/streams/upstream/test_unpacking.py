"""Batches unpack to what was packed, or to an error before they have taken more memory than they may."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib

import cramjam
import pytest
from aiokafka.codec import gzip_encode, lz4_encode, snappy_encode, zstd_encode

from streams.upstream.unpacking import UnpackedTooLargeError, unpack

GZIP, SNAPPY, LZ4, ZSTD = 1, 2, 3, 4
PACKERS = [
    pytest.param(GZIP, gzip_encode, id="gzip"),
    pytest.param(
        GZIP, lambda data: gzip.compress(data[:100]) + gzip.compress(data[100:]), id="gzip in parts"
    ),
    pytest.param(SNAPPY, snappy_encode, id="snappy"),
    pytest.param(SNAPPY, lambda data: snappy_encode(data, xerial_compatible=False), id="snappy raw"),
    pytest.param(LZ4, lz4_encode, id="lz4"),
    pytest.param(ZSTD, zstd_encode, id="zstd"),
]
MOST = 2**20


@pytest.mark.parametrize(("codec", "pack"), PACKERS)
@pytest.mark.parametrize("size", [1, 1000, 200_000, MOST])
def test_up_to_the_limit_everything_is_unpacked(codec: int, pack, size: int) -> None:  # type: ignore[no-untyped-def]
    data = (b"0123456789" * (size // 10 + 1))[:size]
    assert bytes(unpack(codec, bytes(pack(data)), MOST)) == data


@pytest.mark.parametrize(("codec", "pack"), PACKERS)
@pytest.mark.parametrize("size", [MOST + 1, 100 * MOST])
def test_a_bomb_is_refused_before_it_takes_memory(codec: int, pack, size: int) -> None:  # type: ignore[no-untyped-def]
    bomb = bytes(pack(bytes(size)))
    tracemalloc.start()
    try:
        with pytest.raises(UnpackedTooLargeError, match="unpacks to more than 1,048,576 bytes"):
            unpack(codec, bomb, MOST)
        assert tracemalloc.get_traced_memory()[1] < 5 * MOST
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(("codec", "pack"), PACKERS)
def test_what_is_cut_off_or_garbage_is_an_error_of_another_kind(codec: int, pack) -> None:  # type: ignore[no-untyped-def]
    packed = bytes(pack(b"0123456789" * 1000))
    for bad in (packed[:-5], b"garbage" * 10):
        with pytest.raises((cramjam.DecompressionError, ValueError, IndexError, zlib.error)):
            unpack(codec, bad, MOST)


def test_a_lie_of_snappy_about_its_length_costs_nothing() -> None:
    with pytest.raises(UnpackedTooLargeError):
        unpack(SNAPPY, b"\xff\xff\xff\xff\x0f" + b"x", MOST)


def test_an_unknown_compression_is_an_error() -> None:
    with pytest.raises(ValueError, match="number 5"):
        unpack(5, b"", MOST)
