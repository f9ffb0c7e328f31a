"""What of a channel may be acknowledged. Pure."""

from __future__ import annotations


class Acknowledgements:
    """The deliveries of one channel that are not acknowledged, in the order of their tags.

    One acknowledgement may cover all deliveries up to a tag. That is given only where each of them is
    settled, so that none is acknowledged for its neighbour's sake.
    """

    def __init__(self) -> None:
        self._open: dict[int, bool] = {}
        self._settled = 0

    def __len__(self) -> int:
        """Deliveries that are not acknowledged."""
        return len(self._open)

    def delivered(self, tag: int) -> None:
        """A message came; tags of a channel only grow."""
        self._open[tag] = False

    def settled(self, tag: int) -> None:
        """Kafka has confirmed the message of ``tag``."""
        if self._open.get(tag) is False:
            self._open[tag] = True
            self._settled += 1

    def returned(self, tag: int) -> None:
        """The message of ``tag`` was given back, so that it is open no more."""
        if self._open.pop(tag, False):
            self._settled -= 1

    def take(self) -> list[tuple[int, bool]]:
        """What to acknowledge now: tags, each with whether it stands for all before it as well."""
        if not self._settled:
            return []
        last = 0
        for tag, settled in self._open.items():
            if not settled:
                break
            last = tag
        found: list[tuple[int, bool]] = []
        if last:
            found.append((last, True))
        found += [(tag, False) for tag, settled in self._open.items() if settled and tag > last]
        # Up to `last` all are settled, and of the rest only those that are named.
        self._open = {tag: False for tag, settled in self._open.items() if not settled}
        self._settled = 0
        return found
