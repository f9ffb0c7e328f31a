"""Signing in: the way there for a browser, a session that ends, and nothing that another site can do."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
from yarl import URL

from tables.views import sessions
from tables.views.sessions import COOKIE, MOST_WRONG, SESSION_S, WRONG_WINDOW_S, Sessions, WrongTokens
from tables.views.sign_in import _within
from tests.unit.tables.views.views_kit import FakeSources, sample, served

TOKEN = "t0ken"
BROWSER = {"Accept": "text/html,application/xhtml+xml"}


@pytest.fixture
def fake() -> FakeSources:
    return sample()


@pytest.fixture
async def client(fake: FakeSources) -> AsyncIterator[aiohttp.ClientSession]:
    async with served(fake, web_token=TOKEN) as made:
        # Cookies of an address go to it again.
        made._cookie_jar = aiohttp.CookieJar(unsafe=True)
        yield made


async def sign_in(
    client: aiohttp.ClientSession, token: str = TOKEN, onward: str = "", **headers: str
) -> tuple[int, str | None, str]:
    """Status, Location and Set-Cookie of the answer."""
    async with client.post(
        "/sign-in", data={"token": token, "next": onward}, headers=headers, allow_redirects=False
    ) as answer:
        return answer.status, answer.headers.get("Location"), answer.headers.get("Set-Cookie", "")


async def status(client: aiohttp.ClientSession, path: str, **headers: str) -> int:
    async with client.get(path, headers=headers, allow_redirects=False) as answer:
        return answer.status


async def test_a_browser_is_shown_the_way_signs_in_and_goes_on(client: aiohttp.ClientSession) -> None:
    wanted = "/?event_type=compute.*&window=1h"
    async with client.get(wanted, headers=BROWSER) as answer:
        assert answer.url.path == "/sign-in"
        text = await answer.text()
    assert 'type="password"' in text
    assert 'name="next" value="?event_type=compute.*&amp;window=1h"' in text
    done, onward, cookie = await sign_in(client, onward="?event_type=compute.*&window=1h")
    assert (done, onward) == (303, "./?event_type=compute.*&window=1h")
    assert {"HttpOnly", "SameSite=Strict", "Path=/", f"Max-Age={SESSION_S}"} <= set(cookie.split("; "))
    assert "Secure" not in cookie
    assert TOKEN not in cookie
    async with client.get(wanted, headers=BROWSER) as answer:
        assert answer.url.path == "/counts", "a bookmark of before there were several pages"
        assert "Sign out" in await answer.text()
    for path in ("/api/v1/counts", "/metrics"):
        assert await status(client, path) == 200
    async with client.post("/sign-out", allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Location"]) == (303, "sign-in")
    assert await status(client, "/api/v1/counts") == 401


@pytest.mark.parametrize("way", ["=", "==", "another last character"])
async def test_a_session_has_ended_however_its_signature_is_written(
    client: aiohttp.ClientSession, way: str
) -> None:
    """Base64 can be written in several ways; whoever has a copy of the cookie has all of them."""
    cookie = (await sign_in(client))[2].partition(";")[0]
    alike = cookie + way
    if way.startswith("another"):
        # 32 bytes leave two bits of the last character unused.
        letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
        alike = cookie[:-1] + letters[letters.index(cookie[-1]) ^ 1]
    client.cookie_jar.clear()
    assert await status(client, "/api/v1/counts", Cookie=alike) == 200
    async with client.post("/sign-out", headers={"Cookie": cookie}, allow_redirects=False) as answer:
        assert answer.status == 303
    assert await status(client, "/api/v1/counts", Cookie=cookie) == 401
    assert await status(client, "/api/v1/counts", Cookie=alike) == 401


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/x-www-form-urlencoded; charset=bogus", b"token=x"),
        ("application/x-www-form-urlencoded", b"token=\xff"),
        ("multipart/form-data", b"x"),
        ("multipart/form-data; boundary=b", b"garbage"),
        ("multipart/form-data; boundary=b", b"--b\r\n\r\nx\r\n--b--\r\n"),
    ],
)
async def test_a_form_that_cannot_be_read_is_refused(
    client: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture, content_type: str, body: bytes
) -> None:
    async with client.post("/sign-in", data=body, headers={"Content-Type": content_type}) as answer:
        assert answer.status == 400
    assert "Traceback" not in caplog.text, "nobody has to sign in to send it"


async def test_programs_are_told_401_as_ever(client: aiohttp.ClientSession) -> None:
    assert await status(client, "/") == 401
    assert await status(client, "/", Accept="*/*") == 401
    assert await status(client, "/", **BROWSER, Authorization="Bearer wrong") == 401
    assert await status(client, "/", **BROWSER, Authorization=f"Bearer {TOKEN}") == 200
    assert await status(client, "/", **BROWSER) == 303


async def test_a_wrong_token_opens_nothing_and_many_are_to_wait(client: aiohttp.ClientSession) -> None:
    for _ in range(MOST_WRONG):
        assert (await sign_in(client, "wrong"))[0] == 403
        assert await status(client, "/api/v1/counts") == 401
    async with client.post("/sign-in", data={"token": TOKEN}, allow_redirects=False) as answer:
        assert answer.status == 429
        assert 0 < int(answer.headers["Retry-After"]) <= WRONG_WINDOW_S
    # Whoever has a session, or sends the token, is not kept waiting.
    assert await status(client, "/api/v1/counts", Authorization=f"Bearer {TOKEN}") == 200


@pytest.mark.parametrize(
    "token", ["", " ", "\ud800".encode("utf-8", "surrogatepass").decode("latin-1"), "x" * 900]
)
async def test_whatever_is_given_is_no_error_of_ours(client: aiohttp.ClientSession, token: str) -> None:
    assert (await sign_in(client, token))[0] == 403


async def test_a_body_that_is_too_large_is_refused(client: aiohttp.ClientSession) -> None:
    assert (await sign_in(client, "x" * 5000))[0] == 413


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"Sec-Fetch-Site": "same-origin"}, 303),
        ({"Sec-Fetch-Site": "none"}, 303),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({}, 303),
    ],
)
async def test_another_site_can_neither_sign_in_nor_out(
    client: aiohttp.ClientSession, headers: dict[str, str], expected: int
) -> None:
    assert (await sign_in(client, **headers))[0] == expected
    async with client.post("/sign-out", headers=headers, allow_redirects=False) as answer:
        assert answer.status == expected


async def test_its_own_origin_is_taken(client: aiohttp.ClientSession) -> None:
    async with client.get("/sign-in") as answer:
        origin = str(answer.url.origin())
    assert (await sign_in(client, Origin=origin))[0] == 303


async def test_a_link_from_another_site_asks_once_more_with_the_cookie(client: aiohttp.ClientSession) -> None:
    """A strict cookie is kept back then: the page asks again by itself."""
    headers = BROWSER | {"Sec-Fetch-Site": "cross-site"}
    async with client.get("/?window=1h", headers=headers, allow_redirects=False) as answer:
        assert answer.status == 200
        assert 'content="0; url=./?window=1h"' in await answer.text()
    assert await status(client, "/?window=1h", **BROWSER | {"Sec-Fetch-Site": "same-origin"}) == 303


@pytest.mark.parametrize(
    "onward",
    [
        "//evil.example",
        "https://evil.example",
        "/x",
        "../x",
        "a/../../x",
        "a//b",
        "\\evil",
        "javascript:alert(1)",
        "a\r\nSet-Cookie: x=y",
        "é",
        "?" + "a" * 700,
        '?"><script>',
    ],
)
async def test_one_goes_on_within_the_web_views_alone(client: aiohttp.ClientSession, onward: str) -> None:
    assert _within(onward) == ""
    if len(onward) < 500:
        assert (await sign_in(client, onward=onward))[:2] == (303, "./")


@pytest.mark.timeout(30)
async def test_no_way_to_go_on_holds_the_server(client: aiohttp.ClientSession) -> None:
    onward = "a" * 500 + '"'
    assert _within(onward) == ""  # first: what never ends is stopped here, and not in a task of the server
    assert await status(client, f"/sign-in?next={quote(onward)}") == 200
    assert await status(client, f"/{quote(onward)}", **BROWSER) == 303
    assert await status(client, f"/{quote(onward)}", **BROWSER | {"Sec-Fetch-Site": "cross-site"}) == 200
    assert (await sign_in(client, onward=onward))[:2] == (303, "./")


@pytest.mark.parametrize("onward", ["", "?window=1h", "feeds/alerts.atom", "alerts/?a=b%20c", "a.b/c"])
def test_what_is_within_stays(onward: str) -> None:
    assert _within(onward) == onward


async def test_without_a_token_there_is_nothing_to_sign_in_to(fake: FakeSources) -> None:
    async with served(fake) as client:
        assert await status(client, "/sign-in") == 303
        assert (await sign_in(client))[:2] == (303, "./")
        async with client.get("/") as answer:
            assert "Sign out" not in await answer.text()


async def test_under_the_path_of_a_proxy_with_tls(fake: FakeSources) -> None:
    proxy = {"X-Forwarded-Proto": "https", "X-Forwarded-Prefix": "/ops"}
    async with served(fake, web_token=TOKEN, web_prefix="/tocsin", web_trusted_proxies="127.0.0.1") as client:
        async with client.get("/tocsin/?a=b", headers=BROWSER, allow_redirects=False) as answer:
            assert answer.headers["Location"] == "sign-in?next=%3Fa%3Db"
        async with client.post(
            "/tocsin/sign-in", data={"token": TOKEN}, headers=proxy, allow_redirects=False
        ) as answer:
            cookie = answer.headers["Set-Cookie"]
        assert {"Secure", "Path=/ops/tocsin/"} <= set(cookie.split("; "))
    async with served(fake, web_token=TOKEN) as client:
        assert "Secure" not in (await sign_in(client, **proxy))[2], "nobody said that it is a trusted proxy"


async def test_who_comes_without_the_path_is_led_to_where_the_cookie_is_sent(fake: FakeSources) -> None:
    settings = {"web_token": TOKEN, "web_prefix": "/a/tocsin", "web_trusted_proxies": "127.0.0.1"}
    async with served(fake, **settings) as client:
        client._cookie_jar = aiohttp.CookieJar(unsafe=True)
        async with client.get("/event?type=x", headers=BROWSER, allow_redirects=False) as answer:
            assert answer.headers["Location"] == "/a/tocsin/sign-in?led=page&next=event%3Ftype%3Dx"
        async with client.get("/sign-in?next=alerts", headers=BROWSER, allow_redirects=False) as answer:
            assert answer.headers["Location"] == "/a/tocsin/sign-in?led=form&next=alerts"
        done, onward, cookie = await sign_in(client, onward="counts?window=1h")
        assert (done, onward) == (303, "/a/tocsin/counts?window=1h")
        assert "Path=/a/tocsin/" in cookie.split("; ")
        for wanted in (str(onward), "/counts?window=1h"):
            async with client.get(wanted, headers=BROWSER) as answer:
                assert answer.url.path_qs == onward
                assert "Sign out" in await answer.text()
        # Programs get what they have asked for, and no other address.
        assert await status(client, "/api/v1/counts") == 401
        assert await status(client, "/counts", Authorization=f"Bearer {TOKEN}", **BROWSER) == 200
    async with served(fake, **settings) as client:
        for path, headers in (("/a/tocsin/", {}), ("/", {"X-Forwarded-Prefix": "/b"})):
            assert (await sign_in_at(client, f"{path}sign-in", **headers)) == "./counts"
            async with client.get(
                f"{path}alerts", headers=BROWSER | headers, allow_redirects=False
            ) as answer:
                assert answer.headers["Location"] == "sign-in?next=alerts"


ADMIN = "admin-0123456789abcdef"
PREFIX = "/a/tocsin"


async def test_who_has_signed_in_is_known_at_the_root_too(fake: FakeSources) -> None:
    """A reader used to see the page to sign in on again, where there was a token for changes as well."""
    async with served(fake, web_token=TOKEN, admin_token=ADMIN, web_prefix=PREFIX) as client:
        for token, shows_form in ((TOKEN, True), (ADMIN, False)):
            client._cookie_jar = aiohttp.CookieJar(unsafe=True)
            await sign_in(client, token)
            for path in ("/", "/counts?window=1h", "/alerts", "/dead-letters", PREFIX, f"{PREFIX}/"):
                async with client.get(path, headers=BROWSER) as answer:
                    assert answer.url.path.startswith(f"{PREFIX}/"), path
                    assert "Sign out" in await answer.text(), path
            # Only who may read can gain something there.
            async with client.get("/sign-in?next=alerts", headers=BROWSER) as answer:
                assert (answer.url.path == f"{PREFIX}/sign-in") == shows_form
                assert (answer.url.path == f"{PREFIX}/alerts") != shows_form


@pytest.mark.parametrize("tokens", [{"web_token": TOKEN, "admin_token": ADMIN}, {"web_token": TOKEN}])
@pytest.mark.parametrize("says_so", [True, False])
async def test_a_proxy_that_takes_the_path_out_sends_nobody_in_a_circle(
    fake: FakeSources, tokens: dict[str, str], says_so: bool
) -> None:
    """Though the path is set as one that it leaves in."""
    trusted = {"web_trusted_proxies": "127.0.0.1"} if says_so else {}
    async with served(fake, web_prefix=PREFIX, **tokens, **trusted) as client:
        client._cookie_jar = aiohttp.DummyCookieJar()
        kept: dict[str, str] = {}
        forwarded = {"X-Forwarded-Prefix": PREFIX} if says_so else {}

        async def gone(path: str) -> tuple[str, str]:
            """Where a browser ends up, and what it shows."""
            url = URL(f"http://proxy{PREFIX}{path}")
            for _ in range(6):
                inside = str(url.relative()).removeprefix(PREFIX)
                headers = BROWSER | forwarded | kept
                async with client.get(inside, headers=headers, allow_redirects=False) as answer:
                    if answer.status == 200:
                        return str(url.relative()), await answer.text()
                    url = url.join(URL(answer.headers["Location"]))
                    assert url.path.startswith(f"{PREFIX}/")
            raise AssertionError("it goes on and on")

        for path in ("/", "/counts?window=1h", "/sign-in", "/sign-in?next=alerts"):
            where, text = await gone(path)
            assert where.startswith(f"{PREFIX}/sign-in")
            assert "Sign in to Tocsin" in text
        _, _, cookie = await sign_in(client, **forwarded)
        assert f"Path={PREFIX}/" in cookie.split("; ")
        kept["Cookie"] = cookie.partition(";")[0]
        assert "Sign out" in (await gone("/"))[1]
        assert (await gone("/counts?window=1h"))[0] == f"{PREFIX}/counts?window=1h"


@pytest.mark.parametrize("path", ["/", "/counts?window=1h", "/api/v1/counts?window=1h", "/a/b/c", "/?a=/b"])
@pytest.mark.parametrize("prefix", ["", PREFIX])
async def test_a_link_of_another_site_leads_to_what_it_names(
    fake: FakeSources, path: str, prefix: str
) -> None:
    """The browser holds the cookie back, and asks once more by itself."""
    given = {"web_prefix": prefix} if prefix else {}
    async with served(fake, web_token=TOKEN, **given) as client:
        headers = BROWSER | {"Sec-Fetch-Site": "cross-site"}
        async with client.get(prefix + path, headers=headers, allow_redirects=False) as answer:
            (to,) = re.findall(r'href="([^"]*)"', await answer.text())
        assert URL(f"http://a{prefix}{path}").join(URL(to)) == URL(f"http://a{prefix}{path}")


async def sign_in_at(client: aiohttp.ClientSession, path: str, **headers: str) -> str:
    """Where it leads to."""
    data = {"token": TOKEN, "next": "counts"}
    async with client.post(path, data=data, headers=headers, allow_redirects=False) as answer:
        assert answer.status == 303
        return answer.headers["Location"]


async def test_a_session_changes_nothing(fake: FakeSources) -> None:
    async with served(fake, web_token=TOKEN, admin_token="admin-0123456789abcdef") as client:
        client._cookie_jar = aiohttp.CookieJar(unsafe=True)
        await sign_in(client)
        async with client.put("/api/v1/scheduler", json={"mode": "strict"}) as answer:
            assert answer.status == 401


# --- Sessions ------------------------------------------------------------------------------------


class Request:
    """As much of a request as is asked for."""

    def __init__(self, cookie: str | None) -> None:
        self.cookies = {} if cookie is None else {COOKIE: cookie}


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def begun(known: Sessions) -> str:
    response = aiohttp.web.Response()
    known.begin(response, path="/", secure=True)
    assert response.cookies[COOKIE]["secure"]
    return response.cookies[COOKIE].value


def holds(known: Sessions, cookie: str | None) -> bool:
    return known.is_in_one(Request(cookie))  # type: ignore[arg-type]


def test_a_session_is_known_by_all_who_have_the_token_until_it_ends() -> None:
    clock = Clock()
    here, there, other = Sessions(b"a", clock), Sessions(b"a", clock), Sessions(b"b", clock)
    cookie = begun(here)
    assert begun(here) != cookie
    assert holds(here, cookie)
    assert holds(there, cookie)
    assert not holds(other, cookie)
    clock.now += SESSION_S
    assert holds(here, cookie)
    clock.now += 1
    assert not holds(here, cookie)
    clock.now = 0.0
    assert not holds(here, cookie), "it began in the future"


@pytest.mark.parametrize("change", [0, 5, 16, 18, 22, -1])
def test_no_cookie_but_ours_is_one(change: int) -> None:
    clock = Clock()
    known = Sessions(b"a", clock)
    cookie = begun(known)
    found = cookie[change]
    # The last character of Base64 has two bits that nobody reads: A to D are the same there.
    forged = (
        cookie[:change]
        + ("A" if found not in "ABCD" else "Q")
        + (cookie[change + 1 :] if change >= 0 else "")
    )
    assert not holds(known, forged)
    for bad in (None, "", ".", "a.b.c", "é", cookie[:-3], cookie + "x", "x" * 10_000):
        assert not holds(known, bad)


def test_wrong_tokens_are_counted_by_address_and_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    wrong = WrongTokens(clock)
    for _ in range(MOST_WRONG):
        assert wrong.wait_s("a") == 0.0
        wrong.note("a")
        clock.now += 1
    assert wrong.wait_s("a") == WRONG_WINDOW_S - MOST_WRONG
    assert wrong.wait_s("b") == 0.0
    clock.now += WRONG_WINDOW_S - MOST_WRONG
    assert wrong.wait_s("a") == 0.0
    monkeypatch.setattr(sessions, "_MOST_ADDRESSES", 3)
    for address in "bcdefg":
        wrong.note(address)
    assert len(wrong._times) == 3


def test_the_page_is_at_the_address_that_is_documented() -> None:
    assert URL("http://a/x/").join(URL("sign-in")).path == "/x/sign-in"


async def test_what_goes_on_in_a_session_ends_with_it_and_when_it_is_signed_out_of() -> None:
    clock = Clock()
    known = Sessions(b"a", clock)
    request: Any = Request(begun(known))
    clock.now += SESSION_S + 0.95
    assert known.is_in_one(request)
    left = []
    async with asyncio.timeout(10), known.going_on(request):
        await asyncio.Event().wait()
    left.append("at its end")
    clock.now -= SESSION_S
    async with asyncio.timeout(10), known.going_on(request):
        known.end(request)
        await asyncio.Event().wait()
    left.append("when signed out of")
    with pytest.raises(TimeoutError):  # the control: what is in no session has no end
        async with asyncio.timeout(0.01), known.going_on(Request(None)):  # type: ignore[arg-type]
            await asyncio.Event().wait()
    assert left == ["at its end", "when signed out of"]
    assert not known._going_on
