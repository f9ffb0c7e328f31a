"""What is to be sent or published again, as this worker reads on the public topic. Pure."""

from __future__ import annotations

from collections.abc import Container
from typing import Final

from tables.again import AskAgain
from tables.public_rows import PublicKey

_MOST_OUTDATED: Final = 10_000


class OutdatedRows:
    """Public rows that were published late, by a worker that had lost their partitions, over newer ones.

    Their owner publishes the newer ones again. They are remembered for the case that one has no owner now,
    and this worker becomes it; the number is bounded.
    """

    def __init__(self) -> None:
        self._keys: set[PublicKey] = set()

    def add(self, key: PublicKey) -> None:
        """A row of this key was published over a newer one."""
        if len(self._keys) < _MOST_OUTDATED:
            self._keys.add(key)

    def take(self, slices: Container[int]) -> list[PublicKey]:
        """Hand over the keys of these slices."""
        taken = [key for key in self._keys if key.slice in slices]
        self._keys.difference_update(taken)
        return taken


class AskedAgain:
    """Questions of combiners that have missed messages, as read from the public topic."""

    def __init__(self) -> None:
        self.questions: dict[int, AskAgain] = {}

    def add(self, partition: int, question: AskAgain) -> None:
        """A slice asks."""
        known = self.questions.get(partition)
        if known is None or (known.number, known.asked) < (question.number, question.asked):
            self.questions[partition] = question
