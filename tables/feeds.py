"""Which feeds of alerts there are, and under which addresses. Pure."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import quote

from streams.notifications.priority import Priority
from streams.notifications.visible import visible
from streams.settings import ConfigurationError, Settings

#: What became of a ping: the hub took it, answered something else, or was not reached in time.
PingResult = Literal["accepted", "refused", "failed"]
PING_RESULTS: Final[tuple[PingResult, ...]] = ("accepted", "refused", "failed")
#: Of a feed's name in its title.
_MOST_SHOWN: Final = 200


@dataclass(slots=True, frozen=True)
class Feed:
    """A feed of alerts.

    Attributes:
        priority: of its alerts; None for all.
        pattern: of their event types, with ``*`` and ``?``; None for all.
    """

    priority: Priority | None = None
    pattern: str | None = None

    @property
    def name(self) -> str:
        """As settings name it: ``alerts``, ``alerts/critical``, ``events/compute.*``."""
        if self.pattern is not None:
            return f"events/{self.pattern}"
        return "alerts" if self.priority is None else f"alerts/{self.priority.value.lower()}"

    @property
    def path(self) -> str:
        """Path of its address."""
        if self.pattern is not None:
            return f"/feeds/events/{quote(self.pattern, safe='*', errors='replace')}.atom"
        return f"/feeds/{self.name}.atom"

    @property
    def title(self) -> str:
        """Its title, for people."""
        if self.pattern is not None:
            return f"Alerts of {visible(self.pattern[:_MOST_SHOWN])}"
        return "Alerts" if self.priority is None else f"{self.priority.value} alerts"

    def uuid(self, app: str) -> uuid.UUID:
        """Its id, the same on every worker of ``app``."""
        name = f"urn:tocsin:{app}:feeds/{self.name}".encode("utf-8", "replace").decode()
        return uuid.uuid5(uuid.NAMESPACE_URL, name)


def feeds_of(settings: Settings) -> list[Feed]:
    """All alerts, those of each forwarded priority, and those of each named pattern."""
    return [
        Feed(),
        *(Feed(priority=each) for each in settings.forward_priorities),
        *(Feed(pattern=each) for each in settings.feed_patterns),
    ]


def pinged_feeds(settings: Settings) -> Sequence[Feed]:
    """The feeds whose new entries the hub is told of; none without a hub.

    Raises:
        ConfigurationError: the settings name a feed that is not there.
    """
    if not settings.feed_hub:
        return []
    feeds = {feed.name: feed for feed in feeds_of(settings)}
    for name in settings.pinged_feeds:
        if name not in feeds:
            raise ConfigurationError(
                f"TOCSIN_FEED_PINGS: there is no feed {visible(name)}; use {', '.join(feeds)}, or name more "
                "patterns in TOCSIN_FEED_EVENTS."
            )
    return [feeds[name] for name in settings.pinged_feeds or feeds]
