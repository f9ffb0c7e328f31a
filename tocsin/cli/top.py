"""``tocsin top``: a live table of what a worker does, from its HTTP API."""

from __future__ import annotations

import signal
import sys
import threading
import time
import urllib.parse
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from streams.notifications.visible import visible
from streams.settings import Settings
from streams.settings.addresses import host_in_url, reachable_host
from tables.views.units import byte_size
from tocsin.cli.colours import rich_style
from tocsin.cli.config_option import command_settings, config_option
from tocsin.cli.json_records import object_line
from tocsin.cli.options import examples, json_option
from tocsin.cli.output import quiet_pipe
from tocsin.cli.web_views import NoAnswerError, WebViews

_COUNTS: Final = "/api/v1/counts?window=1m&sort=priority&limit=20"
_SCHEDULER: Final = "/api/v1/scheduler"
#: Columns of a table that is not shown on a terminal.
_PIPE_WIDTH: Final = 140


class _NothingToShowError(Exception):
    """One sentence that says why there is nothing to show."""


@click.command(
    epilog=examples(
        "tocsin top", "tocsin top --url http://worker-1:6066", "tocsin top --once --json | jq .counts"
    )
)
@click.option(
    "--url",
    show_default="TOCSIN_WEB_HOST and TOCSIN_WEB_PORT",
    help="Address of the worker's web views.",
)
@click.option(
    "--token-file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    show_default="TOCSIN_WEB_TOKEN",
    help="File that holds the web token of the worker.",
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

    Ends on Ctrl-C. Exit code 1 when no worker answers. With --json an object has two keys: "scheduler" is the
    answer at /api/v1/scheduler, "counts" the one at /api/v1/counts.
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
        scheduler, counts = _read(views, has_token)
        click.echo(object_line({"scheduler": scheduler, "counts": counts}))
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
        console.print(frame(*answers, views.address))
        return
    if threading.current_thread() is threading.main_thread():
        # Leave the terminal as it was.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    if not console.is_terminal:
        while True:
            console.print(frame(*answers, views.address))
            sys.stdout.flush()
            time.sleep(interval)
            answers = _read(views, has_token)
    with Live(console=console, screen=True, auto_refresh=False) as live:
        fault = ""
        while True:
            live.update(frame(*answers, views.address, fault), refresh=True)
            time.sleep(interval)
            try:
                answers, fault = _read(views, has_token), ""
            except _NothingToShowError as error:
                # A restart of the worker is when somebody wants to go on looking.
                fault = str(error)


# ---------------------------------------------------------------- asking the worker


def _read(views: WebViews, has_token: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    """Answers on the scheduler and on the counts.

    Raises:
        _NothingToShowError: there is none.
    """
    try:
        return views.get(_SCHEDULER), views.get(_COUNTS)
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


def frame(scheduler: dict[str, Any], counts: dict[str, Any], url: str, fault: str = "") -> RenderableType:
    """One picture of a worker.

    Args:
        scheduler: answer of ``/api/v1/scheduler``.
        counts: answer of ``/api/v1/counts``.
        url: where they come from.
        fault: why they are not of now; empty when they are.
    """
    head = Text.assemble(("Tocsin", "bold"), f"  {visible(url)}  as of {_text(counts.get('as_of'))}")
    if not counts.get("complete", True):
        head.append("  counts are not complete yet", "yellow")
    parts: list[RenderableType] = [head]
    if fault:
        parts.append(Text(visible(fault), "bold red"))
    return Group(*parts, _scheduler_table(scheduler), _counts_table(counts))


def _scheduler_table(scheduler: dict[str, Any]) -> RenderableType:
    table = Table(title="Classes", title_justify="left", title_style="bold")
    table.add_column("class", no_wrap=True)
    for name in ("weight", "share", "of", "buffered", "bytes", "lag", "oldest", "dispatched", "service"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in _items(scheduler, "classes"):
        share, buffered, lag = _dict(row.get("share")), _dict(row.get("buffered")), _dict(row.get("lag"))
        name = _text(row.get("priority") or row.get("class") or row.get("name"))
        table.add_row(
            Text(name, rich_style(name)),
            _number(row.get("weight")),
            _percent(share.get("achieved")),
            _percent(share.get("configured")),
            _number(buffered.get("records")),
            _bytes(buffered.get("bytes")),
            _number(lag.get("records")),
            _seconds(lag.get("seconds")),
            _number(row.get("dispatched")),
            _seconds(row.get("service_seconds")),
        )
    return table


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


def _percent(value: Any) -> str:
    return f"{value:.1%}" if _is_number(value) else "-"


def _seconds(value: Any) -> str:
    return f"{value:,.1f} s" if _is_number(value) else "-"


def _bytes(value: Any) -> str:
    return byte_size(float(value)) if _is_number(value) else "-"
