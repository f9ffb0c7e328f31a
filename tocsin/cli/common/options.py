"""Options that several commands have, and the types of their values."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

import click
from click.shell_completion import CompletionItem

from streams.notifications.priority import Priority

brokers_option = click.option(
    "--brokers", metavar="HOST:PORT,...", show_default="TOCSIN_BROKERS", help="Kafka bootstrap addresses."
)
web_port_option = click.option(
    "--web-port", type=int, show_default="TOCSIN_WEB_PORT", help="Port of the web views; 0 takes a free one."
)
log_level_option = click.option(
    "--log-level",
    type=click.Choice(["DEBUG", "INFO", "WARNING", "ERROR"]),
    show_default="TOCSIN_LOG_LEVEL",
    help="Least level that is logged.",
)
show_config_option = click.option(
    "--show-config", is_flag=True, help="Print the settings with secrets masked, and exit."
)


def json_option(what: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The option ``--json``, as the parameter ``as_json``.

    Args:
        what: is printed, to be read after "Print".
    """
    return click.option("--json", "as_json", is_flag=True, help=f"Print {what}.")


def examples(*lines: str) -> str:
    """The end of a command's help: examples, a line each, which click leaves as they are."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


class Duration(click.ParamType):
    """A time span such as ``90s``, ``10m``, ``1h30m`` or ``2d``, in seconds."""

    name = "duration"
    _units: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Seconds of ``value``."""
        if isinstance(value, int | float):
            return float(value)
        parts = re.findall(r"(\d+(?:\.\d+)?)([smhd])", value)
        if not parts or "".join(number + unit for number, unit in parts) != value:
            self.fail(f"{value!r} is not a time span; write it as 90s, 10m, 1h30m or 2d.", param, ctx)
        return sum(float(number) * self._units[unit] for number, unit in parts)


class PriorityName(click.ParamType):
    """A priority by its name, in any case."""

    name = "priority"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Priority:
        """The priority that ``value`` names."""
        found = Priority.parse(str(value))
        if found is None:
            self.fail(f"{value!r} is unknown; use one of {', '.join(Priority).lower()}.", param, ctx)
        return found

    def shell_complete(
        self,
        ctx: click.Context,  # noqa: ARG002
        param: click.Parameter,  # noqa: ARG002
        incomplete: str,
    ) -> list[CompletionItem]:
        """The names that begin so."""
        names = [priority.lower() for priority in Priority]
        return [CompletionItem(name) for name in names if name.startswith(incomplete.lower())]
