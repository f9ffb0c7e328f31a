"""Every setting of Tocsin, typed, with its bounds."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import NoDecode

from streams.notifications.masking import plain_word
from streams.notifications.priority import DEFAULT_PRIORITIES, Priority
from streams.settings.addresses import is_loopback, listening_host, networks, path_prefix
from streams.settings.archive import ArchiveSettings
from streams.settings.profiles import (
    PROFILE_MODES,
    PROFILES,
    ModeName,
    ProfileName,
    numbers_by_priority,
    priorities,
)
from streams.settings.wording import quoted

#: The name of a host, in lower case; underscores are met in practice.
_HOST_NAME = re.compile(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?\.?")
#: Characters of the token that may change a worker; short ones can be guessed.
_LEAST_TOKEN_LENGTH = 16
_HEADER_NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]{1,100}")
_LEAST_FORGET_S = 3 * 86_400
_MASKED = "********"


class Settings(ArchiveSettings):
    """All settings; immutable once read."""

    # --- Topics ----------------------------------------------------------------------------
    notification_topic_prefix: str = Field(
        "notifications.", description="Notification topics are this plus the priority in lower case."
    )
    alert_topic_prefix: str = Field(
        "alerts.", description="Alert topics are this plus the severity in lower case."
    )
    dead_letter_topic: str = Field(
        "dead-letters", description="Topic of records that cannot be read, with the reason."
    )
    event_counts_topic: str = Field("event-counts", description="Public compacted topic of combined counts.")

    # --- Scheduling ------------------------------------------------------------------------
    priorities: Annotated[tuple[Priority, ...], NoDecode] = Field(
        DEFAULT_PRIORITIES, description="Priorities to consume, separated by commas."
    )
    profile: ProfileName = Field(
        "default",
        description="Named weights and mode: default, strict-with-floor, strict or yagi-2011.",
    )
    mode: ModeName | None = Field(
        None,
        description="Order of service, unless the profile's: weighted, strict-with-floor or strict.",
    )
    weights: Annotated[dict[Priority, float], NoDecode] = Field(
        default_factory=dict, description="Weights that differ from the profile's, as critical=16,error=8."
    )
    age_limits: Annotated[dict[Priority, float], NoDecode] = Field(
        default_factory=dict,
        description="Seconds that a fetched record may wait before it is served next, as debug=300,info=60; "
        "none by default.",
    )
    age_guard_share: float = Field(
        0.1, gt=0, lt=1, description="Share of the service time that may go to records past their age limits."
    )
    batch_ms: float = Field(
        2.0,
        gt=0,
        le=1000,
        description="Milliseconds of service a batch is cut to; CRITICAL waits for about one batch at most, "
        "or TOCSIN_MAX_IN_FLIGHT of them, and for a part of it where alerts are made.",
    )
    max_in_flight: int = Field(
        1,
        ge=1,
        le=16,
        description="Batches handed to agents and not finished, but for those that wait for confirmations.",
    )
    buffer_bytes: int = Field(
        8 * 2**20, ge=2**16, le=2**40, description="Bound of buffered bytes per priority."
    )
    fetch_bytes: int = Field(
        256 * 2**10, ge=2**12, le=2**30, description="Bytes asked for per partition and fetch."
    )

    # --- Notifications ---------------------------------------------------------------------
    max_notification_bytes: int = Field(
        2**20, ge=1024, le=2**29, description="Larger notifications go to dead letters."
    )
    isolation_level: Literal["read_committed", "read_uncommitted"] = Field(
        "read_committed",
        description="read_committed: notifications of a transaction are read once it is committed, and never "
        "when it is aborted. read_uncommitted: at once, whatever becomes of it.",
    )
    max_depth: int = Field(100, ge=4, le=250, description="Deeper nested notifications go to dead letters.")
    max_event_type_length: int = Field(
        255, ge=16, le=4096, description="Longer event types go to dead letters."
    )

    # --- Counting --------------------------------------------------------------------------
    flush_interval_s: float = Field(
        1.0,
        ge=0.05,
        le=30,
        description="Seconds between writes of changed counts; less, from 0.2, when a burst is over, "
        "and more, up to 10, where they take over 5 % of the time.",
    )
    lateness_s: int = Field(
        3600,
        ge=0,
        le=86_400,
        description="How far before the broker's time a notification's own time is believed.",
    )
    max_event_types: int = Field(
        10_000,
        ge=1,
        le=10**9,
        description="Distinct event types that each bucket, and the totals, of a partition name; the rest "
        "counts as one overflow type.",
    )
    forget_event_types_s: int = Field(
        8 * 86_400,
        ge=0,
        le=10 * 365 * 86_400,
        description="Where nearly all places for event types are taken, those not seen for so many seconds "
        "give theirs back, and their totals go to the overflow type; 0 for never, else at least 3 days.",
    )
    forward_priorities: Annotated[tuple[Priority, ...], NoDecode] = Field(
        (Priority.CRITICAL, Priority.ERROR),
        description="Priorities whose notifications are forwarded to alert topics at once; "
        "none for no forwarding.",
    )

    # --- The worker ------------------------------------------------------------------------
    data_dir: Path = Field(
        Path(".tocsin/worker"),
        description="Folder of the local state; it can be thrown away, it is rebuilt from Kafka.",
    )
    web_host: str = Field(
        "127.0.0.1",
        description="Address the web views listen on; * is every address of this machine, IPv4 and IPv6.",
    )
    web_port: int = Field(6066, ge=0, le=65_535, description="Port of the web views; 0 takes a free one.")
    web_token: SecretStr | None = Field(
        None,
        description="Token that the web views ask for (or TOCSIN_WEB_TOKEN_FILE), people on a page to sign "
        "in on; probes need none.",
    )
    web_open: bool = Field(
        False,
        description="Allow an address other than loopback without a token, where the network is guarded.",
    )
    web_hosts: str = Field(
        "",
        description="Further names under which the web views may be asked for, separated by commas, such as "
        "that of a proxy before them; on loopback any others but localhost are refused.",
    )
    web_prefix: str = Field(
        "",
        description="Path under which a reverse proxy has put the web views and that it leaves in, "
        "such as /tocsin.",
    )
    web_trusted_proxies: str = Field(
        "",
        description="Addresses or networks, separated by commas, of reverse proxies whose "
        "X-Forwarded-Prefix is believed, the path that they have taken out, and X-Forwarded-Proto, "
        "X-Forwarded-For and X-Forwarded-Host.",
    )
    web_user_header: str = Field(
        "",
        description="Header in which a trusted proxy names the user that it has signed in, such as "
        "X-Forwarded-User; who is named may read.",
    )
    web_admin_users: str = Field(
        "",
        description="Users, separated by commas, who may also change something where a trusted proxy names "
        "them; see TOCSIN_WEB_USER_HEADER.",
    )
    web_live_clients: int = Field(
        256,
        ge=0,
        le=10_000,
        description="Readers of the live stream and open pages at a time, in one process; more are "
        "refused with 503.",
    )
    web_payloads: bool = Field(
        False,
        description="Show notifications as published on the pages of alerts and in the API, and the "
        "beginnings of dead letters, with secrets masked; whoever may read the web views then reads them.",
    )
    web_mask_keys: str = Field(
        "",
        description="Words, separated by commas, that name a secret when they are part of a key, besides the "
        "built-in ones and TOCSIN_MASK_KEYS; such values are masked on the pages of alerts and in the API.",
    )
    metrics_token: SecretStr | None = Field(
        None,
        description="Token for /metrics alone (or TOCSIN_METRICS_TOKEN_FILE); a scraper then need not have "
        "that of the page, which is taken too.",
    )
    metrics_open: bool = Field(False, description="Let /metrics be read without a token.")
    mask_keys: str = Field(
        "",
        description="Words, separated by commas, that name a secret when they are part of a key, besides the "
        "built-in ones; such values are masked in alerts.",
    )
    admin_token: SecretStr | None = Field(
        None,
        description="Token for what changes something: weights while a worker runs, and replay of dead "
        "letters on the web views (or TOCSIN_ADMIN_TOKEN_FILE); without one that is refused.",
    )
    drain_deadline_s: float = Field(
        20.0,
        ge=1,
        le=86_400,
        description="Seconds a stopping worker waits for work in flight before it leaves.",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="Least level that is logged: DEBUG, INFO, WARNING or ERROR."
    )
    log_format: Literal["text", "json"] = Field(
        "text", description="Form of log lines on standard error: text or json."
    )

    @field_validator("priorities", mode="before")
    @classmethod
    def _split_priorities(cls, value: Any) -> Any:
        return priorities(value)

    @field_validator("forward_priorities", mode="before")
    @classmethod
    def _split_forward_priorities(cls, value: Any) -> Any:
        # Empty is unset, so that none of them needs a word.
        return () if isinstance(value, str) and value.strip().lower() == "none" else priorities(value)

    @field_validator("weights", mode="before")
    @classmethod
    def _split_weights(cls, value: Any) -> Any:
        return numbers_by_priority(value, "weight", "critical=16,error=8,warn=4,info=2,debug=1")

    @field_validator("age_limits", mode="before")
    @classmethod
    def _split_age_limits(cls, value: Any) -> Any:
        return numbers_by_priority(value, "age limit", "debug=300,info=60")

    @field_validator("forget_event_types_s")
    @classmethod
    def _check_forget(cls, value: int) -> int:
        # Longer than rows of 10 s are kept, whatever the lateness.
        if 0 < value < _LEAST_FORGET_S:
            raise ValueError(f"give 0 for never, or at least {_LEAST_FORGET_S} seconds")
        return value

    @field_validator("admin_token")
    @classmethod
    def _check_admin_token(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value()) < _LEAST_TOKEN_LENGTH:
            raise ValueError(f"give a token of {_LEAST_TOKEN_LENGTH} characters or more")
        return value

    @field_validator("web_hosts")
    @classmethod
    def _check_web_hosts(cls, value: str) -> str:
        names = [name.strip().lower() for name in value.split(",") if name.strip()]
        for name in names:
            if not _HOST_NAME.fullmatch(name):
                raise ValueError(
                    f"{quoted(name)} is not the name of a host; give names alone, without scheme or port"
                )
        return ",".join(names)

    @field_validator("web_user_header")
    @classmethod
    def _check_web_user_header(cls, value: str) -> str:
        if value and not _HEADER_NAME.fullmatch(value):
            raise ValueError("this is not the name of a header; write it as X-Forwarded-User")
        return value

    @field_validator("mask_keys", "web_mask_keys")
    @classmethod
    def _check_mask_keys(cls, value: str) -> str:
        for word in filter(None, map(str.strip, value.split(","))):
            if not plain_word(word):
                raise ValueError(f"{quoted(word)} has no letter or digit, so that it is part of every key")
        return value

    @field_validator("web_host")
    @classmethod
    def _check_web_host(cls, value: str) -> str:
        return listening_host(value)

    @field_validator("web_prefix")
    @classmethod
    def _check_web_prefix(cls, value: str) -> str:
        return path_prefix(value)

    @field_validator("web_trusted_proxies")
    @classmethod
    def _check_web_trusted_proxies(cls, value: str) -> str:
        return ",".join(map(str, networks(value)))

    @model_validator(mode="after")
    def _check_together(self) -> Settings:
        if not self.priorities:
            raise ValueError("TOCSIN_PRIORITIES names no priority; leave it unset for all five")
        if self.metrics_open and self.metrics_token is not None:
            raise ValueError("set TOCSIN_METRICS_OPEN, or a token for the metrics, but not both")
        self._check_tokens()
        if self.web_user_header and not self.web_trusted_proxies:
            raise ValueError(
                "TOCSIN_WEB_USER_HEADER is believed of trusted proxies alone, and there is none: set "
                "TOCSIN_WEB_TRUSTED_PROXIES"
            )
        if self.web_admin_users and not self.web_user_header:
            raise ValueError(
                "TOCSIN_WEB_ADMIN_USERS needs a proxy that names the users: set TOCSIN_WEB_USER_HEADER"
            )
        if not self.web_is_loopback and self.web_token is None and not self.web_open:
            raise ValueError(
                f"TOCSIN_WEB_HOST={self.web_host} can be reached from other machines: set "
                "TOCSIN_WEB_TOKEN_FILE, or TOCSIN_WEB_OPEN=true when the network is guarded otherwise"
            )
        return self

    def _check_tokens(self) -> None:
        """Refuse a token that gives two rights: whoever had it to read, or to scrape, could change."""
        if self.admin_token is None:
            return
        changes = self.admin_token.get_secret_value().strip()
        for name, token in (("web", self.web_token), ("metrics", self.metrics_token)):
            if token is not None and token.get_secret_value().strip() == changes:
                raise ValueError(
                    f"TOCSIN_ADMIN_TOKEN and TOCSIN_{name.upper()}_TOKEN have the same value, so that "
                    "whoever may read may change too: give each a value of its own"
                )

    @property
    def web_is_loopback(self) -> bool:
        """Whether the web views can be reached from this machine only."""
        return is_loopback(self.web_host)

    @property
    def web_host_names(self) -> tuple[str, ...]:
        """Further names under which the web views may be asked for, in lower case."""
        return tuple(filter(None, self.web_hosts.split(",")))

    @property
    def web_admin_names(self) -> frozenset[str]:
        """Users who may change something where a trusted proxy names them."""
        return frozenset(filter(None, map(str.strip, self.web_admin_users.split(","))))

    @property
    def masked_keys(self) -> tuple[str, ...]:
        """Words that name a secret, besides the built-in ones."""
        return _words(self.mask_keys)

    @property
    def web_masked_keys(self) -> tuple[str, ...]:
        """Words that name a secret in the web views, besides the built-in ones."""
        return (*self.masked_keys, *_words(self.web_mask_keys))

    @property
    def effective_weights(self) -> dict[Priority, float]:
        """Weight of every consumed priority: the profile's, overridden by ``weights``."""
        base = PROFILES[self.profile] | self.weights
        return {priority: base[priority] for priority in self.priorities}

    @property
    def effective_mode(self) -> ModeName:
        """The order of service: ``mode``, or else the profile's."""
        return self.mode or PROFILE_MODES.get(self.profile, "weighted")

    @property
    def pool_group_prefix(self) -> str:
        """What the names of the consumer groups of all pools but the main one begin with."""
        return f"{self.app_id}-pool-"

    @property
    def group_id(self) -> str:
        """Consumer group of this worker: the app's, or its pool's."""
        return self.pool_group_prefix + self.pool if self.pool else self.app_id

    @property
    def combines(self) -> bool:
        """Whether this worker's pool combines the counts of all pools; the main one does."""
        return not self.pool

    def notification_topic(self, priority: Priority) -> str:
        """Topic that notifications of ``priority`` lie in."""
        return self.notification_topic_prefix + priority.value.lower()

    def alert_topic(self, severity: str) -> str:
        """Topic that alerts of ``severity`` go to."""
        return self.alert_topic_prefix + severity.lower()

    @property
    def status_topic(self) -> str:
        """Topic in which each worker says how it is."""
        return self.internal_topic("status")

    def internal_topic(self, name: str) -> str:
        """Topic that belongs to this app alone."""
        return f"{self.app_id}-{name}"

    def shown(self) -> dict[str, Any]:
        """The settings as plain values, secrets masked, and all that drivers get, since it may hold some."""
        values = {
            name: (_MASKED if value else None) if name in self.secret_names() else value
            for name, value in self.model_dump(mode="json").items()
        }
        values["driver_options"] = {
            driver: dict.fromkeys(options, _MASKED) for driver, options in self.driver_options.items()
        }
        return values


def _words(text: str) -> tuple[str, ...]:
    """Words that are separated by commas."""
    return tuple(word.strip() for word in text.split(",") if word.strip())
