"""The option ``--config``, and the settings that a command finds with it."""

from __future__ import annotations

from typing import Any, Final

import click

from streams.settings import Settings, load_settings

_KEY: Final = "tocsin.config_file"


def _keep(ctx: click.Context, _: click.Parameter, value: str | None) -> None:
    # Of the command with its groups, so that no command has to pass it on.
    if value is not None:
        ctx.meta[_KEY] = value


config_option = click.option(
    "--config",
    metavar="FILE",
    show_default="TOCSIN_CONFIG_FILE",
    help="Settings file, in TOML.",
    # A file that cannot be read is a wrong configuration like any other, so click does not look at it.
    callback=_keep,
    expose_value=False,
)


def command_settings(**options: Any) -> Settings:
    """The settings of the command that runs: its options, the environment, its settings file.

    Args:
        options: values that win over environment and file; None means not given.

    Raises:
        ConfigurationError: with one sentence that says what to change.
    """
    context = click.get_current_context(silent=True)
    return load_settings(config_file=None if context is None else context.meta.get(_KEY), **options)
