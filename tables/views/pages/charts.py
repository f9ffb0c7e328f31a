"""Small charts as SVG, made of numbers alone. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from markupsafe import Markup, escape

_HEIGHT: Final = 20


def sparkline(values: Sequence[float], label: str = "") -> Markup:
    """A row of bars, the largest as high as the chart.

    Args:
        values: one for each bar, oldest first; none is below 0.
        label: what a screen reader says; "" where a number beside it says the same.

    Returns:
        an ``svg`` element with the class ``sparkline``; its bars are one ``path``.
    """
    largest = max(values, default=0)
    path = []
    for place, value in enumerate(values):
        if value > 0:
            # What is there can be seen, however small it is beside the largest.
            height = max(1.0, _HEIGHT * value / largest)
            path.append(f"M{place}.1 {_HEIGHT}v-{height:.4g}h.8V{_HEIGHT}z")
    told = Markup('role="img" aria-label="{}"').format(label) if label else Markup('aria-hidden="true"')
    return Markup(
        '<svg class="sparkline" viewBox="0 0 {} {}" preserveAspectRatio="none" focusable="false" {}>'
        '<path d="{}"/></svg>'
    ).format(max(1, len(values)), _HEIGHT, told, escape("".join(path)))
