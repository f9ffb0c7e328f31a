"""``tocsin topics apply`` and ``tocsin topics check``."""

from __future__ import annotations

import asyncio
import logging

import click

from streams.settings import Settings
from tocsin.cli.config_option import command_settings, config_option

_brokers = click.option("--brokers", metavar="HOST:PORT,…", help="Kafka to use instead of TOCSIN_BROKERS.")


@click.group(name="topics")
def command() -> None:
    """Create or check the topics."""


@command.command()
@config_option
@_brokers
def apply(brokers: str | None) -> None:
    """Create the missing topics, and leave existing ones as they are."""
    from streams.broker.topics import apply_topics, planned_topics

    settings = _settings(brokers)
    created = set(asyncio.run(apply_topics(settings)))
    for spec in planned_topics(settings):
        click.echo(f"{'created' if spec.name in created else 'there':8}{spec.name}  ({spec.purpose})")


@command.command()
@config_option
@_brokers
@click.pass_context
def check(ctx: click.Context, brokers: str | None) -> None:
    """Compare the topics with what Tocsin needs; exit code 1 if there is an error."""
    from streams.broker.topics import check_topics, planned_topics

    settings = _settings(brokers)
    problems = asyncio.run(check_topics(settings))
    for problem in problems:
        click.echo(f"{problem.severity:8}{problem}.")
    errors = sum(problem.severity == "error" for problem in problems)
    click.echo(f"{len(planned_topics(settings))} topics: {errors} errors, {len(problems) - errors} warnings.")
    ctx.exit(1 if errors else 0)


def _settings(brokers: str | None) -> Settings:
    # What aiokafka logs on its way to a failure is said by our own sentence.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    return command_settings(brokers=brokers)
