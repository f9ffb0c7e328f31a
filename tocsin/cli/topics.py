"""``tocsin topics apply`` and ``tocsin topics check``."""

from __future__ import annotations

import asyncio

import click

from streams.broker.topics import apply_topics, check_topics, planned_topics
from streams.settings import Settings
from tocsin.cli.config_option import command_settings, config_option
from tocsin.cli.options import brokers_option
from tocsin.cli.running import silence_client


@click.group(name="topics")
def command() -> None:
    """Create or check the topics."""


@command.command()
@config_option
@brokers_option
def apply(brokers: str | None) -> None:
    """Create the missing topics, and leave existing ones as they are."""
    settings = _settings(brokers)
    created = set(asyncio.run(apply_topics(settings)))
    for spec in planned_topics(settings):
        click.echo(f"{'created' if spec.name in created else 'there':8}{spec.name}  ({spec.purpose})")


@command.command()
@config_option
@brokers_option
@click.pass_context
def check(ctx: click.Context, brokers: str | None) -> None:
    """Compare the topics with what Tocsin needs; exit code 1 if there is an error."""
    settings = _settings(brokers)
    problems = asyncio.run(check_topics(settings))
    for problem in problems:
        click.echo(f"{problem.severity:8}{problem}.")
    errors = sum(problem.severity == "error" for problem in problems)
    click.echo(f"{len(planned_topics(settings))} topics: {errors} errors, {len(problems) - errors} warnings.")
    ctx.exit(1 if errors else 0)


def _settings(brokers: str | None) -> Settings:
    silence_client()
    return command_settings(brokers=brokers)
