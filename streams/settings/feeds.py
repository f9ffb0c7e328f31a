"""Alerts that are kept to be shown, and the feeds of them: settings of workers."""

from __future__ import annotations

from pydantic import Field, field_validator

from streams.settings.publishing import PublishingSettings

#: Each pattern keeps alerts of its own, and each wildcard multiplies the work of a match.
_MOST_PATTERNS = 32
_MOST_WILDCARDS = 8


class FeedSettings(PublishingSettings):
    """Alerts that are kept, feeds, and the hub that is told of new entries."""

    # --- Feeds -----------------------------------------------------------------------------
    feed_entries: int = Field(
        500,
        ge=0,
        le=5000,
        description="Alerts that each worker keeps in memory for each feed; 0 for no feeds.",
    )
    feed_events: str = Field(
        "",
        description="Patterns of event types, separated by commas, as compute.*,volume.*: each has a feed "
        "that keeps its alerts however many others come; others are looked for in what is kept anyway.",
    )

    @field_validator("feed_events")
    @classmethod
    def _check_feed_events(cls, value: str) -> str:
        patterns = list(dict.fromkeys(each.strip() for each in value.split(",") if each.strip()))
        if len(patterns) > _MOST_PATTERNS:
            raise ValueError(f"give at most {_MOST_PATTERNS} patterns")
        for pattern in patterns:
            if pattern.count("*") + pattern.count("?") > _MOST_WILDCARDS:
                raise ValueError(f"{pattern!r} has more than {_MOST_WILDCARDS} wildcards")
        return ",".join(patterns)

    @property
    def feed_patterns(self) -> tuple[str, ...]:
        """The patterns of event types that have feeds of their own."""
        return tuple(filter(None, self.feed_events.split(",")))
