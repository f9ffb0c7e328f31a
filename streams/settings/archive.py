"""Where an archiver tells of itself: settings of ``tocsin archive``."""

from __future__ import annotations

from pydantic import Field, field_validator

from streams.settings.addresses import listening_host
from streams.settings.http_bridge import HttpBridgeSettings


class ArchiveSettings(HttpBridgeSettings):
    """Where an archiver listens."""

    # --- The archiver ----------------------------------------------------------------------
    archive_host: str = Field(
        "127.0.0.1",
        description="Address of the probes and metrics of tocsin archive; "
        "* is every address of this machine.",
    )
    archive_port: int = Field(
        6070,
        ge=0,
        le=65_535,
        description="Port of the probes and metrics of tocsin archive; 0 takes a free one.",
    )

    @field_validator("archive_host")
    @classmethod
    def _check_archive_host(cls, value: str) -> str:
        return listening_host(value, port_setting="TOCSIN_ARCHIVE_PORT")
