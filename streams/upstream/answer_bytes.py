"""Taking an answer of a broker apart, field by field."""

from __future__ import annotations

from io import BytesIO
from struct import Struct, error
from typing import Any


class AnswerBytes:
    """Bytes of an answer, and how far they are read.

    Args:
        data: the answer, or a stream that stands at its beginning.
    """

    def __init__(self, data: BytesIO | bytes) -> None:
        self.whole, self._at = (data, 0) if isinstance(data, bytes) else (data.getvalue(), data.tell())

    def read(self, fields: Struct) -> tuple[Any, ...]:
        """Read fields of fixed sizes.

        Raises:
            struct.error: the answer ends before them, as for `cut`.
        """
        found = fields.unpack_from(self.whole, self._at)
        self._at += fields.size
        return found

    def cut(self, length: int) -> bytes:
        """Read a number of bytes."""
        cut = self.whole[self._at : self._at + length]
        if len(cut) != length:
            raise error
        self._at += length
        return cut
