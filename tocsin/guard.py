"""Refuses to run where another distribution has taken the place of one of our packages."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from pathlib import Path

from streams.settings import ConfigurationError

#: Distributions that bring a top-level package of the same name as ours.
_RIVALS = {"tables": "tables", "agents": "openai-agents"}


def check_packages() -> None:
    """Check that ``streams``, ``agents`` and ``tables`` are the ones that belong together.

    PyTables and openai-agents have packages of these names; whichever was installed last wins, silently.

    Raises:
        ConfigurationError: one of them is somebody else's.
    """
    home = Path(__file__).resolve().parent.parent
    for package in ("agents", "tables"):
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None or Path(spec.origin).resolve().parent != home / package:
            found = spec.origin if spec is not None and spec.origin is not None else "nothing"
            raise ConfigurationError(
                f"The package {package!r} is not Tocsin's (found {found}): "
                "install Tocsin into an environment of its own."
            )
    for package, distribution in _RIVALS.items():
        try:
            importlib.metadata.distribution(distribution)
        except importlib.metadata.PackageNotFoundError:
            continue
        raise ConfigurationError(
            f"The distribution {distribution!r} is installed here, and its package {package!r} "
            "has the name of one of Tocsin's: "
            "install Tocsin into an environment of its own."
        )
