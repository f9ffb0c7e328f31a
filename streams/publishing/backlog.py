"""Messages that wait to be sent: the most urgent go first, and the least urgent give way. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from functools import lru_cache

from streams.notifications.priority import Priority
from streams.outgoing import Outgoing


@lru_cache(maxsize=4096)
def priority_of(topic: str) -> Priority:
    """The priority that the last part of a topic's name says; INFO where it says none."""
    return Priority.parse(topic.rpartition(".")[2]) or Priority.INFO


class Backlog:
    """Messages by priority, each priority in the order in which they came. Not thread-safe."""

    def __init__(self) -> None:
        self._queues: tuple[deque[tuple[Outgoing, int]], ...] = tuple(deque() for _ in Priority)
        self._bytes = [0] * len(self._queues)

    def __len__(self) -> int:
        return sum(map(len, self._queues))

    def add(self, message: Outgoing, size: int) -> None:
        """Take a message that is charged with ``size`` bytes."""
        rank = priority_of(message.topic).rank
        self._queues[rank].append((message, size))
        self._bytes[rank] += size

    def take(self, most: int, most_bytes: int, without: Collection[Priority] = frozenset()) -> list[Outgoing]:
        """Hand out messages, the most urgent and oldest first: one, and more until a bound is reached.

        Args:
            most: messages.
            most_bytes: bytes that they are charged with, passed by one message at most.
            without: priorities to leave where they are.
        """
        taken: list[Outgoing] = []
        kept = {priority.rank for priority in without}
        for rank, queue in enumerate(self._queues):
            if rank in kept:
                continue
            while queue and len(taken) < most and most_bytes > 0:
                message, size = queue.popleft()
                self._bytes[rank] -= size
                most_bytes -= size
                taken.append(message)
        return taken

    def clear(self) -> None:
        """Forget all messages."""
        for queue in self._queues:
            queue.clear()
        self._bytes = [0] * len(self._queues)

    def make_room(self, topic: str, size: int) -> list[tuple[Outgoing, int]]:
        """Give up messages less urgent than one to ``topic``: the least urgent first, of these the newest.

        Args:
            topic: of the message that room is wanted for.
            size: bytes that are wanted.

        Returns:
            What was given up, each with its bytes; nothing where that would not be enough.
        """
        above = priority_of(topic).rank
        if sum(self._bytes[above + 1 :]) < size:
            return []
        given: list[tuple[Outgoing, int]] = []
        for rank in range(len(self._queues) - 1, above, -1):
            queue = self._queues[rank]
            while queue and size > 0:
                message, freed = queue.pop()
                self._bytes[rank] -= freed
                size -= freed
                given.append((message, freed))
        return given
