"""Replays of dead letters by the page and the API: who may, and what another site can do."""

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
from streams.notifications.notification import Reason
from tables.views import access as access_module
from tables.views import changes as changes_module
from tests.unit.tables.views.dead_letters_kit import (
    CHANGE,
    CHANGER,
    PATH,
    READ,
    READER,
    REPLAY,
    UNTIL,
    page,
    post,
    sign_in,
    signed_client,
    with_letters,
)
from tests.unit.tables.views.views_kit import NOW_S, FakeSources, served


@pytest.fixture
def fake() -> FakeSources:
    return with_letters()


@pytest.fixture
async def client(fake: FakeSources) -> AsyncIterator[aiohttp.ClientSession]:
    async with signed_client(fake) as made:
        yield made


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
