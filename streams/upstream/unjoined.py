"""Bytes on their way to a socket, in pieces until all of them are known, so that they are joined once."""

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

    def __repr__(self) -> str:
        """How many bytes, for aiokafka's log of each request."""
        return f"<{self._length} B>"


class Message(Unjoined):
    """A request before which aiokafka (0.14) puts the header, and then the size; the second joins them.

    So ``size + (header + message)`` is bytes, and ``header + message`` a message that waits for its size.
    """

    __slots__ = ("_has_header",)

    def __init__(self, pieces: Sequence[bytes], *, has_header: bool = False) -> None:
        super().__init__(pieces)
        self._has_header = has_header

    def __radd__(self, before: bytes) -> Message | bytes:
        """Put the header before it; the second time the size, and join all."""
        pieces = (before, *self.pieces)
        return b"".join(pieces) if self._has_header else Message(pieces, has_header=True)
