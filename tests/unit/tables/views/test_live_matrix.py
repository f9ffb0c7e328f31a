"""The table of counts as of now: once per change, and in pieces that hold nothing up."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tables.views import reader_lane
from tables.views.live_counts import LiveCounts
from tables.views.live_matrix import LiveMatrix
from tables.views.matrix import MatrixQuery
from tables.views.pages.step_charts import step_chart, step_path
from tests.unit.tables.views.test_answers import _NeverRests, turns_while
from tests.unit.tables.views.views_kit import NOW_S, FakeSources, fill, served

ROWS = 2000


def sources(rows: int = ROWS) -> FakeSources:
    """Sources with many event types."""
    fake = FakeSources()
    fill(fake.totals, {("INFO", f"type.{n}"): {NOW_S - 5 - 60 * (n % 50): n + 1} for n in range(rows)})
    return fake


async def asked(matrix: LiveMatrix, query: MatrixQuery) -> list[list[int]]:
    """Charts of all rows that a query asks for."""
    _, found = await matrix.find(query)
    assert len(found.rows) == found.matched
    _, _, trends = await matrix.trends(query.window, [row.event_type for row in found.rows], ["INFO"])
    return trends


async def test_a_table_is_made_in_pieces_between_which_all_else_gets_many_turns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reader_lane, "PIECE_S", 0.0)
    query = MatrixQuery(window="1h", limit=ROWS)

    async def turns() -> int:
        fake = sources()
        return await turns_while(asked(LiveMatrix(fake, LiveCounts(fake, lambda: NOW_S)), query))

    # Rows are looked at 50 at a time, twice, and a chart is made in a piece of its own.
    assert await turns() >= (2 * ROWS / 50 + ROWS) * 16
    monkeypatch.setattr(reader_lane, "Pieces", _NeverRests)
    assert await turns() < 100, "the control holds the loop, and that shows"


async def test_a_page_of_2000_rows_is_written_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader_lane, "PIECE_S", 0.0)

    async def turns() -> int:
        async with served(sources()) as client:

            async def read() -> None:
                # A packed page is packed in a thread, which is waited for.
                as_it_is = {"Accept-Encoding": "identity"}
                async with client.get(f"/counts?window=1h&limit={ROWS}", headers=as_it_is) as answer:
                    assert answer.status == 200

            return await turns_while(read())

    assert await turns() >= 3 * ROWS * 16, "each chart, and each row twice: made, and put into the page"
    monkeypatch.setattr(reader_lane, "Pieces", _NeverRests)
    assert await turns() < 3 * ROWS


async def test_a_table_is_used_again_until_the_counts_are_others() -> None:
    fake, now = sources(60), 100.0
    live = LiveCounts(fake, lambda: NOW_S, lambda: now)
    matrix = LiveMatrix(fake, live)
    query = MatrixQuery(window="1h", limit=ROWS)
    first = await matrix._table("1h")
    before = await asked(matrix, query)
    fill(fake.totals, {("ERROR", "new"): {NOW_S - 5: 1}})
    assert await matrix._table("1h") is first
    assert await asked(matrix, query) == before
    now += 2
    assert await matrix._table("1h") is not first
    assert len(await asked(matrix, query)) == len(before) + 1


async def test_charts_that_were_cancelled_in_the_middle_are_made_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reader_lane, "PIECE_S", 0.0)
    fake = sources()
    names = [f"type.{n}" for n in range(ROWS)]
    for turns in range(0, 600, 45):
        matrix = LiveMatrix(fake, LiveCounts(fake, lambda: NOW_S))
        task = asyncio.create_task(matrix.trends("1h", names, ["INFO"]))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        first, span, found = await matrix.trends("1h", names, ["INFO"])
        assert first == NOW_S - 19 * 180
        assert span.words == "hour"
        assert [sum(values) for values in found] == [n + 1 for n in range(ROWS)]


async def test_the_rate_is_that_of_the_last_minute_whatever_the_window() -> None:
    fake = FakeSources()
    fill(fake.totals, {("INFO", "a"): {NOW_S - 5: 66, NOW_S - 600: 1000}})
    fake.as_of = NOW_S + 6
    matrix = LiveMatrix(fake, LiveCounts(fake, lambda: NOW_S))
    for window in ("1m", "24h", "total"):
        _, found = await matrix.find(MatrixQuery(window=window))
        assert found.rows[0].rate == 1.0, "it begins at the edge of a bucket, 66 s ago"


@given(st.lists(st.integers(0, 10**9), max_size=40))
def test_a_chart_of_steps_shows_each_value_at_its_height(values: list[int]) -> None:
    path, largest = step_path(values, max(values, default=0), 9), max(values, default=0)
    shown: list[int] = []
    for part in path.removeprefix("M0 9").removesuffix("V9z").split("V")[1:]:
        top, _, length = part.partition("h")
        shown += [9 - int(top)] * int(length)
    if not any(values):
        assert path == ""
        return
    assert len(shown) == len(values)
    for value, height in zip(values, shown, strict=True):
        assert (height > 0) == (value > 0), "what is there can be seen"
        assert value == 0 or height == 1 or abs(height - 9 * value / largest) <= 0.5
    assert "aria-hidden" in step_chart(values)
