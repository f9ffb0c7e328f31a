"""What a demo shows in the terminal."""

from __future__ import annotations

from tocsin.cli.demo.screen import top_types


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
