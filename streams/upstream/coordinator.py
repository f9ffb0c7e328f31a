"""What the app and its consumer ask of Tocsin, as Faust goes from one assignment to the next."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from faust.types import TP


class Coordinator(Protocol):
    """What the app's transport asks of Tocsin."""

    def fetches(self, topic: str) -> bool:
        """Whether a lane fetches ``topic``, so that the group's consumer must not."""

    def manages(self, topic: str) -> bool:
        """Whether offsets of ``topic`` are committed from what is durable."""

    def committable(self) -> Mapping[TP, int]:
        """Offsets that may be committed now: the next ones to read."""

    def commit_note(self, tp: TP, offset: int) -> str:
        """What is to be committed with this committable offset, by ``streams.upstream.topic_ids``."""

    async def drain(self) -> None:
        """Finish what is in flight and make it durable, within the deadline."""

    async def on_revoked(self) -> None:
        """The assignment is gone; forget all state of it."""

    async def on_ready(
        self, assigned: set[TP], committed: Mapping[TP, int | None], topic_ids: Mapping[str, str]
    ) -> None:
        """Recovery is done: work may begin on the assigned partitions of notification topics.

        Args:
            assigned: partitions of managed topics.
            committed: offsets that the group has committed of the topics with these ids.
            topic_ids: id by name; a topic that is not there, or may not be seen, has none.
        """
