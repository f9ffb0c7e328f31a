"""How many messages a queue may have under way, so that the bytes of them stay bounded. Pure.

RabbitMQ bounds the number of messages that a consumer has without acknowledgement, not their bytes.
"""

from __future__ import annotations

#: Messages, as a multiple of the number allowed, that must pass without trouble before it is doubled.
_CALM: int = 8


class Prefetch:
    """The number of messages, fitted to their sizes.

    Once the messages of a queue take more than the bound, what came too much is given back, and the number
    falls to what would fit if all were as large as the largest. It doubles again while all goes well.

    Args:
        most: messages at most, 1 or more.
        bound_bytes: of all of them together.
    """

    def __init__(self, most: int, bound_bytes: int) -> None:
        self._most = most
        self._bound_bytes = bound_bytes
        self._largest = 0
        self._calm = 0
        #: Bytes of what is held.
        self.held_bytes = 0
        #: Messages that are held.
        self.number = 0
        #: Messages that RabbitMQ may send ahead.
        self.limit = most

    def fits(self, size: int) -> bool:
        """Take in a message, if it fits; one always does, whatever its size.

        Returns:
            Whether it was taken; if not, give it back, and consume anew with the smaller ``limit``.
        """
        self._largest = max(self._largest, size)
        if self.number and self.held_bytes + size > self._bound_bytes:
            self._calm = 0
            self.limit = max(1, min(self.limit, self._bound_bytes // self._largest))
            return False
        self.number += 1
        self.held_bytes += size
        return True

    def left(self, size: int) -> bool:
        """A message that was taken is gone; whether ``limit`` has grown, so as to consume anew."""
        self.number -= 1
        self.held_bytes -= size
        if self.limit == self._most:
            return False
        self._calm += 1
        if self._calm < _CALM * self.limit:
            return False
        self._calm = self._largest = 0
        self.limit = min(self._most, 2 * self.limit)
        return True
