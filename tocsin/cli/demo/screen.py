"""What the demo shows: one picture a second in a terminal, one line every few seconds elsewhere. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from streams.notifications.priority import Priority
from streams.notifications.visible import visible
from tocsin.cli.common.colours import rich_style
from tocsin.cli.demo.load import Alert
from tocsin.cli.demo.sums import DemoSums

#: Lines of a picture besides classes, event types and alerts: headings and blank lines.
_OTHER_LINES: Final = 9
_MOST_TYPES: Final = 20


@dataclass(frozen=True, slots=True)
class Picture:
    """What is known at one moment.

    Attributes:
        address: of the page.
        state: what is going on.
        elapsed_s: seconds since the load began.
        seconds: how long it is to run; None without end.
        sums: the numbers by priority.
        minute: items of ``/api/v1/counts?window=1m``.
        totals: items of ``/api/v1/counts?window=total``.
        classes: the scheduler's state by priority; may be empty.
        alerts: the latest ones, the newest first.
        fault: why numbers are not of now; empty when they are.
    """

    address: str
    state: str
    elapsed_s: float
    seconds: float | None
    sums: DemoSums
    minute: Sequence[dict[str, Any]] = ()
    totals: Sequence[dict[str, Any]] = ()
    classes: dict[str, dict[str, Any]] = field(default_factory=dict)
    alerts: Sequence[Alert] = ()
    fault: str = ""


def plain_line(picture: Picture) -> str:
    """The picture in one line."""
    sums = picture.sums
    parts = [
        clock(picture.elapsed_s),
        f"published {sums.published:,}",
        f"counted {sums.counted:,}",
        f"dead-lettered {sums.dead_lettered:,}",
        f"forwarded {sums.forwarded:,}",
    ]
    if picture.alerts:
        alert = picture.alerts[0]
        parts.append(
            f"latest alert {alert.priority} {visible(alert.event_type)} {visible(alert.publisher_id)}"
        )
    if picture.fault:
        parts.append(picture.fault)
    return "  ".join(parts)


def frame(picture: Picture, height: int) -> RenderableType:
    """The picture for a terminal of ``height`` lines."""
    length = f" of {clock(picture.seconds)}" if picture.seconds is not None else ""
    head = Text.assemble(
        ("Tocsin demo", "bold"),
        f"  {picture.state}  {clock(picture.elapsed_s)}{length}  ",
        ("Ctrl-C ends it", "dim"),
    )
    page = Text.assemble("Page: ", (picture.address, "bold underline"))
    if picture.fault:
        page.append(f"  {picture.fault}", "bold red")
    room = max(6, height - _OTHER_LINES - len(picture.sums.lines))
    types = min(_MOST_TYPES, max(3, room * 2 // 3))
    return Group(
        head,
        page,
        Text(),
        _classes(picture),
        Text(),
        _types(picture, types),
        Text(),
        Text("Latest alerts", "bold"),
        *_alerts(picture.alerts[: max(3, room - types)]),
    )


def summary(sums: DemoSums) -> RenderableType:
    """The final numbers, a line a priority."""
    table = _table("priority", "published", "counted", "dead-lettered", "forwarded")
    for line in sums.lines:
        table.add_row(
            _styled(line.priority.value),
            f"{line.published:,}",
            f"{line.counted:,}",
            f"{line.dead_lettered:,}",
            f"{line.forwarded:,}" if line.is_forwarded else "-",
        )
    table.add_row(
        "all", f"{sums.published:,}", f"{sums.counted:,}", f"{sums.dead_lettered:,}", f"{sums.forwarded:,}"
    )
    return table


def clock(seconds: float) -> str:
    """Seconds as ``minutes:seconds``."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"


def _classes(picture: Picture) -> RenderableType:
    table = _table("class", "weight", "share", "waiting", "lag", "published", "counted", "dead", "forwarded")
    for line in picture.sums.lines:
        state = picture.classes.get(line.priority.value, {})
        share = (state.get("share") or {}).get("achieved")
        lag = (state.get("lag") or {}).get("seconds")
        table.add_row(
            _styled(line.priority.value),
            _number(state.get("weight")),
            f"{share:.0%}" if share is not None else "-",
            _number((state.get("lag") or {}).get("records")),
            f"{lag:.1f} s" if lag is not None else "-",
            f"{line.published:,}",
            f"{line.counted:,}",
            f"{line.dead_lettered:,}",
            f"{line.forwarded:,}" if line.is_forwarded else "-",
        )
    return table


def _types(picture: Picture, number: int) -> RenderableType:
    totals = {(item["event_type"], item["priority"]): item["count"] for item in picture.totals}
    table = _table("top event types", "priority", "last minute", "total", texts=2)
    for item in top_types(picture.minute, number):
        key = (item["event_type"], item["priority"])
        table.add_row(
            # As text: brackets in it are no markup.
            Text(visible(item["event_type"])),
            _styled(item["priority"]),
            f"{item['count']:,}",
            _number(totals.get(key)),
        )
    return table


def top_types(items: Sequence[dict[str, Any]], number: int) -> list[dict[str, Any]]:
    """The items with the largest counts, some of every priority among them; the most urgent first.

    Args:
        items: sorted by count, the largest first.
        number: how many.
    """
    by_priority: dict[str, list[dict[str, Any]]] = {}
    for item in items:
        by_priority.setdefault(item["priority"], []).append(item)
    if not by_priority:
        return []
    each = max(1, number // (2 * len(by_priority)))
    chosen = [item for some in by_priority.values() for item in some[:each]]
    rest = [item for item in items if item not in chosen]
    chosen += rest[: max(0, number - len(chosen))]
    ranks = {priority.value: priority.rank for priority in Priority}
    return sorted(chosen, key=lambda item: (ranks.get(item["priority"], len(ranks)), -item["count"]))


def _alerts(alerts: Sequence[Alert]) -> Iterator[RenderableType]:
    if not alerts:
        yield Text("none yet", "dim")
    for alert in alerts:
        time_of_day = alert.time.partition("T")[2] or alert.time
        yield Text.assemble(
            f"{visible(time_of_day)}  ",
            (f"{alert.priority.value:8}", rich_style(alert.priority)),
            f"  {visible(alert.event_type)}  {visible(alert.publisher_id)}",
            overflow="ellipsis",
            no_wrap=True,
        )


def _table(*names: str, texts: int = 1) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for number, name in enumerate(names):
        table.add_column(
            name, justify="left" if number < texts else "right", no_wrap=True, overflow="ellipsis"
        )
    return table


def _styled(priority: str) -> RenderableType:
    return Text(visible(priority), rich_style(priority))


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.15g}"
