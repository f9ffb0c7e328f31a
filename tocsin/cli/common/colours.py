"""The colour of each priority in a terminal, by the names that click and rich share."""

from __future__ import annotations

from typing import Final

import click

from streams.notifications.priority import Priority
from streams.notifications.visible import visible
from tocsin.cli.common.text import shortened

_COLOURS: Final = {
    Priority.CRITICAL: "bright_red",
    Priority.ERROR: "red",
    Priority.WARN: "yellow",
    Priority.INFO: "green",
    Priority.DEBUG: "blue",
    Priority.AUDIT: "cyan",
    Priority.SAMPLE: "magenta",
}
_WIDTH: Final = 8
_MOST_SHOWN: Final = 20


def coloured(priority: str) -> str:
    """A priority for click, in a column of its own; one that is unknown is shown as it is, made safe."""
    known = Priority.parse(priority)
    if known is None:
        return visible(shortened(priority, _MOST_SHOWN)) or "-"
    return click.style(f"{known.value:{_WIDTH}}", fg=_COLOURS[known], bold=known is Priority.CRITICAL)


def rich_style(priority: str) -> str:
    """Style of a priority for rich; empty for one that is unknown."""
    known = Priority.parse(priority)
    if known is None:
        return ""
    return f"bold {_COLOURS[known]}" if known is Priority.CRITICAL else _COLOURS[known]
