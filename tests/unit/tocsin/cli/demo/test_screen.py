"""What a demo shows in the terminal."""

from __future__ import annotations

import io

from rich.console import Console

from streams.notifications import Priority
from tocsin.cli.demo.load import Alert
from tocsin.cli.demo.screen import Picture, frame, plain_line, top_types
from tocsin.cli.demo.sums import DemoSums


def test_the_top_event_types_have_some_of_every_priority_and_the_largest() -> None:
    items = [{"event_type": f"debug.{n}", "priority": "DEBUG", "count": 100 - n} for n in range(20)]
    items += [{"event_type": f"host.{n}", "priority": "CRITICAL", "count": 3 - n} for n in range(3)]
    shown = top_types(items, 8)
    assert [item["event_type"] for item in shown] == [
        "host.0",
        "host.1",
        *(f"debug.{n}" for n in range(6)),
    ]
    assert top_types([], 8) == []


def test_names_are_shown_as_they_are_but_for_what_cannot_be_seen() -> None:
    # Brackets are no markup: a wrong closing tag would end the demo.
    hostile, shown = "[/red]a\u3164\x1b[2Jb", "[/red]a\\u3164\\x1b[2Jb"
    item = {"event_type": hostile, "priority": "INFO", "count": 1}
    alert = Alert("2026-01-02T03:04:05Z", Priority.ERROR, hostile, hostile)
    picture = Picture("http://here", "publishing", 1.0, None, DemoSums(()), minute=[item], alerts=[alert])
    console = Console(file=io.StringIO(), width=200)
    console.print(frame(picture, 40))
    written = console.file.getvalue()  # type: ignore[attr-defined]
    assert written.count(shown) == 3
    assert "\u3164" not in written
    assert "\x1b" not in written
    assert shown in plain_line(picture)
