"""The checksum of batches is aiokafka's, whichever code works it out."""

from __future__ import annotations

import pytest
from aiokafka.record.util import calc_crc32c
from hypothesis import given
from hypothesis import strategies as st

from streams.upstream import checksums
from streams.upstream.checksums import crc32c


@given(st.binary(max_size=5000))
def test_it_is_that_of_aiokafka(data: bytes) -> None:
    assert crc32c(data) == calc_crc32c(data)
    assert crc32c(data) != crc32c(data + b"\1")


def test_it_is_that_of_the_standard() -> None:
    """RFC 3720, B.4."""
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(b"\xff" * 32) == 0x62A8AB43


def test_without_the_compiled_part_it_is_aiokafkas(monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(_: bytes) -> int:
        raise AssertionError("a hundred times slower than aiokafka's")

    monkeypatch.setattr(checksums.google_crc32c, "value", slow)
    monkeypatch.setattr(checksums, "_IS_COMPILED", False)
    assert crc32c(b"123456789") == 0xE3069283
