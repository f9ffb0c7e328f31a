"""The tables of the documents that are made from the code: settings, commands, metrics, topics.

In a document such a table is between ``<!-- made from the code: NAME -->`` and ``<!-- end -->``.
``make docs`` (``python -m tests.unit.docs.generated``) writes them; a test fails while one is out of date.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import click
from pydantic_core import PydanticUndefined

from streams.broker.topic_plan import planned_topics
from streams.settings import Settings
from tables.views.histogram_defs import HISTOGRAMS
from tables.views.metric_defs import METRICS
from tests.paths import ROOT
from tocsin.archive.figures import METRICS as ARCHIVE_METRICS
from tocsin.bridge_http.figures import METRICS as BRIDGE_METRICS
from tocsin.bridge_rabbit.figures import METRICS as RABBIT_BRIDGE_METRICS
from tocsin.cli import cli

DOCS: Final = ROOT / "docs"
_BLOCK: Final = re.compile(r"(<!-- made from the code: ([\w -]+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)
_HOUR_MS: Final = 3_600_000


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _table(*heads: str) -> list[str]:
    return [_row(*heads), "|" + "---|" * len(heads)]


def _plain(text: str) -> str:
    """Text of a help string, so that Markdown shows it as it is."""
    return re.sub(r"([<*])", r"\\\1", re.sub(r"\s+", " ", text).strip())


def settings_table() -> str:
    """Every setting, its default and its meaning."""
    rows = _table("setting", "default", "meaning")
    for name, field in Settings.model_fields.items():
        default = field.default if field.default is not PydanticUndefined else ""
        if isinstance(default, tuple):
            default = ",".join(default).lower()
        text = str(default).lower() if isinstance(default, bool) else str(default)
        shown = "" if default is None or text == "" else f"`{text}`"
        rows.append(_row(f"`TOCSIN_{name.upper()}`", shown, field.description or ""))
    return "\n".join(rows)


def metrics_table() -> str:
    """Every metric of a worker."""
    rows = _table("metric", "type", "labels", "meaning")
    for metric in (*METRICS, *HISTOGRAMS):
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        rows.append(_row(f"`{metric.name}`", metric.type, labels, _plain(metric.help)))
    return "\n".join(rows)


def rabbit_bridge_metrics_table() -> str:
    """Every metric of a bridge from RabbitMQ."""
    return _small_table(RABBIT_BRIDGE_METRICS)


def archive_metrics_table() -> str:
    """Every metric of an archiver."""
    return _small_table(ARCHIVE_METRICS)


def bridge_metrics_table() -> str:
    """Every metric of the bridge for HTTP."""
    return _small_table(BRIDGE_METRICS)


def _small_table(metrics: Sequence[tuple[str, str, Sequence[str], str]]) -> str:
    rows = _table("metric", "type", "labels", "meaning")
    for name, kind, labels, meaning in metrics:
        rows.append(_row(f"`{name}`", kind, ", ".join(f"`{label}`" for label in labels), _plain(meaning)))
    return "\n".join(rows)


def topics_table() -> str:
    """Every topic under its default name."""
    rows = _table("topic", "holds", "kept", "largest record")
    for spec in planned_topics(Settings.model_construct()):
        config = spec.config
        if config["cleanup.policy"] == "compact":
            kept = "the newest value of each key"
        elif config["retention.ms"] == "-1":
            kept = "for good"
        else:
            hours = int(config["retention.ms"]) // _HOUR_MS
            kept = f"{hours // 24} days" if hours >= 48 else f"{hours} h"
            if "compact" in config["cleanup.policy"]:
                kept = f"the newest value of each key, {kept}"
            if "retention.bytes" in config:
                kept += f", at most {int(config['retention.bytes']) // 2**20} MiB a partition"
        largest = f"{int(config['max.message.bytes']) / 2**20:.0f} MiB"
        rows.append(_row(f"`{spec.name}`", spec.purpose, kept, largest))
    return "\n".join(rows)


def commands() -> Iterator[tuple[str, click.Context]]:
    """Every command and subcommand by its full name, groups before their members."""

    def walk(command: click.Command, context: click.Context) -> Iterator[tuple[str, click.Context]]:
        yield context.command_path, context
        if isinstance(command, click.Group):
            for name in command.list_commands(context):
                child = command.get_command(context, name)
                assert child is not None, name
                yield from walk(child, click.Context(child, info_name=name, parent=context))

    yield from walk(cli, click.Context(cli, info_name="tocsin", **cli.context_settings))


def command_reference(context: click.Context) -> str:
    """Usage, help and options of one command."""
    command = context.command
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    paragraphs = [_plain(paragraph) for paragraph in inspect.cleandoc(command.help or "").split("\n\n")]
    parts = [f"```\n{usage}\n```", *paragraphs]
    options = [record for each in command.get_params(context) if (record := _option(each, context))]
    if options:
        parts.append("\n".join([*_table("option", "meaning"), *(_row(*option) for option in options)]))
    if command.epilog:
        head, *lines = command.epilog.removeprefix("\b\n").splitlines()
        parts.append(f"{head}\n\n```\n" + "\n".join(line.strip() for line in lines) + "\n```")
    return "\n\n".join(parts)


def _option(parameter: click.Parameter, context: click.Context) -> tuple[str, str] | None:
    record = parameter.get_help_record(context)
    if record is None or "help" in (parameter.name or ""):
        return None
    names, text = record
    return f"`{names}`", _plain(text)


def blocks() -> dict[str, Callable[[], str]]:
    """Name of each table -> what makes it."""
    made: dict[str, Callable[[], str]] = {
        "settings": settings_table,
        "metrics": metrics_table,
        "rabbit bridge metrics": rabbit_bridge_metrics_table,
        "metrics of the bridge for HTTP": bridge_metrics_table,
        "metrics of the archiver": archive_metrics_table,
        "topics": topics_table,
    }
    for path, context in commands():
        made[f"command {path}"] = lambda context=context: command_reference(context)
    return made


def names_in(text: str) -> list[str]:
    """Names of the made tables in a document."""
    return [found[2] for found in _BLOCK.finditer(text)]


def renewed(text: str, made: dict[str, Callable[[], str]]) -> str:
    """A document with its made tables as they should be.

    Raises:
        KeyError: it asks for a table that nothing makes.
    """

    def fresh(found: Any) -> str:
        return f"{found[1]}\n{made[found[2]]()}\n\n{found[4]}"

    return _BLOCK.sub(fresh, text)


def main() -> None:
    """Write the tables of all documents anew."""
    made = blocks()
    for path in sorted(DOCS.glob("*.md")):
        text = path.read_text(encoding="utf-8")
        new = renewed(text, made)
        if new != text:
            path.write_text(new, encoding="utf-8")
            print(f"Written: {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
