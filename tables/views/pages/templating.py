"""The templates of all pages, and how numbers and names are written in them."""

from __future__ import annotations

import re
from functools import cache, partial
from typing import Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from streams.notifications.visible import visible
from streams.quantities import either, quantity
from tables.views.pages.charts import sparkline
from tables.views.pages.links import event_address
from tables.views.times import age
from tables.views.units import byte_size

#: Characters of a name in a table; its own page has it whole.
MOST_NAME: Final = 200


def number(value: float) -> str:
    """A whole number with thin spaces between thousands."""
    return f"{round(value):,}".replace(",", "\u202f")


def short(value: float) -> str:
    """A whole number, from 10,000 on with three digits that count: ``31.5 k``, ``1.21 M``."""
    if value < 9999.5:
        return number(value)
    for unit, scale in (("k", 1e3), ("M", 1e6)):
        if value < 999.5 * scale:
            return f"{_three_digits(value / scale)}\u202f{unit}"
    return f"{_three_digits(value / 1e9)}\u202fG"


def _three_digits(value: float) -> str:
    return f"{value:.2f}" if value < 9.995 else f"{value:.1f}" if value < 99.95 else number(value)


def percent(value: float, places: int = 1) -> str:
    """So many of a hundred, with its sign, which does not come into another line."""
    return f"{value:.{places}f}\u00a0%"


def rate(per_second: float) -> str:
    """A rate with two digits that count, or none behind the point where it is large."""
    if per_second >= 99.5:
        return number(per_second)
    if per_second >= 9.95:
        return f"{per_second:.0f}"
    if per_second >= 0.995:
        return f"{per_second:.1f}"
    return "0" if per_second <= 0 else f"{per_second:.2g}" if per_second >= 0.01 else "< 0.01"


def cut(text: str, most: int = MOST_NAME) -> str:
    """``text``, or its beginning and "…" where it is longer than ``most`` characters."""
    return text if len(text) <= most else f"{text[:most]}…"


_BREAK_AFTER = re.compile(r"(?<=[./_:-])(?=.)")


def breakable(text: str) -> Markup:
    """``text``, escaped, that may wrap after its dots and the like; what cannot be seen in it is shown."""
    return Markup("<wbr>").join(escape(part) for part in _BREAK_AFTER.split(visible(text)))


@cache
def make_environment() -> Environment:
    """The templates of all pages, compiled: that takes many milliseconds, too many for a request."""
    environment = Environment(
        loader=PackageLoader("tables.views"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters |= {
        "age": age,
        "breakable": breakable,
        "byte_size": byte_size,
        "cut": cut,
        "either": either,
        "event_address": event_address,
        "number": number,
        "percent": percent,
        "quantity": partial(quantity, show=number),
        "rate": rate,
        "short": short,
        "sparkline": sparkline,
    }
    for name in environment.list_templates():
        environment.get_template(name)
    return environment
