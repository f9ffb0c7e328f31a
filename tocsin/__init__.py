"""Tocsin's public face: what services import to publish notifications.

``from tocsin import Notifier, load_driver`` needs the package ``streams`` and nothing else of Tocsin's, so a
service that has another package called ``agents`` or ``tables`` can publish. Names are imported on first use:
the command line does not pay for them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from tocsin.guard import check_package

if TYPE_CHECKING:  # these names are imported on first use, and type checkers read them here
    from streams import __version__
    from streams.notifications.priority import Priority
    from streams.publishing.driver import load_driver
    from streams.publishing.log_handler import NotificationHandler
    from streams.publishing.notifier import AsyncNotifier, Notifier

__all__ = ["AsyncNotifier", "NotificationHandler", "Notifier", "Priority", "__version__", "load_driver"]

_MODULE_OF = {
    "AsyncNotifier": "streams.publishing.notifier",
    "NotificationHandler": "streams.publishing.log_handler",
    "Notifier": "streams.publishing.notifier",
    "Priority": "streams.notifications.priority",
    "__version__": "streams",
    "load_driver": "streams.publishing.driver",
}


def __getattr__(name: str) -> Any:
    """Import a public name on its first use.

    Raises:
        ForeignPackageError: the package ``streams`` is somebody else's.
    """
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    check_package("streams")
    value = globals()[name] = getattr(importlib.import_module(_MODULE_OF[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
