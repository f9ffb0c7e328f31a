"""``tocsin topics apply`` and ``tocsin topics check``."""

from __future__ import annotations

import asyncio
from dataclasses import asdict

import click

from streams.broker.topic_plan import planned_topics
from streams.broker.topics import apply_topics, check_topics
from streams.quantities import quantity
from streams.settings import Settings
from tocsin.cli.common.config_option import command_settings, config_option
from tocsin.cli.common.json_records import object_line
from tocsin.cli.common.options import brokers_option, examples, json_option
from tocsin.cli.common.running import silence_client


@click.group(name="topics")
def command() -> None:
    """Create or check the topics."""


@command.command(epilog=examples("tocsin topics apply", "tocsin topics apply --brokers kafka-1:9092 --json"))
@json_option("one JSON object")
@config_option
@brokers_option
def apply(as_json: bool, brokers: str | None) -> None:
    """Create the missing topics, and leave existing ones as they are."""
    settings = _settings(brokers)
    created = set(asyncio.run(apply_topics(settings)))
    if as_json:
        topics = [
            {"name": spec.name, "created": spec.name in created, "purpose": spec.purpose}
            for spec in planned_topics(settings)
        ]
        click.echo(object_line({"topics": topics}))
        return
    for spec in planned_topics(settings):
        click.echo(f"{'created' if spec.name in created else 'there':8}{spec.name}  ({spec.purpose})")


@command.command(epilog=examples("tocsin topics check", "tocsin topics check --json | jq '.problems[]'"))
@json_option("one JSON object")
@config_option
@brokers_option
@click.pass_context
def check(ctx: click.Context, as_json: bool, brokers: str | None) -> None:
    """Compare the topics with what Tocsin needs; exit code 1 if there is an error."""
    settings = _settings(brokers)
    problems = asyncio.run(check_topics(settings))
    number, errors = len(planned_topics(settings)), sum(problem.severity == "error" for problem in problems)
    warnings = len(problems) - errors
    if as_json:
        found = [asdict(problem) for problem in problems]
        click.echo(object_line({"topics": number, "errors": errors, "warnings": warnings, "problems": found}))
    else:
        for problem in problems:
            click.echo(f"{problem.severity:8}{problem}.")
        click.echo(
            f"{quantity(number, 'topic')}: {quantity(errors, 'error')}, {quantity(warnings, 'warning')}."
        )
    ctx.exit(1 if errors else 0)


def _settings(brokers: str | None) -> Settings:
    silence_client()
    return command_settings(brokers=brokers)
