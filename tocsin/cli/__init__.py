"""The command line ``tocsin``: `commands` names what it has, and each is imported when it runs."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import click
from click.shell_completion import CompletionItem

from streams import __version__
from streams.notifications.visible import visible_lines
from streams.records import ReadingFailedError
from streams.settings import EXIT_CONFIG, ConfigurationError
from tocsin.cli.commands import COMMANDS, ON_STREAMS_ALONE
from tocsin.cli.common.options import examples
from tocsin.guard import ForeignPackageError, check_packages


class _LazyGroup(click.Group):
    """A group that imports a command's module only when that command is used."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; what an error repeats of the arguments, or of a record, is shown as it can be."""
        try:
            return super().invoke(ctx)
        except click.ClickException as error:
            error.message = visible_lines(error.message)
            raise
        except ReadingFailedError as error:
            raise click.ClickException(visible_lines(str(error))) from error

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        if cmd_name not in ON_STREAMS_ALONE:
            check_packages()
        module, _ = COMMANDS[cmd_name]
        command: click.Command = importlib.import_module(module).command
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Names of commands and options, without importing a command."""
        names = [
            CompletionItem(name, help=text)
            for name, (_, text) in COMMANDS.items()
            if name.startswith(incomplete)
        ]
        return names + click.Command.shell_complete(self, ctx, incomplete)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(
    cls=_LazyGroup,
    # One style for all: click shows each default, of every command.
    context_settings={"help_option_names": ["-h", "--help"], "show_default": True},
    epilog=examples("tocsin demo", "tocsin worker --help"),
)
@click.version_option(__version__, prog_name="tocsin")
def cli() -> None:
    """Tocsin: a priority-aware consumer of notifications."""


def main() -> None:
    """Entry point of the command ``tocsin``.

    Exit codes: 0 done, 1 failed, 2 wrong usage, 75 brokers away from a worker, 78 wrong configuration.
    """
    try:
        cli(prog_name="tocsin")
    except (ConfigurationError, ForeignPackageError) as error:
        click.echo(f"tocsin: {visible_lines(str(error))}", err=True)
        sys.exit(EXIT_CONFIG)
