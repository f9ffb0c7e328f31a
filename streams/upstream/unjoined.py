"""Bytes on their way to a socket that are copied once: in pieces until all of them are known."""

from __future__ import annotations

from collections.abc import Sequence


class Unjoined:
    """Bytes in pieces, with their length.

    Args:
        pieces: in order.
    """

    __slots__ = ("_length", "pieces")

    def __init__(self, pieces: Sequence[bytes]) -> None:
        self.pieces = pieces
        self._length = sum(map(len, pieces))

    def __len__(self) -> int:
        """Bytes of all pieces."""
        return self._length

    def __bytes__(self) -> bytes:
        """All pieces, joined."""
        return b"".join(self.pieces)


class Message(Unjoined):
    """A request without what stands before it, as aiokafka (0.14) puts it there: the header, then the size.

    So ``size + (header + message)`` is bytes, and ``header + message`` a message that waits for its size.
    """

    __slots__ = ("_has_header",)

    def __init__(self, pieces: Sequence[bytes], *, has_header: bool = False) -> None:
        super().__init__(pieces)
        self._has_header = has_header

    def __radd__(self, before: bytes) -> Message | bytes:
        """The message behind the next of both."""
        pieces = (before, *self.pieces)
        return b"".join(pieces) if self._has_header else Message(pieces, has_header=True)
