"""``tocsin top``: a live table of what a worker does, or all workers together, from the HTTP API."""

from __future__ import annotations

import signal
import sys
import threading
import time
import urllib.parse
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from streams.notifications.visible import visible
from streams.quantities import quantity
from streams.settings import Settings
from streams.settings.addresses import host_in_url, reachable_host
from tables.views.units import byte_size
from tocsin.cli.common.colours import rich_style
from tocsin.cli.common.config_option import command_settings, config_option
from tocsin.cli.common.json_records import object_line
from tocsin.cli.common.options import examples, json_option
from tocsin.cli.common.output import quiet_pipe
from tocsin.cli.common.web_views import NoAnswerError, WebViews

_COUNTS: Final = "/api/v1/counts?window=1m&sort=priority&limit=20"
_SCHEDULER: Final = "/api/v1/scheduler"
_WORKERS: Final = "/api/v1/workers"
#: Workers that are listed.
_MOST_WORKERS: Final = 20
#: Columns of a table that is not shown on a terminal.
_PIPE_WIDTH: Final = 140


class _NothingToShowError(Exception):
    """One sentence that says why there is nothing to show."""


@dataclass(frozen=True, slots=True)
class _Answers:
    """What the web views say; of ``tocsin web``, which schedules nothing, also what it knows of workers."""

    scheduler: dict[str, Any]
    counts: dict[str, Any]
    workers: dict[str, Any] | None


@click.command(
    epilog=examples(
        "tocsin top", "tocsin top --url http://worker-1:6066", "tocsin top --once --json | jq .counts"
    )
)
@click.option(
    "--url",
    show_default="TOCSIN_WEB_HOST and TOCSIN_WEB_PORT",
    help="Address of the worker's web views, or of tocsin web.",
)
@click.option(
    "--token-file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    show_default="TOCSIN_WEB_TOKEN",
    help="File that holds the web token.",
)
@click.option("--once", is_flag=True, help="Show it once and exit.")
@click.option(
    "--interval",
    type=click.FloatRange(min=0.1),
    default=2.0,
    help="Seconds between two updates.",
)
@json_option("what the worker answers as JSON, an object a line")
@config_option
def command(url: str | None, token_file: Path | None, once: bool, interval: float, as_json: bool) -> None:
    """Show a worker's priorities with their shares and lags, and the counts of the last minute, live.

    At the address of tocsin web it shows all workers together. Ends on Ctrl-C. Exit code 1 when nothing
    answers. With --json an object has two keys: "scheduler" is the answer at /api/v1/scheduler, "counts" the
    one at /api/v1/counts; of tocsin web a third, "workers", is the one at /api/v1/workers.
    """
    settings = command_settings()
    token = _token(token_file, settings)
    views = WebViews(_address(url, settings), token)
    try:
        with quiet_pipe():
            if as_json:
                _print_json(views, token is not None, once, interval)
            else:
                _show(views, token is not None, once, interval)
    except KeyboardInterrupt:
        return
    except _NothingToShowError as error:
        click.echo(f"tocsin top: {error}", err=True)
        sys.exit(1)


def _print_json(views: WebViews, has_token: bool, once: bool, interval: float) -> None:
    while True:
        answers = _read(views, has_token)
        more = {} if answers.workers is None else {"workers": answers.workers}
        click.echo(object_line({"scheduler": answers.scheduler, "counts": answers.counts} | more))
        if once:
            return
        sys.stdout.flush()
        time.sleep(interval)


def _show(views: WebViews, has_token: bool, once: bool, interval: float) -> None:
    console = Console(file=sys.stdout)
    if not console.is_terminal:
        console.width = _PIPE_WIDTH
    answers = _read(views, has_token)
    if once:
        console.print(_frame(answers, views.address))
        return
    if threading.current_thread() is threading.main_thread():
        # Leave the terminal as it was.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    if not console.is_terminal:
        while True:
            console.print(_frame(answers, views.address))
            sys.stdout.flush()
            time.sleep(interval)
            answers = _read(views, has_token)
    with Live(console=console, screen=True, auto_refresh=False) as live:
        fault = ""
        while True:
            live.update(_frame(answers, views.address, fault), refresh=True)
            time.sleep(interval)
            try:
                answers, fault = _read(views, has_token), ""
            except _NothingToShowError as error:
                # A restart of the worker is when somebody wants to go on looking.
                fault = str(error)


# ---------------------------------------------------------------- asking the worker


def _read(views: WebViews, has_token: bool) -> _Answers:
    """What there is to show.

    Raises:
        _NothingToShowError: there is nothing.
    """
    try:
        scheduler = views.get(_SCHEDULER)
        of_worker = scheduler.get("scope") != "no worker"
        return _Answers(scheduler, views.get(_COUNTS), None if of_worker else views.get(_WORKERS))
    except NoAnswerError as error:
        raise _NothingToShowError(_sentence(error, views.address, has_token)) from None


def _sentence(error: NoAnswerError, address: str, has_token: bool) -> str:
    if error.status is None:
        return (
            f"There is no worker at {address} ({error}): start one with `tocsin worker`, "
            "or give the address of one with --url."
        )
    if error.status in {401, 403}:
        given = "another token" if has_token else "a token"
        return f"The worker at {address} asks for {given}: give it with --token-file."
    if error.status >= 500:
        return f"The worker at {address} cannot answer now (HTTP {error.status}): look at its log."
    return f"What answers at {address} is no Tocsin worker: give the address of one with --url."


def _address(url: str | None, settings: Settings) -> str:
    if url is None:
        # A worker that listens on all addresses is found on the nearest.
        return f"http://{host_in_url(reachable_host(settings.web_host))}:{settings.web_port or 6066}"
    try:
        parts = urllib.parse.urlsplit(url)
        usable = parts.scheme in {"http", "https"} and parts.hostname and (parts.port is None or parts.port)
    except ValueError:
        usable = False
    if not usable or parts.query or parts.fragment or parts.username is not None or not url.isprintable():
        raise click.UsageError(f"--url {visible(url)!r} is no address of the form http://host:port.")
    return url.rstrip("/")


def _token(path: Path | None, settings: Settings) -> str | None:
    if path is None:
        return settings.web_token.get_secret_value() if settings.web_token is not None else None
    try:
        token = path.read_text(encoding="utf-8-sig").strip()
    except (OSError, UnicodeDecodeError):
        token = ""
    if not token or not token.isascii() or not token.isprintable():
        raise click.UsageError(f"--token-file {path} does not hold a token.")
    return token


# ---------------------------------------------------------------- the frame


def _frame(answers: _Answers, url: str, fault: str = "") -> RenderableType:
    """One picture.

    Args:
        answers: what to show.
        url: where they come from.
        fault: why they are not of now; empty when they are.
    """
    counts, workers = answers.counts, answers.workers
    head = Text.assemble(("Tocsin", "bold"), f"  {visible(url)}  as of {_text(counts.get('as_of'))}")
    if not counts.get("complete", True):
        head.append("  counts are not complete yet", "yellow")
    parts: list[RenderableType] = [head]
    if fault:
        parts.append(Text(visible(fault), "bold red"))
    if workers is None:
        return Group(*parts, _scheduler_table(answers.scheduler), _counts_table(counts))
    if trouble := workers.get("trouble"):
        parts.append(Text(_text(trouble), "yellow"))
    elif not workers.get("complete", True):
        parts.append(Text("The states of the workers are not read to their end yet.", "yellow"))
    return Group(*parts, _together_table(workers), _workers_table(workers), _counts_table(counts))


def _scheduler_table(scheduler: dict[str, Any]) -> RenderableType:
    table = _classes_table("Classes", "weight", ("dispatched", "service"))
    for row in _items(scheduler, "classes"):
        name = _text(row.get("priority") or row.get("class") or row.get("name"))
        table.add_row(
            Text(name, rich_style(name)),
            _number(row.get("weight")),
            *_share_and_lag(row),
            _number(row.get("dispatched")),
            _seconds(row.get("service_seconds")),
        )
    return table


def _together_table(workers: dict[str, Any]) -> RenderableType:
    table = _classes_table("Classes, all workers together", "workers", ("counted/s", "forwarded/s"))
    for row in _items(workers, "classes"):
        name = _text(row.get("priority"))
        table.add_row(
            Text(name, rich_style(name)),
            _number(row.get("workers")),
            *_share_and_lag(row),
            _rate(row.get("counted_per_s")),
            _rate(row.get("forwarded_per_s")),
        )
    return table


def _classes_table(title: str, first: str, last: tuple[str, str]) -> Table:
    """No rows yet; the columns between the first and the last are those of ``_share_and_lag``."""
    table = Table(title=title, title_justify="left", title_style="bold")
    table.add_column("class", no_wrap=True)
    for name in (first, "share", "of", "buffered", "bytes", "lag", "oldest", *last):
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _share_and_lag(row: dict[str, Any]) -> tuple[str, ...]:
    share, buffered, lag = _dict(row.get("share")), _dict(row.get("buffered")), _dict(row.get("lag"))
    return (
        _percent(share.get("achieved")),
        _percent(share.get("configured")),
        _number(buffered.get("records")),
        _bytes(buffered.get("bytes")),
        _number(lag.get("records")),
        _seconds(lag.get("seconds")),
    )


def _workers_table(workers: dict[str, Any]) -> RenderableType:
    found = _items(workers, "workers")
    if not found:
        return Text("No worker was heard from: start one with `tocsin worker`.", "yellow")
    table = Table(title="Workers", title_justify="left", title_style="bold")
    table.add_column("worker", overflow="fold")
    for name in ("pool", "state"):
        table.add_column(name, no_wrap=True)
    for name in ("lag", "counted/s"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in found[:_MOST_WORKERS]:
        classes = _items(row, "classes")
        table.add_row(
            Text(_text(row.get("id"))),
            Text(_text(row.get("pool"))),
            _state(row),
            _number(sum(_amount(_dict(each.get("lag")).get("records")) for each in classes)),
            _rate(sum(_amount(each.get("counted_per_s")) for each in classes)),
        )
    if (more := len(found) - _MOST_WORKERS) > 0:
        table.caption = f"and {quantity(more, 'more worker')}"
        table.caption_justify = "left"
    return table


def _state(worker: dict[str, Any]) -> Text:
    if not worker.get("heard"):
        return Text("not heard from", "bold red")
    return Text("ready", "green") if worker.get("ready") else Text("not ready", "bold red")


def _counts_table(counts: dict[str, Any]) -> RenderableType:
    table = Table(title="Counts of the last minute", title_justify="left", title_style="bold")
    table.add_column("event type", overflow="fold")
    table.add_column("priority", no_wrap=True)
    table.add_column("count", justify="right", no_wrap=True)
    table.add_column("last seen", no_wrap=True)
    for row in _items(counts, "items"):
        priority = _text(row.get("priority"))
        table.add_row(
            Text(_text(row.get("event_type"))),
            Text(priority, rich_style(priority)),
            _number(row.get("count")),
            Text(_text(row.get("last_seen"))),
        )
    return table


def _items(answer: dict[str, Any], name: str) -> list[dict[str, Any]]:
    items = answer.get(name)
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str:
    return visible(value) if isinstance(value, str) and value else "-"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number(value: Any) -> str:
    if not _is_number(value):
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.6g}"


def _amount(value: Any) -> float:
    return value if _is_number(value) else 0


def _rate(value: Any) -> str:
    return f"{value:,.1f}" if _is_number(value) else "-"


def _percent(value: Any) -> str:
    return f"{value:.1%}" if _is_number(value) else "-"


def _seconds(value: Any) -> str:
    return f"{value:,.1f} s" if _is_number(value) else "-"


def _bytes(value: Any) -> str:
    return byte_size(float(value)) if _is_number(value) else "-"
