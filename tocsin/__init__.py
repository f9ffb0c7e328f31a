"""Tocsin's public face: what services import to publish notifications.

``from tocsin import Notifier, load_driver`` needs the package ``streams`` and nothing else of Tocsin's, so a
service that has another package called ``agents`` or ``tables`` can publish. Names are imported on first use:
the command line does not pay for them.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from streams import __version__
    from streams.notifications.priority import Priority
    from streams.publishing.driver import load_driver
    from streams.publishing.notifier import AsyncNotifier, Notifier

__all__ = ["AsyncNotifier", "Notifier", "Priority", "__version__", "load_driver"]

_MODULE_OF = {
    "AsyncNotifier": "streams.publishing.notifier",
    "Notifier": "streams.publishing.notifier",
    "Priority": "streams.notifications.priority",
    "__version__": "streams",
    "load_driver": "streams.publishing.driver",
}


def __getattr__(name: str) -> Any:
    """Import a public name on its first use.

    Raises:
        ImportError: the package ``streams`` is another distribution's.
    """
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    _check_streams()
    value = globals()[name] = getattr(importlib.import_module(_MODULE_OF[name]), name)
    return value


def _check_streams() -> None:
    streams = importlib.import_module("streams")
    found = streams.__file__ or next(iter(streams.__path__), "nowhere")
    if Path(found).resolve().parent.parent != Path(__file__).resolve().parent.parent:
        raise ImportError(
            f"The package 'streams' is not Tocsin's (found {found}): "
            "remove the distribution that brings it, or install Tocsin into an environment of its own."
        )
