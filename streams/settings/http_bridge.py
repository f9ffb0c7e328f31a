"""Where the bridge for HTTP listens, and who may publish through it: settings of ``tocsin bridge http``."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import Field, SecretStr, field_validator, model_validator

from streams.settings.addresses import is_loopback, listening_host
from streams.settings.feeds import FeedSettings


class HttpBridgeSettings(FeedSettings):
    """Where the bridge for HTTP listens, and who may publish through it."""

    # --- The bridge for HTTP ---------------------------------------------------------------
    http_bridge_host: str = Field(
        "127.0.0.1",
        description="Address that tocsin bridge http listens on; * is every address of this machine. "
        "Others than this machine's own need TOCSIN_HTTP_BRIDGE_TOKENS_FILE.",
    )
    http_bridge_port: int = Field(
        6068, ge=0, le=65_535, description="Port of tocsin bridge http; 0 takes a free one."
    )
    http_bridge_tokens_file: Path | None = Field(
        None,
        description="File of the publishers that tocsin bridge http knows, a line each: name, token or "
        "its SHA-256 as sha256:HEX, and prefixes of publisher_id; without it whoever reaches it may publish.",
    )
    http_bridge_tls_cert_file: Path | None = Field(
        None, description="Certificate of tocsin bridge http, with its chain, in PEM; it then speaks HTTPS."
    )
    http_bridge_tls_key_file: Path | None = Field(None, description="Key of that certificate, in PEM.")
    http_bridge_tls_key_password: SecretStr | None = Field(
        None,
        description="Password of that key, if it is encrypted (or TOCSIN_HTTP_BRIDGE_TLS_KEY_PASSWORD_FILE).",
    )
    http_bridge_max_body_bytes: int = Field(
        4 * 2**20,
        ge=1024,
        le=64 * 2**20,
        description="Largest body of a request that tocsin bridge http takes, in bytes.",
    )

    @field_validator("http_bridge_host")
    @classmethod
    def _check_http_bridge_host(cls, value: str) -> str:
        return listening_host(value, port_setting="TOCSIN_HTTP_BRIDGE_PORT")

    @model_validator(mode="after")
    def _check_http_bridge(self) -> Self:
        if (self.http_bridge_tls_cert_file is None) != (self.http_bridge_tls_key_file is None):
            raise ValueError(
                "set TOCSIN_HTTP_BRIDGE_TLS_CERT_FILE and TOCSIN_HTTP_BRIDGE_TLS_KEY_FILE, both or neither"
            )
        if not is_loopback(self.http_bridge_host) and self.http_bridge_tokens_file is None:
            raise ValueError(
                f"TOCSIN_HTTP_BRIDGE_HOST={self.http_bridge_host} can be reached from other machines: "
                "set TOCSIN_HTTP_BRIDGE_TOKENS_FILE"
            )
        return self
