"""Dead letters on the page and in the API: what is shown."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import aiohttp
import pytest
from lxml import html

from streams.dead_letters.topic import Note
from streams.notifications.masking import Masker
from streams.notifications.notification import Reason
from tests.unit.tables.views.dead_letters_kit import (
    CHANGE,
    CHANGER,
    PATH,
    REPLAY,
    page,
    sign_in,
    signed_client,
    with_letters,
)
from tests.unit.tables.views.views_kit import NOW_S, FakeSources, get, sample, served


@pytest.fixture
def fake() -> FakeSources:
    return with_letters()


@pytest.fixture
async def client(fake: FakeSources) -> AsyncIterator[aiohttp.ClientSession]:
    async with signed_client(fake) as made:
        yield made


async def test_the_latest_are_told_and_the_sums(fake: FakeSources) -> None:
    async with served(fake) as client:
        found = await get(client, PATH)
        assert [item["offset"] for item in found["items"]] == [4, 3, 2, 1]
        assert found["sums"] == [
            {"reason": "not-json", "priority": "ERROR", "count": 2, "bytes": 2031},
            {"reason": "null-value", "priority": None, "count": 1, "bytes": 1},
            {"reason": "too-deep", "priority": "CRITICAL", "count": 1, "bytes": 1},
        ]
        assert (found["complete"], found["records"], found["listed"]) == (True, 7, 4)
        assert found["items"][0] == {
            "id": "source:4",
            "reason": "too-deep",
            "priority": "CRITICAL",
            "topic": "notifications.critical",
            "partition": 2,
            "offset": 4,
            "at": "1/104",
            "dead_since": "2026-11-01T11:58:24.000Z",
            "bytes": 1,
            "truncated": False,
            "state": "new",
            "replays": 0,
            "detail": None,
            "value": None,
        }
        for asked, offsets in (
            ({"reason": "not-json"}, [3, 1]),
            ({"priority": "critical"}, [4]),
            ({"limit": "1"}, [4]),
            ({"reason": "bad-utf8"}, []),
        ):
            items = (await get(client, PATH, **asked))["items"]
            assert [item["offset"] for item in items] == offsets
        for wrong in (
            {"limit": "0"},
            {"limit": "1001"},
            {"limit": "²"},
            {"priority": "x"},
            {"sort": "x"},
            {"reason": "none"},
        ):
            await get(client, PATH, 400, **wrong)


async def test_ids_and_names_of_others_are_escaped_and_can_be_asked_for_so() -> None:
    fake = FakeSources()
    hostile, shown = "\u202e\u200b<b>\x1b[2J", r"\u202e\u200b<b>\x1b[2J"
    fake.letters.add(1, reason=hostile, topic=hostile, letter_id=hostile)
    async with served(fake, admin_token=CHANGE) as client:
        async with client.get(PATH) as answer:
            text = await answer.text()
            item = (await answer.json())["items"][0]
        assert item["id"] == item["reason"] == item["topic"] == shown
        assert "\u202e" not in text
        assert "\u202e" not in await page(client)
        headers = {"Authorization": f"Bearer {CHANGE}"}
        async with client.post(f"{PATH}/replay", json={"ids": [item["id"]]}, headers=headers) as answer:
            assert (await answer.json())["replayed"] == 1


async def test_payloads_are_shown_only_where_that_is_allowed_and_escaped(fake: FakeSources) -> None:
    async with served(fake) as client:
        text = await page(client)
        assert "alert(1)" not in text
        assert "yyy" not in text
        assert {item["value"] for item in (await get(client, PATH))["items"]} == {None}
    shown = with_letters(Masker())
    shown.letters.add(5, value=b'{"password": "s3cret",')
    async with served(shown, web_payloads=True) as client:
        text = await page(client)
        assert "\\xff&lt;script&gt;" in text
        assert "<script>alert" not in text
        assert "\u202e" not in text
        assert "\x00" not in text
        assert "s3cret" not in text
        assert "<code>tocsin dead-letters show 1/105</code>" in text
        assert "y" * 400 in text
        assert "y" * 600 not in text
        value = (await get(client, PATH, reason="not-json"))["items"][1]["value"]
        assert value.startswith("\\xff<script>")
        assert "\u202e" not in value
        assert len(value) < 1200


@pytest.mark.parametrize("query", ["?reason=not-json", "?reason=%3Cscript%3E", "?done=nothing"])
async def test_the_page_takes_what_it_leads_to(fake: FakeSources, query: str) -> None:
    async with served(fake) as client:
        text = await page(client, query)
        assert "<script>" not in text.partition("<body>")[2]
        rows = len(re.findall(r'<tr data-key="source:', text))
        assert rows == {"?reason=not-json": 2, "?reason=%3Cscript%3E": 0, "?done=nothing": 4}[query]
        await page(client, "?x=1", 400)


async def test_one_button_does_what_it_says_in_each_state(
    fake: FakeSources, client: aiohttp.ClientSession
) -> None:
    await sign_in(client, CHANGE)
    history = fake.letters.memory.history
    history.notes["source:1"] = Note(1, NOW_S * 1000)
    history.came_back["source:2"] = "source:5"
    fake.letters.add(5, "null-value", topic="elsewhere", replays=1)
    found = html.fromstring(await page(client))
    forms = {}
    for row in found.xpath("//tbody[@id='letters']/tr"):
        state = row.xpath("td[last()-1]")[0].text_content()
        form = row.find(".//form")
        forms.setdefault(state, None if form is None else (form.text_content(), dict(form.form_values())))
        if state == "replayed":
            # What would be counted twice needs a tick, and the browser says so.
            assert form.find(".//input[@type='checkbox']").get("required") is not None
    assert forms == {
        "new": ("Replay", {"id": "source:4"}),
        "replayed": (" count it twiceReplay again", {"id": "source:1"}),
        "bad again": ("Replay again", {"id": "source:5", "again": "yes"}),
        "older": None,
    }
    both = found.get_element_by_id("replay-all").text_content()
    assert "also 1 bad again after a replay" in both
    assert "Replay all that are new (2)" in both
    # The other records of the topic, so that it agrees with what the API says.
    assert "All 5 dead letters of the topic. Its other 2 records are notes" in found.text_content()
    (form,) = html.fromstring(await page(client, "?reason=null-value")).xpath("//*[@id='replay-all']/form")
    assert form.find("button").text_content() == "Replay all once more that are bad again with null-value (1)"
    assert form.fields["again"] == "yes"


async def test_what_cannot_be_read_is_told(fake: FakeSources) -> None:
    fake.letters.trouble = "The topic dead-letters may not be read by this user: grant Read on it."
    async with served(fake, admin_token=CHANGE) as client:
        assert fake.letters.trouble in await page(client)
        problem = await get(client, PATH, 503)
        assert problem["detail"] == fake.letters.trouble
        async with client.post(REPLAY, json={"all": True}, headers=CHANGER) as answer:
            assert answer.status == 503
        async with client.get("/metrics") as answer:
            assert 'tocsin_web_changes_total{change="replay",outcome="failed"} 1.0' in await answer.text()


async def test_the_page_says_what_each_reason_means(fake: FakeSources) -> None:
    async with served(fake) as client:
        (told,) = html.fromstring(await page(client)).xpath("//details[@id='meanings']")
    rows = [[cell.text_content() for cell in row] for row in told.findall(".//tr")]
    assert [reason for reason, _ in rows] == list(Reason)
    assert dict(rows)["too-deep"] == "Objects and lists are nested deeper than TOCSIN_MAX_DEPTH."


async def test_an_empty_topic_says_what_would_be_there() -> None:
    async with served(sample()) as client:
        assert "There are no dead letters." in await page(client)
