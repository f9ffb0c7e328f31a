"""The way of a notification as a drawing, made of numbers and names alone. Pure.

From left to right: a topic of each priority, the workers that take from them by their shares, and the topics
that they write to. How wide a line is tells the rate, and its figure stands beside it; the tables of the page
say the same.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from markupsafe import Markup

from streams.notifications.visible import visible
from streams.quantities import quantity
from tables.fleet.totals import ClassTotals
from tables.views.pages.templating import cut, number, percent, rate
from tables.views.times import age

_ROW: Final = 56
_TOP: Final = 44
_WIDTH: Final = 960
#: Left edges of the three columns, and their widths.
_TOPICS, _TOPICS_WIDTH = 2, 190
_WORKERS, _WORKERS_WIDTH = 420, 170
_ENDS, _ENDS_WIDTH = 758, 200
_THINNEST, _WIDEST = 1.5, 14.0
_MOST_NAME: Final = 22
_NOT_KNOWN: Final = "not known"


@dataclass(frozen=True, slots=True)
class Drawn:
    """What the drawing shows.

    Attributes:
        classes: name of a priority, its topic, and what it has and gets on all workers; None where no worker
            that was heard from says so.
        workers: how many were heard from, and how many of them are ready.
        counts_topic: where counts go to.
        dead_letters: that there are, since the workers that were heard from started.
    """

    classes: Sequence[tuple[str, str, ClassTotals | None]]
    workers: tuple[int, int]
    counts_topic: str
    dead_letters_topic: str
    dead_letters: int


def width_of(per_second: float) -> float:
    """Width of a line for a rate: by its magnitude, and never thinner than can be seen."""
    return min(_WIDEST, _THINNEST + 2.5 * math.log10(1 + max(0.0, per_second)))


def flow_drawing(drawn: Drawn) -> Markup:
    """The drawing as an ``svg`` element with the class ``flow``."""
    rows = max(3, len(drawn.classes))
    height = _TOP + rows * _ROW + 8
    parts = [
        Markup('<text class="head" x="{}" y="20">{}</text>').format(x, words)
        for x, words in ((_TOPICS, "Notifications"), (_WORKERS, "Workers"), (_ENDS, "Results"))
    ]
    parts.append(
        Markup('<rect class="box" x="{}" y="{}" width="{}" height="{}" rx="8"/>').format(
            _WORKERS, _TOP - 10, _WORKERS_WIDTH, rows * _ROW
        )
    )
    for place, (name, topic, totals) in enumerate(drawn.classes):
        parts += _class_row(_TOP + place * _ROW, name, topic, totals)
    found = [totals for _, _, totals in drawn.classes if totals is not None]
    counted = math.fsum(each.counted_per_s for each in found)
    forwarded = math.fsum(each.forwarded_per_s for each in found)
    workers, ready = drawn.workers
    dead = f"{number(drawn.dead_letters)} since the start" if workers else _NOT_KNOWN
    ends = (
        ("Counts", drawn.counts_topic, f"{rate(counted)}/s" if found else _NOT_KNOWN, counted),
        ("Alerts", "alert topics", f"{rate(forwarded)}/s" if found else _NOT_KNOWN, forwarded),
        ("Dead letters", drawn.dead_letters_topic, dead, 0.0),
    )
    step = rows * _ROW / len(ends)
    for place, (name, topic, words, per_s) in enumerate(ends):
        parts += _end_row(_TOP + step * place + (step - _ROW) / 2, name, topic, words, per_s)
    rates = (
        f"{rate(counted)} a second counted, {rate(forwarded)} forwarded"
        if found
        else "how many are counted and forwarded is not known"
    )
    label = (
        f"The way of a notification: {quantity(len(drawn.classes), 'topic')} of notifications, "
        f"{quantity(workers, 'worker')}, {ready} ready, {rates}. The tables below say the same."
    )
    return Markup(
        '<svg class="flow" viewBox="0 0 {} {:.0f}" role="img" focusable="false" aria-label="{}">{}</svg>'
    ).format(_WIDTH, height, label, Markup("").join(parts))


def _class_row(top: float, name: str, topic: str, totals: ClassTotals | None) -> list[Markup]:
    middle = top + _ROW / 2 - 10
    begin, end = _TOPICS + _TOPICS_WIDTH, _WORKERS
    x, y, bar = _WORKERS + 12, middle + 4, _WORKERS_WIDTH - 24
    track = Markup('<rect class="track" x="{}" y="{:.1f}" width="{}" height="8"/>').format(x, y, bar)
    share = Markup('<text class="share" x="{}" y="{:.1f}">{}</text>')
    box = _box(_TOPICS, middle, _TOPICS_WIDTH, name, topic)
    if totals is None:
        return [
            box,
            _line(begin, middle, end, middle, 0.0),
            _words((begin + end) / 2, middle - 10, _NOT_KNOWN, "rate"),
            _words((begin + end) / 2, middle + 20, _NOT_KNOWN, "waits"),
            track,
            share.format(x, middle - 2, _NOT_KNOWN),
        ]
    waits = f"lag {number(totals.lag_records)}" if totals.lag_records else "nothing waits"
    if totals.lag_records and totals.oldest_age_s >= 1:
        waits += f", oldest {age(totals.oldest_age_s)}"
    return [
        box,
        _line(begin, middle, end, middle, totals.counted_per_s),
        _words((begin + end) / 2, middle - 10, f"{rate(totals.counted_per_s)}/s", "rate"),
        _words((begin + end) / 2, middle + 20, waits, "waits late" if totals.lag_records else "waits"),
        track,
        Markup(
            '<rect class="bar" x="{x}" y="{y:.1f}" width="{got:.2f}" height="8"/>'
            '<rect class="due" x="{due:.2f}" y="{y:.1f}" width="1.5" height="8"/>'
        ).format(
            x=x,
            y=y,
            got=bar * totals.achieved_share,
            due=x + (bar - 1.5) * totals.configured_share,
        ),
        share.format(
            x,
            middle - 2,
            f"{percent(100 * totals.achieved_share)}, due {percent(100 * totals.configured_share)}",
        ),
    ]


def _end_row(top: float, name: str, topic: str, words: str, per_second: float) -> list[Markup]:
    middle = top + _ROW / 2 - 10
    begin = _WORKERS + _WORKERS_WIDTH
    return [
        _line(begin, middle, _ENDS, middle, per_second),
        _words((begin + _ENDS) / 2, middle - 10, words, "rate"),
        _box(_ENDS, middle, _ENDS_WIDTH, name, topic),
    ]


def _box(x: float, middle: float, width: float, name: str, topic: str) -> Markup:
    return Markup(
        '<rect class="box" x="{x}" y="{y:.1f}" width="{width}" height="44" rx="8"/>'
        '<text class="name" x="{text}" y="{first:.1f}">{name}</text>'
        '<text class="topic" x="{text}" y="{second:.1f}">{topic}</text>'
    ).format(
        x=x,
        y=middle - 22,
        width=width,
        text=x + 12,
        first=middle - 4,
        second=middle + 14,
        name=cut(visible(name), _MOST_NAME),
        topic=cut(visible(topic), _MOST_NAME),
    )


def _line(x1: float, y1: float, x2: float, y2: float, per_second: float) -> Markup:
    kind = "way" if per_second > 0 else "way still"
    return Markup('<line class="{}" x1="{}" y1="{:.1f}" x2="{}" y2="{:.1f}" stroke-width="{:.1f}"/>').format(
        kind, x1, y1, x2, y2, width_of(per_second)
    )


def _words(x: float, y: float, words: str, kind: str) -> Markup:
    return Markup('<text class="{}" x="{}" y="{:.1f}" text-anchor="middle">{}</text>').format(
        kind, x, y, words
    )
