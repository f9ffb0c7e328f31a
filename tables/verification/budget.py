"""How much a comparison may hold in memory. Pure."""

from __future__ import annotations


class TooManyCountsError(Exception):
    """More different counts than fit into memory; the message says what to do."""


class Budget:
    """Bounds the memory of a comparison by the number of counts that it holds."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._used = 0

    def take(self, number: int) -> None:
        """Hold so many more.

        Raises:
            TooManyCountsError: they are too many.
        """
        self._used += number
        if self._used > self._most:
            raise TooManyCountsError(
                f"There are more than {self._most:,} different counts to keep in memory: "
                "give a shorter --since or --window, or a larger --most-counts."
            )

    def free(self, number: int) -> None:
        """Hold so many less."""
        self._used -= number
