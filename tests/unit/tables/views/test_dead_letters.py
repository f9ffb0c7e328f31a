"""Dead letters on the page and in the API: what is shown, and who may replay them."""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from lxml import html
from yarl import URL

from streams.dead_letters.reading import Wanted
from streams.dead_letters.topic import Note
from streams.notifications.masking import Masker
from streams.notifications.notification import Reason
from tables.views import access as access_module
from tables.views import changes as changes_module
from tests.unit.tables.views.views_kit import NOW_S, FakeSources, get, sample, served

READ, CHANGE = "token-to-read", "token-to-change-with"
PATH = "/api/v1/dead-letters"
REPLAY = f"{PATH}/replay"
UNTIL = str((NOW_S - 100 + 4) * 1000)
READER = {"Authorization": f"Bearer {READ}"}
CHANGER = {"Authorization": f"Bearer {CHANGE}"}


HOSTILE = b"\xff<script>alert(1)</script>\x00\xe2\x80\xae" + b"y" * 2000


def with_letters(masker: Masker | None = None) -> FakeSources:
    sources = sample()
    sources.letters.memory.masker = masker
    sources.letters.add(1)
    sources.letters.add(2, "null-value", topic="elsewhere")
    sources.letters.add(3, value=HOSTILE)
    sources.letters.add(4, "too-deep", topic="notifications.critical")
    return sources


@pytest.fixture
def fake() -> FakeSources:
    return with_letters()


@pytest.fixture
async def client(fake: FakeSources) -> AsyncIterator[aiohttp.ClientSession]:
    async with served(fake, web_token=READ, admin_token=CHANGE) as made:
        made._cookie_jar = aiohttp.CookieJar(unsafe=True)
        yield made


async def sign_in(client: aiohttp.ClientSession, token: str, **headers: str) -> None:
    async with client.post(
        "/sign-in", data={"token": token}, headers=headers, allow_redirects=False
    ) as answer:
        assert answer.status == 303


async def page(client: aiohttp.ClientSession, query: str = "", status: int = 200, **headers: str) -> str:
    async with client.get(f"/dead-letters{query}", headers={"Accept": "text/html"} | headers) as answer:
        assert answer.status == status
        return await answer.text()


async def post(client: aiohttp.ClientSession, form: dict[str, str], **headers: str) -> tuple[int, str]:
    async with client.post("/dead-letters", data=form, headers=headers, allow_redirects=False) as answer:
        return answer.status, answer.headers.get("Location", await answer.text())


# --- What is shown -------------------------------------------------------------------------------


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


# --- Who may replay ------------------------------------------------------------------------------


async def test_a_form_replays_and_leads_back_to_what_was_done(
    client: aiohttp.ClientSession, fake: FakeSources, caplog: pytest.LogCaptureFixture
) -> None:
    await sign_in(client, CHANGE)
    assert 'name="id" value="source:3"' in await page(client)
    with caplog.at_level(logging.INFO):
        for form, wanted in (
            ({"id": "source:3"}, Wanted(ids=frozenset({"source:3"}))),
            ({"until": UNTIL, "reason": "not-json"}, Wanted(None, "not-json", int(UNTIL))),
            ({"until": UNTIL, "again": "yes"}, Wanted(None, None, int(UNTIL), again=True)),
        ):
            status, onward = await post(client, form)
            assert (status, onward[:18]) == (303, "dead-letters?done=")
            assert fake.letters.asked[-1] == wanted
            assert "replayed, 1 left out</h2>" in await page(client, onward.removeprefix("dead-letters"))
    assert re.search(
        r"replay of source:3: 1 replayed, .*; by session \S{6}, .*changing, from 127", caplog.text
    )
    assert CHANGE not in caplog.text
    async with client.get("/metrics") as answer:
        metrics = await answer.text()
    assert 'tocsin_web_changes_total{change="replay",outcome="done"} 3.0' in metrics
    assert 'tocsin_web_replayed_total{outcome="replayed"} 7.0' in metrics
    assert 'tocsin_web_replayed_total{outcome="left_out"} 3.0' in metrics


async def test_a_replay_leads_back_to_the_list_that_it_was_asked_for_on(
    client: aiohttp.ClientSession, fake: FakeSources
) -> None:
    shown = html.fromstring(await page(client, "?reason=not-json", **READER))
    (link,) = shown.xpath("//*[@id='replay-all']//a/@href")
    await sign_in(client, CHANGE)
    async with client.get(f"/{link}") as answer:
        assert answer.url.path_qs == "/dead-letters?reason=not-json", "so does signing in"
    shown = html.fromstring(await page(client, "?reason=not-json"))
    (everything,) = shown.xpath("//*[@id='replay-all']/form")
    assert everything.find("button").text_content() == "Replay all that are new with not-json (2)"
    one = shown.xpath("//tbody[@id='letters']//form")[0]
    for form, wanted in (
        (everything, Wanted(None, "not-json", int(UNTIL) - 1000)),
        (one, Wanted(ids=frozenset({"source:3"}))),
    ):
        status, onward = await post(client, dict(form.form_values()))
        assert status == 303
        assert fake.letters.asked[-1] == wanted
        led = html.fromstring(await page(client, onward.removeprefix("dead-letters")))
        text = led.text_content()
        assert "replayed, 1 left out" in text
        assert "Latest with the reason not-json" in text
        assert led.xpath("//*[@id='replay-all']//input[@name='reason']/@value") == ["not-json"]
    # What somebody else wrote as a reason stays one parameter of the address.
    hostile = "a&done=b#\r\nSet-Cookie: c=<d>"
    status, onward = await post(client, {"until": UNTIL, "reason": hostile})
    assert status == 303
    assert "Set-Cookie: " not in onward
    query = URL(onward).query
    assert (list(query), query["reason"]) == (["done", "reason"], hostile)


async def test_a_program_replays_with_the_token_for_changes(
    client: aiohttp.ClientSession, fake: FakeSources, caplog: pytest.LogCaptureFixture
) -> None:
    fake.letters.failing = 2
    basic = aiohttp.encode_basic_auth("alice\u202e", CHANGE)
    with caplog.at_level(logging.INFO):
        body = {"reason": "not-json", "until": "2026-11-01T12:00:00Z", "again": True}
        async with client.post(REPLAY, json=body, headers={"Authorization": basic}) as answer:
            assert answer.status == 200
            assert await answer.json() == {
                "replayed": 2,
                "failed": 2,
                "left_out": 1,
                "sentences": ["1 left out."],
            }
    assert fake.letters.asked == [Wanted(None, "not-json", NOW_S * 1000, again=True)]
    assert "by a token, as alice\\u202e, with the right of changing" in caplog.text
    async with client.post(REPLAY, json={"ids": ["source:1"]}, headers=CHANGER) as answer:
        assert answer.status == 200
    assert fake.letters.asked[1] == Wanted(ids=frozenset({"source:1"}))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"all": false}',
        b'{"all": true, "reason": "x"}',
        b'{"ids": []}',
        b'{"ids": [""]}',
        b'{"ids": "source:1"}',
        b'{"all": true, "until": "yesterday"}',
        b'{"all": true, "until": "9999999-01-01T00:00:00Z"}',
        b'{"all": true, "more": 1}',
        b'{"ids": ["\xff"]}',
    ],
)
async def test_what_is_not_clear_is_not_done(
    client: aiohttp.ClientSession, fake: FakeSources, body: bytes
) -> None:
    headers = CHANGER | {"Content-Type": "application/json"}
    async with client.post(REPLAY, data=body, headers=headers) as answer:
        assert answer.status == 400, await answer.text()
    async with client.post(REPLAY, data=body, headers=CHANGER) as answer:
        assert answer.status == 415
    await sign_in(client, CHANGE)
    for form in ({}, {"until": "x"}, {"until": "9" * 30}, {"reason": "not-json"}, {"until": "-1"}):
        assert (await post(client, form))[0] == 400  # type: ignore[arg-type]
    assert fake.letters.asked == []


async def test_a_reason_that_there_is_not_is_refused_with_those_that_there_are(
    client: aiohttp.ClientSession, fake: FakeSources
) -> None:
    fake.letters.add(5, "reason-of-a-newer-version")
    for wrong, named in (("notjson", "'notjson'"), ("<b>", "the one given")):
        async with client.post(REPLAY, json={"reason": wrong}, headers=CHANGER) as answer:
            assert answer.status == 400
            detail = (await answer.json())["detail"]
        assert detail == f"There is no reason {named}; use one of {', '.join(Reason)}."
        async with client.get(PATH, params={"reason": wrong}, headers=READER) as answer:
            assert (answer.status, (await answer.json())["detail"]) == (400, detail)
    assert fake.letters.asked == []
    # One that is known though nothing has it, and one that is not known though something has it.
    for reason, replayed in (("bad-utf8", 0), ("reason-of-a-newer-version", 1)):
        async with client.get(PATH, params={"reason": reason}, headers=READER) as answer:
            assert len((await answer.json())["items"]) == replayed
        async with client.post(REPLAY, json={"reason": reason}, headers=CHANGER) as answer:
            assert (await answer.json())["replayed"] == replayed


@pytest.mark.parametrize("who", ["nobody", "reader", "reading session", "wrong", "ended session"])
async def test_who_may_only_read_cannot_replay(
    client: aiohttp.ClientSession, fake: FakeSources, who: str
) -> None:
    headers = {"reader": READER, "wrong": {"Authorization": "Bearer wrong"}}.get(who, {})
    if "session" in who:
        await sign_in(client, READ if who == "reading session" else CHANGE)
    if who == "reading session":
        text = await page(client)
        assert "sign in with the token for changes" in text
        assert 'value="source:3"' not in text
    if who == "ended session":
        cookies = client.cookie_jar.filter_cookies(client._base_url)  # type: ignore[arg-type]
        cookie = cookies["tocsin-session"].value
        async with client.post("/sign-out", allow_redirects=False):
            pass
        headers = {"Cookie": f"tocsin-session={cookie}"}
        async with client.get(PATH, headers=headers) as answer:
            assert answer.status == 401, "who has kept the cookie is out, too"
    assert (await post(client, {"id": "source:3"}, **headers))[0] == 401
    async with client.post(REPLAY, json={"all": True}, headers=headers) as answer:
        assert answer.status == 401
    assert fake.letters.asked == []
    async with client.get("/metrics", headers=READER) as answer:
        assert 'tocsin_web_changes_total{change="replay",outcome="refused"} 2.0' in await answer.text()


async def test_without_a_token_for_changes_nobody_may(fake: FakeSources) -> None:
    async with served(fake, web_token=READ) as client:
        for headers in ({}, READER, CHANGER):
            status, body = await post(client, {"id": "source:3"}, **headers)
            assert status == 403
            assert "TOCSIN_ADMIN_TOKEN_FILE" in body
        assert "Replay from here is off" in await page(client, **READER)
    assert fake.letters.asked == []


async def test_where_all_may_read_one_signs_in_to_change(fake: FakeSources) -> None:
    async with served(fake, admin_token=CHANGE) as client:
        client._cookie_jar = aiohttp.CookieJar(unsafe=True)
        assert "sign in with the token for changes" in await page(client)
        assert (await post(client, {"id": "source:3"}))[0] == 401
        async with client.get("/sign-in?next=dead-letters") as answer:
            assert 'type="password"' in await answer.text()
        await sign_in(client, CHANGE)
        assert (await post(client, {"id": "source:3"}))[0] == 303
        async with client.get("/sign-in", allow_redirects=False) as answer:
            assert answer.status == 303, "there is nothing to gain"


# --- Another site --------------------------------------------------------------------------------

ELSEWHERE: list[dict[str, str]] = [
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://127.0.0.1"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Origin": "http://[", "X-Forwarded-Host": "["},
]


async def forged(client: aiohttp.ClientSession, headers: dict[str, str]) -> set[int]:
    """What a page of another site gets that lets a browser send forms and JSON with the cookie."""
    found = {(await post(client, {"id": "source:3"}, **headers))[0]}
    async with client.post(REPLAY, json={"all": True}, headers=headers) as answer:
        found.add(answer.status)
    return found


@pytest.mark.parametrize("headers", ELSEWHERE, ids=str)
async def test_another_site_cannot_replay_with_the_cookie(
    client: aiohttp.ClientSession, fake: FakeSources, headers: dict[str, str]
) -> None:
    await sign_in(client, CHANGE)
    assert await forged(client, headers) == {403}
    assert fake.letters.asked == []


async def test_control_without_the_check_another_site_could(
    client: aiohttp.ClientSession, fake: FakeSources, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So the tests above do test it. (A real browser would keep the strict cookie back.)"""
    monkeypatch.setattr(changes_module, "check_origin", lambda *_: None)
    await sign_in(client, CHANGE)
    assert await forged(client, ELSEWHERE[0]) == {303, 200}
    assert len(fake.letters.asked) == 2


async def test_control_without_the_right_being_asked_a_reader_could(
    client: aiohttp.ClientSession, fake: FakeSources, monkeypatch: pytest.MonkeyPatch
) -> None:
    def careless(self: access_module.Access, request: Any) -> Any:
        return self.visitor(request)

    monkeypatch.setattr(access_module.Access, "changer", careless)
    await sign_in(client, READ)
    assert (await post(client, {"id": "source:3"}))[0] == 303
    assert len(fake.letters.asked) == 1


async def test_its_own_page_may_and_programs_that_tell_no_origin(client: aiohttp.ClientSession) -> None:
    await sign_in(client, CHANGE)
    own = str(client._base_url).rstrip("/")
    for headers in ({"Origin": own}, {"Origin": own.upper()}, {"Sec-Fetch-Site": "same-origin"}, {}):
        assert (await post(client, {"id": "source:3"}, **headers))[0] == 303
