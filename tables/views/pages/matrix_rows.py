"""Rows of the table of counts as HTML.

A page may have 2,000 of them. A row is put together here in one step, and not by the template, where each of
its parts would be one.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from markupsafe import Markup, escape

from streams.notifications.visible import visible
from tables.views.matrix import MatrixRow
from tables.views.pages.links import event_address
from tables.views.pages.step_charts import step_chart
from tables.views.pages.templating import breakable, cut, number, rate

#: Characters of a name in this table, so that a page of long names is not large; its own page has it whole.
MOST_NAME: Final = 100
_DAY_S: Final = 86_400
_NEVER: Final = "\u2013"


def short_time(seen_ms: int, now_s: float) -> str:
    """A time of today as its hours, minutes and seconds, and of another day with its date; in UTC."""
    if seen_ms <= 0:
        return _NEVER
    try:
        seen = datetime.fromtimestamp(seen_ms / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return _NEVER
    if seen_ms // 1000 // _DAY_S == int(now_s) // _DAY_S:
        return f"{seen:%H:%M:%S}"
    return f"{seen:%Y-%m-%d %H:%M}"


class RowWriter:
    """Writes rows.

    Args:
        columns: every priority, by its place.
        places: of those that are shown.
        window: of the page that a row leads to; "" for its own.
        now_s: seconds since 1970.
    """

    def __init__(self, columns: Sequence[str], places: Sequence[int], window: str, now_s: float) -> None:
        self._columns = [(place, columns[place]) for place in places]
        self._window = window
        self._now_s = now_s

    def written(self, row: MatrixRow, trend: Sequence[int]) -> Markup:
        """A row, and its chart."""
        address = escape(event_address(row.event_type, window=self._window))
        name = breakable(cut(visible(row.event_type[: MOST_NAME + 1]), MOST_NAME))
        key = zlib.crc32(row.event_type.encode("utf-8", "surrogatepass"))
        parts = [f'<tr data-key="{key:x}"><th scope=row><a href="{address}">{name}</a></th>']
        for place, column in self._columns:
            count = row.counts[place]
            if count:
                parts.append(
                    f'<td><a href="{address}&amp;priority={escape(column)}">{number(count)}</a></td>'
                )
            else:
                parts.append("<td>0</td>")
        seen = short_time(row.last_seen_ms, self._now_s)
        parts.append(
            f"<td>{number(row.total)}</td><td>{escape(rate(row.rate))}</td>"
            f"<td>{step_chart(trend)}</td><td>{seen}</td></tr>\n"
        )
        return Markup("".join(parts))  # noqa: S704 - what publishers chose is escaped above
