"""Plots of benchmark results, as SVG files. matplotlib comes with ``make bench``; nothing else needs it."""

from __future__ import annotations

import math
import textwrap
from itertools import cycle
from pathlib import Path
from typing import Any

#: Colours that colour-blind readers can tell apart (Okabe and Ito 2008), each with a marker of its own.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D31")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
_LIMIT_COLOUR = "#B00020"


def lines(
    path: Path,
    title: str,
    x_label: str,
    y_label: str,
    series: dict[str, list[tuple[float, float]]],
    *,
    log_x: bool = False,
    log_y: bool = False,
    limit: float | None = None,
) -> Path:
    """One line per series of (x, y), and the target as a dashed line. NaN is left out.

    An infinite y is drawn above all others, as an open marker. With ``log_x``, x = 0 has its place left of
    the least other x.
    """
    figure, axes = _figure(title, 8.0, 5.0)
    finite = [y for points in series.values() for _, y in points if math.isfinite(y)]
    endless = 3.0 * max([*finite, limit or 0.0, 1e-9])
    kinds = cycle(zip(_COLOURS, _MARKERS, strict=True))
    for (name, points), (colour, marker) in zip(series.items(), kinds, strict=False):
        shown = sorted((x, endless if math.isinf(y) else y) for x, y in points if not math.isnan(y))
        lost = [(x, endless) for x, y in points if math.isinf(y)]
        axes.plot(*_apart(shown), color=colour, marker=marker, label=name, linewidth=1.6)
        if lost:
            axes.plot(*_apart(lost), color=colour, marker=marker, markerfacecolor="white", linestyle="none")
            axes.annotate("never", lost[-1], xytext=(4, 5), textcoords="offset points", color=colour)
    if log_x:
        _log_x(axes, sorted({x for points in series.values() for x, _ in points}))
    if log_y and finite:
        axes.set_yscale("log")
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    if limit is not None:
        axes.axhline(limit, color=_LIMIT_COLOUR, linestyle="--", linewidth=1.2, label=f"target {limit:,g}")
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), fontsize="small", frameon=False)
    return _save(figure, path)


def bars(
    path: Path,
    title: str,
    y_label: str,
    values: dict[str, tuple[float, float, float]],
    *,
    log_y: bool = False,
    limit: float | None = None,
) -> Path:
    """One bar per name, of the median, with a whisker from least to greatest; the target as a dashed line.

    The bars lie on their side, so that long names can be read: ``y_label`` and ``log_y`` are of the axis of
    the values. What is not finite has no bar.
    """
    known = {name: value for name, value in values.items() if all(map(math.isfinite, value))}
    figure, axes = _figure(title, 8.0, 1.4 + 0.55 * max(1, len(values)))
    names = list(values)
    for place, name in enumerate(names):
        if name not in known:
            axes.annotate(" none", (0.0, place), xycoords=("axes fraction", "data"), va="center")
            continue
        median, least, greatest = known[name]
        axes.barh(
            place,
            median,
            color=_COLOURS[0],
            height=0.62,
            xerr=[[max(0.0, median - least)], [max(0.0, greatest - median)]],
            error_kw={"ecolor": "#333333", "capsize": 3, "linewidth": 1.0},
        )
        axes.annotate(
            f"{median:,.0f}" if abs(median) >= 100 else f"{median:.3g}",
            (max(median, greatest), place),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
        )
    axes.set_yticks(range(len(names)), [textwrap.fill(name, 32) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    if log_y and (positive := [value[1] for value in known.values() if value[1] > 0]):
        axes.set_xscale("log")
        axes.set_xlim(left=10 ** math.floor(math.log10(min(positive)) - 0.3))
    axes.margins(x=0.15)
    axes.set_xlabel(y_label)
    if limit is not None:
        axes.axvline(limit, color=_LIMIT_COLOUR, linestyle="--", linewidth=1.2, label=f"target {limit:,g}")
        axes.legend(loc="best", fontsize="small", frameon=False)
    return _save(figure, path)


def _figure(title: str, width: float, height: float) -> tuple[Any, Any]:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(width, height), layout="constrained")
    axes.set_title(textwrap.fill(title, 80), loc="left", fontsize="medium")
    axes.grid(visible=True, which="major", color="#DDDDDD", linewidth=0.7)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure, axes


def _log_x(axes: Any, xs: list[float]) -> None:
    positive = [x for x in xs if x > 0]
    if not positive:
        return
    if xs[0] <= 0:
        axes.set_xscale("symlog", linthresh=positive[0], linscale=0.7)
    else:
        axes.set_xscale("log")
    axes.set_xticks(xs, [_short(x) for x in xs])
    axes.minorticks_off()


def _short(value: float) -> str:
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


def _apart(points: list[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [x for x, _ in points], [y for _, y in points]


def _save(figure: Any, path: Path) -> Path:
    from matplotlib import pyplot

    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="svg", metadata={"Date": None})
    pyplot.close(figure)
    return path
