"""Where a service publishes to: settings of the publishing drivers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import NoDecode

from streams.settings.addresses import listening_host
from streams.settings.kafka import KafkaSettings

#: Group, then driver, then accepted_events or accepted_priorities, each a list of patterns.
Routes = dict[str, dict[str, dict[str, tuple[str, ...]]]]
#: Driver, then option.
DriverOptions = dict[str, dict[str, Any]]


class PublishingSettings(KafkaSettings):
    """Where a service publishes to."""

    # --- Publishing ------------------------------------------------------------------------
    rabbit_url: SecretStr | None = Field(
        None,
        description="Where the driver and the bridge rabbit find RabbitMQ (or TOCSIN_RABBIT_URL_FILE): "
        "amqp://user:password@host:5672/vhost, amqps://, or the transport_url of nova.conf.",
    )
    rabbit_bridge_host: str = Field(
        "127.0.0.1",
        description="Address of the probes and metrics of tocsin bridge rabbit; "
        "* is every address of this machine.",
    )
    rabbit_bridge_port: int = Field(
        6069,
        ge=0,
        le=65_535,
        description="Port of the probes and metrics of tocsin bridge rabbit; 0 takes a free one.",
    )
    routing_file: Path | None = Field(
        None,
        description="Routing file of oslo.messaging (YAML) for the publishing driver routing, "
        "which needs the extra tocsin[routing] for it.",
    )
    routes: Annotated[Routes, NoDecode] = Field(
        default_factory=dict,
        description="The same in the settings file: tables [routes.GROUP.DRIVER] with accepted_events and "
        "accepted_priorities; in the environment, as JSON.",
    )
    driver_options: Annotated[DriverOptions, NoDecode] = Field(
        default_factory=dict,
        description="Options of the drivers that the driver routing makes: tables [driver_options.DRIVER]; "
        "in the environment, as JSON.",
    )

    @field_validator("rabbit_bridge_host")
    @classmethod
    def _check_rabbit_bridge_host(cls, value: str) -> str:
        return listening_host(value, port_setting="TOCSIN_RABBIT_BRIDGE_PORT")

    @field_validator("routes", "driver_options", mode="before")
    @classmethod
    def _read_json(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return json.loads(value)
        except ValueError:
            raise ValueError("in the environment this is a JSON object") from None
