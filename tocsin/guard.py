"""Refuses to run where another distribution has taken the place of one of our packages.

It imports nothing of ours, since that might be somebody else's.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import sys
from pathlib import Path
from typing import Final

_HOME: Final = Path(__file__).resolve().parent.parent
_PACKAGES: Final = ("streams", "tables", "agents")
#: Distributions that bring a package of the same name as ours; whichever was installed last has overwritten
#: files of the other.
_RIVALS: Final = {"tables": "tables", "agents": "openai-agents"}


class ForeignPackageError(ImportError):
    """A package of Tocsin's name is somebody else's; the message is one sentence that says what to change."""


def check_package(package: str) -> None:
    """Check that a top-level package is Tocsin's; it is not imported for that.

    Raises:
        ForeignPackageError: it is not.
    """
    found = _place(package)
    if found is None or found.resolve() != _HOME / package:
        raise ForeignPackageError(
            f"The package {package!r} is not Tocsin's (found {found or 'nothing'}): "
            "install Tocsin into an environment of its own."
        )


def check_packages() -> None:
    """Check that ``streams``, ``tables`` and ``agents`` are the ones that belong together.

    Raises:
        ForeignPackageError: one of them is somebody else's, or shares its folder with a rival's.
    """
    for package in _PACKAGES:
        check_package(package)
    for package, distribution in _RIVALS.items():
        try:
            importlib.metadata.distribution(distribution)
        except importlib.metadata.PackageNotFoundError:
            continue
        raise ForeignPackageError(
            f"The distribution {distribution!r} is installed here, and its package {package!r} "
            "has the name of one of Tocsin's: "
            "install Tocsin into an environment of its own."
        )


def _place(package: str) -> Path | None:
    """The folder, or the file, of ``package``, imported or not; None when there is none with code in it."""
    spec = getattr(sys.modules.get(package), "__spec__", None) or importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        return None
    origin = Path(spec.origin)
    return origin.parent if origin.name == "__init__.py" else origin
