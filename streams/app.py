"""Where ``faust -A streams.app worker`` finds the app of a worker, which `tocsin.app` makes on first use."""

import importlib
from typing import Any


def __getattr__(name: str) -> Any:
    """Hand on what is asked for; nothing is imported before."""
    return getattr(importlib.import_module("tocsin.app"), name)
