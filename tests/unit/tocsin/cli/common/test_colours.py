"""Colours of priorities: one table, by names that both click and rich know."""

from __future__ import annotations

import click
import pytest
from rich.style import Style

from streams.notifications.priority import Priority
from tocsin.cli.common.colours import coloured, rich_style


@pytest.mark.parametrize("priority", list(Priority))
def test_each_priority_has_a_colour_of_its_own(priority: Priority) -> None:
    style = Style.parse(rich_style(priority))
    assert style.color is not None
    assert click.unstyle(coloured(priority)).strip() == priority.value
    assert coloured(priority) != click.unstyle(coloured(priority))
    assert [rich_style(each) for each in Priority].count(rich_style(priority)) == 1


def test_an_unknown_priority_is_shown_safely_and_without_a_colour() -> None:
    assert coloured("\x1b[31mURGENT") == r"\x1b[31mURGENT"
    assert coloured("") == "-"
    assert rich_style("URGENT") == ""
