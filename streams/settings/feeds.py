"""Alerts that are kept to be shown, and the feeds of them: settings of workers."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from streams.settings.publishing import PublishingSettings
from streams.settings.wording import quoted

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
        description="Alerts that each worker keeps in memory for each feed, and for the page of alerts; "
        "0 for neither.",
    )
    feed_events: str = Field(
        "",
        description="Patterns of event types, separated by commas, as compute.*,volume.*: each has a feed "
        "that keeps its alerts however many others come; others are looked for in what is kept anyway.",
    )

    feed_open: bool = Field(
        False, description="Let feeds be read without the token of the web views: a hub cannot send it."
    )
    feed_url: str = Field(
        "",
        description="Where feeds are reached from outside, without their path, as https://host.example.org; "
        "unset, links have the address that was asked for.",
    )
    feed_hub: str = Field(
        "",
        description="URL of a WebSub hub: feeds name it, and it is told of new entries; needs "
        "TOCSIN_FEED_URL.",
    )
    feed_pings: str = Field(
        "",
        description="Feeds whose new entries the hub is told of, separated by commas, as alerts/critical, "
        "events/compute.*; all of them unless set.",
    )

    @field_validator("feed_events")
    @classmethod
    def _check_feed_events(cls, value: str) -> str:
        patterns = list(dict.fromkeys(each.strip() for each in value.split(",") if each.strip()))
        if len(patterns) > _MOST_PATTERNS:
            raise ValueError(f"give at most {_MOST_PATTERNS} patterns")
        for pattern in patterns:
            if pattern.count("*") + pattern.count("?") > _MOST_WILDCARDS:
                raise ValueError(f"{quoted(pattern)} has more than {_MOST_WILDCARDS} wildcards")
        return ",".join(patterns)

    @field_validator("feed_url", "feed_hub")
    @classmethod
    def _check_url(cls, value: str, info: Any) -> str:
        if not value:
            return value
        try:
            parts = urlsplit(value)
            wrong = parts.scheme not in {"http", "https"} or not parts.hostname or parts.port == 0
        except ValueError:
            wrong = True
        if wrong or not value.isascii() or any(each in value for each in '<>"\\^`{|} '):
            if info.field_name == "feed_hub" and not info.data.get("feed_url"):
                raise ValueError(
                    "give a URL such as https://hub.example.org/, and TOCSIN_FEED_URL beside it, where the "
                    "hub reaches the feeds"
                )
            raise ValueError("give a URL such as https://example.org")
        if parts.username is not None or parts.password is not None or parts.fragment:
            raise ValueError(
                "give a URL without user, password and fragment, since feeds show it to everybody"
            )
        if info.field_name == "feed_url" and parts.query:
            raise ValueError("give a URL without a query")
        return value.rstrip("/") if info.field_name == "feed_url" else value

    @field_validator("feed_pings")
    @classmethod
    def _check_feed_pings(cls, value: str) -> str:
        return ",".join(dict.fromkeys(each.strip() for each in value.split(",") if each.strip()))

    @model_validator(mode="after")
    def _check_hub(self) -> FeedSettings:
        if self.feed_hub and not self.feed_url:
            raise ValueError(
                "TOCSIN_FEED_HUB needs TOCSIN_FEED_URL, which says where the hub reaches the feeds, "
                "as in http://worker.example.org:6066"
            )
        if self.feed_hub and not self.feed_entries:
            raise ValueError("TOCSIN_FEED_HUB needs feeds: give TOCSIN_FEED_ENTRIES more than 0")
        return self

    @property
    def pinged_feeds(self) -> tuple[str, ...]:
        """Names of the feeds whose new entries the hub is told of; empty for all of them."""
        return tuple(filter(None, self.feed_pings.split(",")))

    @property
    def feed_patterns(self) -> tuple[str, ...]:
        """The patterns of event types that have feeds of their own."""
        return tuple(filter(None, self.feed_events.split(",")))
