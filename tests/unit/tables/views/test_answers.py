"""Answers that are kept: for how long, how many, and how they are sent."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Iterator
from typing import Any

import aiohttp
import pytest

from tables.views import reader_lane
from tables.views.answers import AS_OF_HEADER, Answer, Answers, json_answer
from tables.views.live_counts import LiveCounts
from tables.views.reader_lane import Pieces, ReaderLane
from tests.unit.tables.views.views_kit import NOW_S, FakeSources, fill, sample, served


class Maker:
    """Makes answers, and counts them."""

    def __init__(self, size: int = 10) -> None:
        self.size = size
        self.made = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self) -> Answer:
        self.made += 1
        await self.gate.wait()
        return Answer(b"x" * self.size, str(self.made))


async def test_an_answer_is_made_once_for_as_long_as_its_basis_holds() -> None:
    answers, make, basis = Answers(), Maker(), object()
    first = await answers.get("a", basis, make)
    assert await answers.get("a", basis, make) is first
    assert make.made == 1
    assert await answers.get("a", object(), make) is not first
    assert await answers.get("b", basis, make) is not first
    assert make.made == 3
    assert len(answers) == 2


async def test_all_who_ask_at_a_time_share_one_answer_though_the_first_goes() -> None:
    answers, make, basis = Answers(), Maker(), object()
    make.gate.clear()
    asked = [asyncio.create_task(answers.get("a", basis, make)) for _ in range(10)]
    other = asyncio.create_task(answers.get("a", object(), make))
    await asyncio.sleep(0)
    asked[0].cancel()
    await asyncio.sleep(0)
    make.gate.set()
    found = await asyncio.gather(*asked[1:])
    assert make.made == 2
    assert all(each is found[0] for each in found)
    assert await other is not found[0]
    with pytest.raises(asyncio.CancelledError):
        await asked[0]


async def test_what_cannot_be_made_is_not_kept() -> None:
    answers, basis = Answers(), object()

    async def fails() -> Answer:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await answers.get("a", basis, fails)
    assert len(answers) == 0
    assert (await answers.get("a", basis, Maker())).body == b"x" * 10


async def test_answers_are_bounded_in_number_and_those_asked_for_last_stay() -> None:
    answers, make, basis = Answers(most=3), Maker(), object()
    for key in "abca":
        await answers.get(key, basis, make)
    await answers.get("d", basis, make)
    assert (len(answers), make.made) == (3, 4)
    await answers.get("a", basis, make)
    assert make.made == 4
    await answers.get("b", basis, make)
    assert make.made == 5


async def test_answers_are_bounded_in_bytes_those_of_keys_and_packed_bodies_included() -> None:
    answers, make, basis = Answers(most_bytes=1000), Maker(300), object()
    kept = [await answers.get(key, basis, make) for key in "abc"]
    assert (len(answers), answers.size) == (3, 900)
    kept[2].packed = b"y" * 200
    answers.bound()
    assert (len(answers), answers.size) == (2, 800)
    await answers.get("d", basis, make, key_bytes=400)
    assert (len(answers), answers.size) == (1, 700)
    await answers.get("e", basis, Maker(2000))
    assert (len(answers), answers.size) == (0, 0)


def test_an_etag_is_of_everything_but_the_time() -> None:
    first = json_answer(b'{"as_of":"2026-11-01T12:00:00Z","complete":true}', "2026-11-01T12:00:00Z")
    assert first.etag == json_answer(b'{"as_of":null,"complete":true}', None).etag
    assert first.etag != json_answer(b'{"as_of":null,"complete":false}', None).etag


# ---------------------------------------------------------------- over HTTP


PATHS = [
    "/api/v1/counts",
    "/api/v1/counts?window=24h&sort=event_type",
    "/api/v1/counts/volume.create.end",
    "/static/page.css",
]


@pytest.fixture
def fake() -> FakeSources:
    """Sources with some counts."""
    return sample()


@pytest.mark.parametrize("path", PATHS)
async def test_who_has_an_answer_gets_304(fake: FakeSources, path: str) -> None:
    async with served(fake) as client:
        async with client.get(path) as answer:
            etag, body = answer.headers["ETag"], await answer.read()
            assert answer.headers["Cache-Control"] == "private, no-cache"
            assert answer.headers["Vary"] == "Accept-Encoding"
        for given in (etag, f'"x", {etag}', "*"):
            async with client.get(path, headers={"If-None-Match": given}) as answer:
                assert (answer.status, await answer.read()) == (304, b"")
                assert answer.headers["ETag"] == etag
                assert "nosniff" in answer.headers["X-Content-Type-Options"]
        async with client.get(path, headers={"If-None-Match": 'W/"x"'}) as answer:
            assert (answer.status, await answer.read()) == (200, body)
        async with client.head(path) as answer:
            assert answer.headers["ETag"] == etag


async def test_another_count_is_another_answer(fake: FakeSources) -> None:
    async with served(fake) as client:
        async with client.get("/api/v1/counts?window=5m") as answer:
            etag = answer.headers["ETag"]
            assert answer.headers[AS_OF_HEADER] == "2026-11-01T12:00:00.500Z"
            assert (await answer.json())["as_of"] == answer.headers[AS_OF_HEADER]
        fake.as_of += 1
        status = 304
        fill(fake.totals, {("CRITICAL", "new"): {NOW_S - 5: 1}})
        async with asyncio.timeout(30):
            while status == 304:  # for half a second, the answer is that of before
                async with client.get("/api/v1/counts?window=5m", headers={"If-None-Match": etag}) as answer:
                    status = answer.status
                    assert (answer.headers["ETag"] == etag) is (status == 304)
                await asyncio.sleep(0.05)
        assert answer.headers[AS_OF_HEADER] == "2026-11-01T12:00:01.500Z"


async def test_while_no_count_changes_the_etag_stays_and_the_time_moves_on(fake: FakeSources) -> None:
    async with served(fake) as client:
        async with client.get("/api/v1/counts?window=total") as answer:
            etag, as_of = answer.headers["ETag"], answer.headers[AS_OF_HEADER]
        fake.as_of += 1
        async with asyncio.timeout(30):
            while answer.headers[AS_OF_HEADER] == as_of:
                await asyncio.sleep(0.05)
                async with client.get(
                    "/api/v1/counts?window=total", headers={"If-None-Match": etag}
                ) as answer:
                    assert (answer.status, answer.headers["ETag"]) == (304, etag)


@pytest.mark.parametrize(
    ("accepted", "is_packed"),
    [
        ("gzip", True),
        ("br, GZIP;q=0.5", True),
        ("*", True),
        ("", False),
        ("br", False),
        ("gzip;q=0", False),
        ("gzip; q=0.0", False),
    ],
)
@pytest.mark.parametrize("path", ["/api/v1/counts?limit=1000", "/static/live.js", "/"])
async def test_large_answers_are_packed_for_who_takes_that(
    fake: FakeSources, path: str, accepted: str, is_packed: bool
) -> None:
    fill(fake.totals, {("INFO", f"type.{n}"): {NOW_S - 5: 1} for n in range(200)})
    async with (
        served(fake) as opened,
        aiohttp.ClientSession(opened._base_url, auto_decompress=False) as client,
    ):
        async with client.get(path, headers={"Accept-Encoding": "identity"}) as answer:
            plain = await answer.read()
            assert "Content-Encoding" not in answer.headers
        async with client.get(path, headers={"Accept-Encoding": accepted}) as answer:
            body = await answer.read()
            assert (answer.headers.get("Content-Encoding") == "gzip") is is_packed
        assert (gzip.decompress(body) if is_packed else body) == plain
        assert (len(body) < len(plain) / 2) is is_packed


async def test_what_is_not_of_the_counts_is_not_to_be_kept(fake: FakeSources) -> None:
    async with served(fake) as client:
        for path in ("/api/v1/scheduler", "/metrics", "/readyz", "/api/v1/counts?x=1", "/nothing"):
            async with client.get(path, headers={"If-None-Match": "*"}) as answer:
                assert answer.status != 304
                assert answer.headers["Cache-Control"] == "no-store"
                assert "ETag" not in answer.headers


# ---------------------------------------------------------------- in short pieces


class Turns:
    """Counts the turns of the event loop that everything else gets."""

    def __init__(self) -> None:
        self.number = 0
        self._task = asyncio.create_task(self._count())

    async def _count(self) -> None:
        while True:
            await asyncio.sleep(0)
            self.number += 1

    def end(self) -> int:
        self._task.cancel()
        return self.number


class _NeverRests(Pieces):
    async def rest(self) -> None:
        return


@pytest.fixture
def every_step_ends_a_piece(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(reader_lane, "PIECE_S", 0.0)
    return


ROWS = 6000


async def turns_while(work: Any) -> int:
    turns = Turns()
    await work
    return turns.end()


async def large_answers(fake: FakeSources) -> int:
    """Turns that all else gets while the answers to three questions are made, of 6,000 rows."""
    live = LiveCounts(fake, lambda: NOW_S)
    return await turns_while(asyncio.gather(*(live.snapshot(window) for window in ("5m", "24h", "total"))))


@pytest.mark.usefixtures("every_step_ends_a_piece")
async def test_a_large_answer_is_made_in_pieces_between_which_all_else_gets_many_turns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fake = FakeSources()
    fill(fake.totals, {("INFO", f"type.{n}"): {NOW_S - 5: 1} for n in range(ROWS)})
    # Each window looks at every row, at most 100 in a piece.
    assert await large_answers(fake) >= 3 * ROWS / 100 * 16
    monkeypatch.setattr(reader_lane, "Pieces", _NeverRests)
    assert await large_answers(fake) < 100, "the control holds the loop, and that shows"


@pytest.mark.usefixtures("every_step_ends_a_piece")
async def test_work_for_readers_takes_turns_and_only_one_piece_runs_at_a_time() -> None:
    lane, log = ReaderLane(), []

    async def work(name: str) -> None:
        async with lane.work() as pieces:
            for _ in range(3):
                log.append(name)
                await pieces.rest()

    turns = await turns_while(asyncio.gather(work("a"), work("b")))
    assert log == ["a", "b", "a", "b", "a", "b"]
    assert turns >= 6 * 16


@pytest.mark.usefixtures("every_step_ends_a_piece")
async def test_work_that_is_cancelled_leaves_the_lane() -> None:
    lane = ReaderLane()

    async def work() -> None:
        async with lane.work() as pieces:
            while True:
                await pieces.rest()

    for turns in range(60):  # in each of the places where it may wait
        tasks = [asyncio.create_task(work()) for _ in range(2)]
        for _ in range(turns):
            await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        async with asyncio.timeout(10), lane.work():
            pass


@pytest.mark.usefixtures("every_step_ends_a_piece")
async def test_sums_that_were_cancelled_in_the_middle_of_a_row_are_made_anew() -> None:
    fake = FakeSources()
    counts = {("INFO", f"type.{n}"): {NOW_S - 5: n + 1} for n in range(3 * 2000)}
    fill(fake.totals, counts)
    for turns in range(0, 200, 15):
        live = LiveCounts(fake, lambda: NOW_S)
        task = asyncio.create_task(live.snapshot("1m"))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        found = (await live.snapshot("1m")).items
        assert {item.event_type: item.count for item in found} == {
            event_type: sum(times.values()) for (_, event_type), times in counts.items()
        }
