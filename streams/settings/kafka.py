"""How to reach Kafka, and as whom; and what all settings share."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any, Literal, Self, get_args

from pydantic import Field, PrivateAttr, SecretStr, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from streams.notifications.priority import Priority
from streams.settings.addresses import broker_addresses, http_url
from streams.settings.files import hidden_character

#: Kafka's own rule for names of topics, which holds for ids of group members too.
_NAME = re.compile(r"[A-Za-z0-9._-]+")
_LONGEST_NAME = 249
#: With room for the longest priority.
_LONGEST_PREFIX = _LONGEST_NAME - max(map(len, Priority))


class KafkaSettings(BaseSettings):
    """How to reach Kafka, and as whom."""

    model_config = SettingsConfigDict(
        env_prefix="TOCSIN_", frozen=True, extra="forbid", allow_inf_nan=False, validate_default=False
    )

    #: The file that was read, so that it can be read again.
    _config_file: str | None = PrivateAttr(None)

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
        description="Partitions of topics that are yet to be made. How many workers can share the work is "
        "fixed by it at the first start.",
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
    wait_for_brokers_s: float | None = Field(
        None,
        ge=0,
        le=86_400,
        description="Seconds for which a worker, tocsin web, an archiver or a bridge that starts waits for "
        "brokers that are away, before it ends with exit code 75; 600 unless set, or 7 at a terminal.",
    )
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="How to talk to the brokers: PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL."
    )
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER", "AWS_MSK_IAM"] = Field(
        "SCRAM-SHA-512",
        description="SASL mechanism, for the SASL_ protocols: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, "
        "OAUTHBEARER, or AWS_MSK_IAM, which needs the extra tocsin[msk].",
    )
    sasl_username: str | None = Field(None, description="SASL user name, for PLAIN and SCRAM.")
    sasl_password: SecretStr | None = Field(None, description="SASL password (or TOCSIN_SASL_PASSWORD_FILE).")
    sasl_oauth_token_file: Path | None = Field(
        None,
        description="For OAUTHBEARER: file with a token, read again for each connection; "
        "or set TOCSIN_SASL_OAUTH_TOKEN_URL.",
    )
    sasl_oauth_token_url: str | None = Field(
        None,
        description="For OAUTHBEARER: endpoint that gives tokens for client credentials (RFC 6749, 4.4).",
    )
    sasl_oauth_client_id: str | None = Field(None, description="Client id for the token endpoint.")
    sasl_oauth_client_secret: SecretStr | None = Field(
        None, description="Client secret for the token endpoint (or TOCSIN_SASL_OAUTH_CLIENT_SECRET_FILE)."
    )
    sasl_oauth_scope: str | None = Field(
        None, description="Scope to ask the token endpoint for; several are separated by blanks."
    )
    sasl_oauth_ca_file: Path | None = Field(
        None, description="CA certificates that sign the token endpoint's; the system's when unset."
    )
    sasl_aws_region: str | None = Field(
        None,
        pattern=r"^[a-z]{2,}(-[a-z]+)+-[0-9]+$",
        description="For AWS_MSK_IAM: region of the cluster, such as eu-west-1; "
        "credentials are found as by the AWS command line.",
    )
    ssl_ca_file: Path | None = Field(
        None, description="CA certificates that sign the brokers' certificates; the system's when unset."
    )
    ssl_cert_file: Path | None = Field(None, description="Client certificate, for mutual TLS.")
    ssl_key_file: Path | None = Field(None, description="Key of the client certificate.")
    ssl_key_password: SecretStr | None = Field(
        None, description="Password of an encrypted key (or TOCSIN_SSL_KEY_PASSWORD_FILE)."
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """``load_settings`` reads the sources, and knows what came from where; here is no further one."""
        return (init_settings,)

    @field_validator("*", mode="before")
    @classmethod
    def _check_characters(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse what no value has on purpose; pydantic's own messages would show a secret."""
        secret = info.field_name in cls.secret_names()
        text = value.get_secret_value() if isinstance(value, SecretStr) else value
        if secret and not isinstance(text, str | None):
            raise ValueError("a secret is text; write it in quotes")
        if isinstance(text, Path):
            text = str(text)
        if not isinstance(text, str):
            return value
        if secret and not text.strip():
            raise ValueError("a secret that is set must not be empty: give it a value, or unset it")
        if (found := hidden_character(text, marks=secret)) is not None:
            raise ValueError(f"take out the character {found}, which is no visible one")
        return value

    @field_validator("brokers")
    @classmethod
    def _check_brokers(cls, value: str) -> str:
        return broker_addresses(value)

    @field_validator("sasl_oauth_token_url")
    @classmethod
    def _check_token_url(cls, value: str | None) -> str | None:
        return None if value is None else http_url(value)

    @field_validator(
        "instance_id",
        "dead_letter_topic",
        "event_counts_topic",
        "notification_topic_prefix",
        "alert_topic_prefix",
        check_fields=False,  # topics are named further down
    )
    @classmethod
    def _check_kafka_name(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is None:
            return None
        prefix = (info.field_name or "").endswith("_prefix")
        longest = _LONGEST_PREFIX if prefix else _LONGEST_NAME
        if not _NAME.fullmatch(value) or len(value) > longest or (value in (".", "..") and not prefix):
            raise ValueError(f"use letters A to Z, digits, dots, hyphens and underscores, {longest} at most")
        return value

    @model_validator(mode="after")
    def _check_sasl(self) -> Self:
        if not self.security_protocol.startswith("SASL"):
            return self
        given = f"TOCSIN_SECURITY_PROTOCOL={self.security_protocol}"
        if self.sasl_mechanism == "AWS_MSK_IAM":
            if self.security_protocol != "SASL_SSL":
                raise ValueError("TOCSIN_SASL_MECHANISM=AWS_MSK_IAM needs TOCSIN_SECURITY_PROTOCOL=SASL_SSL")
            if self.sasl_aws_region is None:
                raise ValueError(
                    "TOCSIN_SASL_MECHANISM=AWS_MSK_IAM needs TOCSIN_SASL_AWS_REGION, such as eu-west-1"
                )
        elif self.sasl_mechanism == "OAUTHBEARER":
            client = (self.sasl_oauth_client_id, self.sasl_oauth_client_secret)
            if (self.sasl_oauth_token_file is None) == (self.sasl_oauth_token_url is None):
                raise ValueError(
                    "TOCSIN_SASL_MECHANISM=OAUTHBEARER needs either TOCSIN_SASL_OAUTH_TOKEN_FILE "
                    "or TOCSIN_SASL_OAUTH_TOKEN_URL"
                )
            if self.sasl_oauth_token_url is not None and None in client:
                raise ValueError(
                    "TOCSIN_SASL_OAUTH_TOKEN_URL needs TOCSIN_SASL_OAUTH_CLIENT_ID "
                    "and TOCSIN_SASL_OAUTH_CLIENT_SECRET_FILE"
                )
        elif not (self.sasl_username and self.sasl_password):
            raise ValueError(f"{given} needs TOCSIN_SASL_USERNAME and TOCSIN_SASL_PASSWORD_FILE")
        return self

    @property
    def config_file(self) -> str | None:
        """The settings file that was read; None when there was none."""
        return self._config_file

    def remember_file(self, path: str | None) -> None:
        """Note which settings file was read; ``load_settings`` does."""
        self._config_file = path

    @property
    def broker_list(self) -> list[str]:
        """The bootstrap addresses, one an item."""
        return self.brokers.split(",")

    @classmethod
    @cache
    def secret_names(cls) -> tuple[str, ...]:
        """The settings that are secrets, each of which may be given as the path of a file too."""
        return tuple(
            name for name, field in cls.model_fields.items() if SecretStr in get_args(field.annotation)
        )
