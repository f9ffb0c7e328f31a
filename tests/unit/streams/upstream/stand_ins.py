"""What stands for Tocsin in the tests of the app and its consumer."""

from __future__ import annotations

from collections.abc import Mapping

from faust.types import TP

MANAGED = TP("notifications.debug", 3)
OTHER = TP("elsewhere", 0)


class FakeCoordinator:
    """A coordinator that manages the notification topics and records what it is asked."""

    def __init__(self) -> None:
        self.offsets: dict[TP, int] = {}
        self.calls: list[str] = []

    def fetches(self, topic: str) -> bool:
        return topic.startswith("notifications.")

    manages = fetches

    def committable(self) -> dict[TP, int]:
        return self.offsets

    async def drain(self) -> None:
        self.calls.append("drain")

    async def on_revoked(self) -> None:
        self.calls.append("on_revoked")

    def commit_note(self, tp: TP, offset: int) -> str:
        return f"{offset} of {tp.topic}"

    async def on_ready(
        self, assigned: set[TP], committed: Mapping[TP, int | None], topic_ids: Mapping[str, str]
    ) -> None:
        self.calls.append(f"on_ready {sorted(assigned)} {dict(committed)} {dict(topic_ids)}")
