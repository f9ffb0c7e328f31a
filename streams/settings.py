"""Every setting of Tocsin, typed.

A value comes from the environment (``TOCSIN_<NAME>``), else from a TOML file named by
``TOCSIN_CONFIG_FILE``, else from the default here. A secret may also be given by the path
of a file that holds it: ``TOCSIN_<NAME>_FILE``.
"""

from __future__ import annotations

import ipaddress
import json
import os
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from streams.notifications.priority import DEFAULT_PRIORITIES, Priority

#: Exit code for a wrong configuration (EX_CONFIG of sysexits.h).
EXIT_CONFIG = 78

#: In which order classes are served; see ``streams.scheduling.modes``.
ModeName = Literal["weighted", "strict-with-floor", "strict"]
#: Named weights, with a mode.
ProfileName = Literal["default", "strict-with-floor", "strict", "yagi-2011"]

#: Weights by profile. ``yagi-2011`` has the numbers of the proposer's own worker.
PROFILES: dict[str, dict[Priority, float]] = {
    "default": {
        Priority.CRITICAL: 16,
        Priority.ERROR: 8,
        Priority.WARN: 4,
        Priority.INFO: 2,
        Priority.DEBUG: 1,
        Priority.AUDIT: 2,
        Priority.SAMPLE: 1,
    },
    "yagi-2011": {
        Priority.CRITICAL: 65536,
        Priority.ERROR: 100,
        Priority.INFO: 50,
        Priority.WARN: 25,
        Priority.DEBUG: 10,
        Priority.AUDIT: 50,
        Priority.SAMPLE: 10,
    },
}
PROFILES["strict-with-floor"] = PROFILES["strict"] = PROFILES["default"]
#: Modes by profile; the others are weighted.
_PROFILE_MODES: dict[str, ModeName] = {"strict-with-floor": "strict-with-floor", "strict": "strict"}

#: The name of a host, in lower case; underscores are met in practice.
_HOST_NAME = re.compile(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?\.?")
SECRETS = ("sasl_password", "web_token", "metrics_token", "admin_token")

#: Characters of the token that may change a worker; short ones can be guessed.
_LEAST_TOKEN_LENGTH = 16


class ConfigurationError(Exception):
    """The configuration is wrong; the message is one sentence that says what to change."""


class Settings(BaseSettings):
    """All settings; immutable once read."""

    model_config = SettingsConfigDict(env_prefix="TOCSIN_", frozen=True, extra="forbid")

    # --- Kafka -----------------------------------------------------------------------------
    brokers: str = Field(
        "localhost:9092", description="Kafka bootstrap addresses, host:port separated by commas."
    )
    app_id: str = Field(
        "tocsin",
        pattern=r"^[A-Za-z0-9._-]{1,100}$",
        description="Consumer group and prefix of internal topics; workers with one id share the work.",
    )
    pool: str = Field(
        "",
        pattern=r"^([a-z0-9][a-z0-9-]{0,40})?$",
        description="Name of a pool of workers with priorities of its own; "
        "without one a worker is of the main pool, which combines the counts.",
    )
    partitions: int = Field(
        8,
        ge=1,
        le=10_000,
        description="Partitions of each notification topic, and the limit of parallel workers.",
    )
    replication_factor: int = Field(1, ge=1, le=15, description="Replicas of topics that Tocsin creates.")
    create_topics: bool = Field(
        True, description="Create missing topics at start; otherwise a missing topic is an error."
    )
    instance_id: str | None = Field(
        None, description="Static group member id, such as the pod's name; restarts then cause no rebalance."
    )
    session_timeout_s: float = Field(
        10.0,
        ge=1,
        le=300,
        description="Seconds without a heartbeat after which the group gives a worker's partitions away.",
    )
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="How to talk to the brokers."
    )
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        "SCRAM-SHA-512", description="SASL mechanism, for the SASL_ protocols."
    )
    sasl_username: str | None = Field(None, description="SASL user name.")
    sasl_password: SecretStr | None = Field(None, description="SASL password (or TOCSIN_SASL_PASSWORD_FILE).")
    ssl_ca_file: Path | None = Field(
        None, description="CA certificates that sign the brokers' certificates; the system's when unset."
    )
    ssl_cert_file: Path | None = Field(None, description="Client certificate, for mutual TLS.")
    ssl_key_file: Path | None = Field(None, description="Key of the client certificate.")

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
        description="Milliseconds of service a batch is cut to; CRITICAL waits for about one batch at most.",
    )
    max_in_flight: int = Field(1, ge=1, le=16, description="Batches handed to agents and not finished.")
    buffer_bytes: int = Field(8 * 2**20, ge=2**16, description="Bound of buffered bytes per priority.")
    fetch_bytes: int = Field(256 * 2**10, ge=2**12, description="Bytes asked for per partition and fetch.")

    # --- Notifications ---------------------------------------------------------------------
    max_notification_bytes: int = Field(
        2**20, ge=1024, description="Larger notifications go to dead letters."
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
        description="Seconds between writes of changed counts; "
        "more, up to 10, where they take over 5 % of the time.",
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
        description="Distinct event types per bucket and partition; the rest counts as one overflow type.",
    )
    forward_priorities: Annotated[tuple[Priority, ...], NoDecode] = Field(
        (Priority.CRITICAL, Priority.ERROR),
        description="Priorities whose notifications are forwarded to alert topics at once.",
    )

    # --- The worker ------------------------------------------------------------------------
    data_dir: Path = Field(
        Path(".tocsin/worker"),
        description="Folder of the local state; it can be thrown away, it is rebuilt from Kafka.",
    )
    web_host: str = Field("127.0.0.1", description="Address the web views listen on.")
    web_port: int = Field(6066, ge=0, le=65_535, description="Port of the web views; 0 takes a free one.")
    web_token: SecretStr | None = Field(
        None,
        description="Bearer token that the web views ask for (or TOCSIN_WEB_TOKEN_FILE); probes need none.",
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
        description="Bearer token for changing weights while a worker runs (or TOCSIN_ADMIN_TOKEN_FILE); "
        "without one that is refused.",
    )
    drain_deadline_s: float = Field(
        20.0, ge=1, description="Seconds a stopping worker waits for work in flight before it leaves."
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="Least level that is logged."
    )
    log_format: Literal["text", "json"] = Field("text", description="Form of log lines on standard error.")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Order the sources: arguments, environment, TOML file."""
        sources: list[PydanticBaseSettingsSource] = [init_settings, env_settings]
        if path := os.environ.get("TOCSIN_CONFIG_FILE"):
            sources.append(TomlConfigSettingsSource(settings_cls, toml_file=path))
        return tuple(sources)

    @field_validator("priorities", "forward_priorities", mode="before")
    @classmethod
    def _split_priorities(cls, value: Any) -> Any:
        names = value.split(",") if isinstance(value, str) else value
        found = []
        for name in names:
            if not str(name).strip():
                continue
            priority = Priority.parse(str(name))
            if priority is None:
                raise ValueError(
                    f"{str(name)!r} is not a priority; use some of {', '.join(Priority).lower()}"
                )
            found.append(priority)
        return tuple(dict.fromkeys(found))

    @field_validator("weights", mode="before")
    @classmethod
    def _split_weights(cls, value: Any) -> Any:
        return _by_priority(value, "weight", "critical=16,error=8,warn=4,info=2,debug=1")

    @field_validator("age_limits", mode="before")
    @classmethod
    def _split_age_limits(cls, value: Any) -> Any:
        return _by_priority(value, "age limit", "debug=300,info=60")

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
                    f"{name!r} is not the name of a host; give names alone, without scheme or port"
                )
        return ",".join(names)

    @field_validator("brokers")
    @classmethod
    def _check_brokers(cls, value: str) -> str:
        for address in value.split(","):
            host, sep, port = address.strip().rpartition(":")
            if "@" in address or "/" in address:
                raise ValueError(
                    "give host:port without user, password or scheme; "
                    "use TOCSIN_SASL_USERNAME and TOCSIN_SASL_PASSWORD_FILE"
                )
            if not sep or not host or not port.isdigit():
                raise ValueError(f"{address.strip()!r} is not host:port")
        return ",".join(address.strip() for address in value.split(","))

    @model_validator(mode="after")
    def _check_together(self) -> Settings:
        if not self.priorities:
            raise ValueError("TOCSIN_PRIORITIES names no priority; leave it unset for all five")
        if self.security_protocol.startswith("SASL") and not (self.sasl_username and self.sasl_password):
            raise ValueError(
                f"security_protocol={self.security_protocol} needs "
                "TOCSIN_SASL_USERNAME and TOCSIN_SASL_PASSWORD_FILE"
            )
        if self.metrics_open and self.metrics_token is not None:
            raise ValueError("set TOCSIN_METRICS_OPEN, or a token for the metrics, but not both")
        if not self.web_is_loopback and self.web_token is None and not self.web_open:
            raise ValueError(
                f"web_host={self.web_host} can be reached from other machines: set TOCSIN_WEB_TOKEN_FILE, "
                "or TOCSIN_WEB_OPEN=true when the network is guarded otherwise"
            )
        return self

    @property
    def web_is_loopback(self) -> bool:
        """Whether the web views can be reached from this machine only."""
        if self.web_host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.web_host).is_loopback
        except ValueError:
            return False

    @property
    def web_host_names(self) -> tuple[str, ...]:
        """Further names under which the web views may be asked for, in lower case."""
        return tuple(filter(None, self.web_hosts.split(",")))

    @property
    def masked_keys(self) -> tuple[str, ...]:
        """Words that name a secret, besides the built-in ones."""
        return tuple(word.strip() for word in self.mask_keys.split(",") if word.strip())

    @property
    def broker_list(self) -> list[str]:
        """The bootstrap addresses, one an item."""
        return self.brokers.split(",")

    @property
    def effective_weights(self) -> dict[Priority, float]:
        """Weight of every consumed priority: the profile's, overridden by ``weights``."""
        base = PROFILES[self.profile] | self.weights
        return {priority: base[priority] for priority in self.priorities}

    @property
    def effective_mode(self) -> ModeName:
        """The order of service: ``mode``, or else the profile's."""
        return self.mode or _PROFILE_MODES.get(self.profile, "weighted")

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

    def internal_topic(self, name: str) -> str:
        """Topic that belongs to this app alone."""
        return f"{self.app_id}-{name}"

    def shown(self) -> dict[str, Any]:
        """The settings as plain values, secrets masked."""
        return {
            name: ("********" if value else None) if name in SECRETS else value
            for name, value in self.model_dump(mode="json").items()
        }


def _by_priority(value: Any, what: str, example: str) -> Any:
    """Read numbers by priority, from text such as ``critical=16,error=8`` or from a mapping."""
    if isinstance(value, str):
        pairs = [pair.partition("=") for pair in value.split(",") if pair.strip()]
        if any(not sep for _, sep, _ in pairs):
            raise ValueError(f"write {what}s as {example}")
        value = {name: number for name, _, number in pairs}
    if not isinstance(value, dict):
        raise ValueError(f"write {what}s as {example}")  # noqa: TRY004 - pydantic wants this one
    numbers = {}
    for name, given in value.items():
        priority = Priority.parse(str(name))
        if priority is None:
            raise ValueError(f"{str(name)!r} is not a priority; use some of {', '.join(Priority).lower()}")
        try:
            number = -1.0 if isinstance(given, bool) else float(given)
        except (TypeError, ValueError):
            number = -1.0
        if not 0 < number < 1e9:
            raise ValueError(f"the {what} of {priority} must be a number above 0")
        numbers[priority] = number
    return numbers


def load_settings(**overrides: Any) -> Settings:
    """Read the settings.

    Args:
        overrides: values that win over environment and file, such as command-line options;
            None means not given.

    Raises:
        ConfigurationError: with one sentence that says what to change.
    """
    values = {name: value for name, value in overrides.items() if value is not None}
    for name in SECRETS:
        path = os.environ.get(f"TOCSIN_{name.upper()}_FILE")
        if path and name not in values:
            try:
                values[name] = Path(path).read_text(encoding="utf-8").strip()
            except OSError as error:
                raise ConfigurationError(
                    f"TOCSIN_{name.upper()}_FILE: cannot read {path} ({error.strerror})."
                ) from None
    config_file = os.environ.get("TOCSIN_CONFIG_FILE")
    if config_file and not Path(config_file).is_file():
        raise ConfigurationError(f"TOCSIN_CONFIG_FILE: there is no file {config_file}.")
    try:
        return Settings(**values)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{config_file} is not valid TOML: {error}.") from None
    except ValidationError as error:
        raise ConfigurationError(_sentence(error)) from None


def _sentence(error: ValidationError) -> str:
    parts = []
    for item in error.errors():
        where = "_".join(str(part) for part in item["loc"])
        message = item["msg"].removeprefix("Value error, ")
        if item["type"] == "extra_forbidden":
            message = "there is no such setting"
        given = item.get("input")
        # A value may hold a secret that was put where it does not belong.
        hide = where in (*SECRETS, "brokers") or not isinstance(given, str | int | float)
        shown = "" if hide else f" (given: {json.dumps(given)})"
        parts.append(f"TOCSIN_{where.upper()}: {message}{shown}" if where else message)
    return "; ".join(parts) + "."
