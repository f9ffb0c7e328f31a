"""The lives of a source: what was read of a partition before its log lost its end, and after. Pure.

A log that lost its end (a power loss of the only replica, an unclean election) has other records at offsets
that were counted before. They are counted as those of another source, which begins at the first offset that
was lost: so the counts of both are exact, and no alert has the id of another.

What tells is the leader epoch: Kafka keeps it with each batch, and no two leaders have the same. A row of
each source says which epochs were met, and is durable before any record of a new one is taken over.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from tables.rows import VersionedRows

#: Epochs that are remembered; a log never loses more than its end.
_MOST_EPOCHS: Final = 50
_FAR: Final = 2**62
_LIFE_KEY: Final = b"e/"


class SourceLife(msgspec.Struct, omit_defaults=True):
    """The present life of a source, as its row says.

    Attributes:
        epochs: leader epoch and the first offset that was met of it, in order.
        name: what the source's name ends with; empty for the first life.
        begin: the first offset that belongs to it.
        earlier: names of the lives before.
    """

    epochs: list[tuple[int, int]] = msgspec.field(default_factory=list)
    name: str = ""
    begin: int = 0
    earlier: list[str] = msgspec.field(default_factory=list)

    def epoch_before(self, offset: int) -> int:
        """The epoch of the record before ``offset``; -1 where it is not known."""
        return max((epoch for epoch, start in self.epochs if start < offset), default=-1)

    def met(self, epoch: int, offset: int) -> SourceLife | None:
        """The life once it is known that an epoch begins at ``offset``; None when that is known already."""
        if any(known == epoch and start <= offset for known, start in self.epochs):
            return None
        epochs = [each for each in self.epochs if each[0] != epoch]
        if not epochs or epoch > epochs[-1][0]:
            epochs = [each for each in epochs if each[1] < offset]  # what lay behind is gone
        return msgspec.structs.replace(self, epochs=sorted([*epochs, (epoch, offset)])[-_MOST_EPOCHS:])

    def ended(self, end: int, leader_epoch: int) -> SourceLife:
        """The next life, when the log has other records from offset ``end`` on.

        Args:
            end: the first offset that was lost.
            leader_epoch: the present one; it makes the name one that no life ever had.
        """
        while (name := f"{end}-{leader_epoch}") in {self.name, *self.earlier}:
            leader_epoch += 1
        return self.followed_by(name)

    def followed_by(self, name: str) -> SourceLife:
        """A later life, by its name, which begins with the offset at which that life does."""
        begin = int(name.partition("-")[0])
        epochs = [each for each in self.epochs if each[1] < begin]
        return SourceLife(epochs, name, begin, [*self.earlier, self.name])

    def precedes(self, name: str) -> bool:
        """Whether a life is a later one than this, of which the row was lost."""
        return name not in {"", self.name, *self.earlier}


class CommonEnd:
    """Finds out where what was read and what the leader has part, by one question after the other.

    Args:
        life: as far as it is known.
    """

    def __init__(self, life: SourceLife) -> None:
        self._left = list(life.epochs)
        self._below = _FAR
        #: The end of what is common; None before it is known, or where nothing is to be asked.
        self.found: int | None = None

    def question(self) -> int | None:
        """The epoch whose end is to be asked for; None when there is no further question."""
        return self._left[-1][0] if self._left and self.found is None else None

    def answer(self, epoch: int, end: int) -> None:
        """Take in what the leader says: the largest epoch up to the one asked for, and its end."""
        asked, start = self._left.pop()
        if epoch == asked:
            self.found = min(end, self._below)
            return
        # It has nothing of that epoch, so all that was read of it is gone.
        self._below = start
        if not self._left:
            self.found = start


def life_name(source: str) -> bytes:
    """Name of the row that says which life a source is in; ``source`` is the name of its first life."""
    return _LIFE_KEY + source.encode()


def life_row(key: bytes) -> bytes | None:
    """The source whose life a key's row tells, by its name in the first; None for another row."""
    return key[len(_LIFE_KEY) :].partition(b"@")[0] if key.startswith(_LIFE_KEY) else None


_read_life: Final[Callable[[Any], SourceLife]] = msgspec.json.Decoder(SourceLife).decode


def load_life(source: str, rows: VersionedRows) -> tuple[SourceLife, int, list[bytes]]:
    """The life that a source is in, the number of its version (-1 for none), and the keys of all versions."""
    loaded = rows.load(life_name(source), _read_life)
    return (SourceLife(), -1, []) if loaded is None else (loaded.body, loaded.offset, loaded.keys)
