"""Small charts for tables of many rows, in as few bytes as they can be told. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Final

#: Each height of a bar is one figure.
_HEIGHT: Final = 9


def step_path(values: Sequence[int], largest: int, height: int = _HEIGHT) -> str:
    """Values as the outline of their bars: one unit wide each, and ``height`` for ``largest``.

    Args:
        values: none is below 0.
        largest: which has the full height; 0 only where all values are.
        height: in units.

    Returns:
        data of a ``path``; "" where all values are 0.
    """
    if not any(values):
        return ""
    # What is there can be seen, however small it is beside the largest.
    tops = [max(1, round(height * value / largest)) if value else 0 for value in values]
    path = [f"M0 {height}"]
    path += [f"V{height - top}h{len(list(same))}" for top, same in groupby(tops)]
    return "".join(path) + f"V{height}z"


def step_chart(values: Sequence[int]) -> str:
    """A chart beside the numbers that say the same, as HTML; the largest is as high as the chart."""
    return (
        f'<svg viewBox="0 0 {len(values)} {_HEIGHT}" preserveAspectRatio=none aria-hidden=true>'
        f'<path d="{step_path(values, max(values, default=0))}"/></svg>'
    )
