"""The driver that does nothing at all."""

from __future__ import annotations

from streams.outgoing import Outgoing
from streams.publishing.driver import DirectDriver
from streams.settings import Settings


class NoopDriver(DirectDriver):
    """Counts every message as delivered and forgets it."""

    def __init__(self, *, settings: Settings | None = None) -> None:  # noqa: ARG002 -- every driver takes it
        super().__init__()

    def deliver(self, message: Outgoing) -> None:
        """Do nothing."""
