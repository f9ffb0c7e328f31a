"""Who is let in: limits for wrong tokens, and what is believed of a reverse proxy, and of nobody else."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp.test_utils import make_mocked_request

from streams.settings import ConfigurationError, load_settings
from tables.views import access as module
from tables.views.access import Access
from tables.views.proxies import Proxies
from tables.views.rights import Right
from tables.views.sessions import MOST_WRONG, WRONG_WINDOW_S, Sessions
from tests.unit.tables.views.views_kit import FakeSources, sample, served

READ, CHANGE, SCRAPE = "token-to-read", "token-to-change-with", "token-to-scrape"
COUNTS = "/api/v1/counts"


@pytest.fixture
def fake() -> FakeSources:
    sources = sample()
    sources.letters.add(3)
    return sources


@pytest.fixture
async def client(fake: FakeSources) -> AsyncIterator[aiohttp.ClientSession]:
    async with served(
        fake, web_token=READ, admin_token=CHANGE, metrics_token=SCRAPE, web_trusted_proxies="127.0.0.1"
    ) as made:
        yield made


async def status(
    client: aiohttp.ClientSession, token: str | None = None, path: str = COUNTS, **headers: str
) -> int:
    if token is not None:
        headers = {"Authorization": f"Bearer {token}"} | headers
    async with client.get(path, headers=headers, allow_redirects=False) as answer:
        if answer.status == 429:
            assert 0 < int(answer.headers["Retry-After"]) <= WRONG_WINDOW_S
            assert answer.content_type == "application/problem+json"
        return answer.status


# --- Many wrong tokens ---------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["Bearer", "Basic"])
async def test_who_guesses_has_to_wait_and_is_not_told_the_right_one(
    client: aiohttp.ClientSession, scheme: str
) -> None:
    def header(token: str) -> str:
        return f"Bearer {token}" if scheme == "Bearer" else aiohttp.encode_basic_auth("x", token)

    for number in range(MOST_WRONG):
        assert await status(client, Authorization=header(f"guess {number}")) == 401
    for token in ("another", READ, CHANGE, SCRAPE):
        for path in (COUNTS, "/metrics"):
            assert await status(client, path=path, Authorization=header(token)) == 429
    async with client.put("/api/v1/scheduler", json={}, headers={"Authorization": header(CHANGE)}) as answer:
        assert answer.status == 429
    async with client.get("/livez", headers={"Authorization": header(READ)}) as answer:
        assert answer.status == 200
        assert "details" not in await answer.json(), (
            "nor does a health check tell whether it is the right one"
        )
    # Whoever sends none is told what is missing, and a page can be opened by signing in.
    assert await status(client) == 401
    async with client.post("/sign-in", data={"token": READ}, allow_redirects=False) as answer:
        assert answer.status == 303


async def test_a_program_with_an_old_token_is_no_guesser(client: aiohttp.ClientSession) -> None:
    """It asks again and again; others of its address are not to wait for it."""
    for _ in range(5 * MOST_WRONG):
        assert await status(client, "the old one") == 401
    assert await status(client, READ) == 200


async def test_tokens_of_another_right_are_no_guesses(client: aiohttp.ClientSession) -> None:
    for _ in range(2 * MOST_WRONG):
        assert await status(client, SCRAPE) == 401
        assert await status(client, CHANGE) == 401, "a program that may change is not one that reads"
    assert await status(client, SCRAPE, "/metrics") == 200
    assert await status(client, READ) == 200


async def test_control_without_a_limit_all_could_be_tried(
    client: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module.WrongTokens, "note", lambda *_: None)
    for number in range(3 * MOST_WRONG):
        assert await status(client, f"guess {number}") == 401
    assert await status(client, READ) == 200


async def test_addresses_behind_a_trusted_proxy_are_told_apart(client: aiohttp.ClientSession) -> None:
    bad, good = {"X-Forwarded-For": "192.0.2.7"}, {"X-Forwarded-For": "192.0.2.7, 192.0.2.8"}
    for number in range(MOST_WRONG):
        assert await status(client, f"guess {number}", **bad) == 401
        async with client.post("/sign-in", data={"token": "x"}, headers=bad) as answer:
            assert answer.status == 403
    assert await status(client, READ, **bad) == 429
    assert await status(client, READ, **good) == 200
    for headers, expected in ((bad, 429), (good, 303)):
        async with client.post(
            "/sign-in", data={"token": READ}, headers=headers, allow_redirects=False
        ) as answer:
            assert answer.status == expected


async def test_nobody_else_can_say_another_address(fake: FakeSources) -> None:
    async with served(fake, web_token=READ) as client:
        for number in range(MOST_WRONG):
            await status(client, f"guess {number}", **{"X-Forwarded-For": f"192.0.2.{number}"})
        assert await status(client, READ, **{"X-Forwarded-For": "192.0.2.99"}) == 429


@pytest.mark.parametrize(
    ("forwarded", "address"),
    [
        (None, "10.0.0.1"),
        ("192.0.2.7", "192.0.2.7"),
        ("198.51.100.9, 192.0.2.7", "192.0.2.7"),  # what is before the last is what the client says
        ("192.0.2.7, 10.0.0.2", "192.0.2.7"),  # two proxies
        ("10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ("2001:db8::1", "2001:db8::1"),
        ("192.0.2.7, unknown", "10.0.0.1"),
        ("", "10.0.0.1"),
        ("<script>", "10.0.0.1"),
    ],
)
def test_the_address_of_a_client(forwarded: str | None, address: str) -> None:
    proxies = Proxies(load_settings(web_trusted_proxies="10.0.0.0/8"))
    headers = {} if forwarded is None else {"X-Forwarded-For": forwarded}
    request = make_mocked_request("GET", "/", headers=headers).clone(remote="10.0.0.1")
    assert proxies.client_address(request) == address
    assert proxies.client_address(request.clone(remote="192.0.2.1")) == "192.0.2.1"


# --- A proxy that rewrites Host ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "origin", "expected"),
    [
        ("ops.example", "https://ops.example", 303),
        ("ops.example:443", "https://ops.example", 303),
        ("OPS.example", "https://ops.example", 303),
        ("inner, ops.example", "https://ops.example", 303),
        ("ops.example:8443", "https://ops.example:8443", 303),
        ("ops.example", "https://evil.example", 403),
        ("ops.example:80", "https://ops.example", 403),
        ("", "https://ops.example", 403),
    ],
)
async def test_the_host_that_a_trusted_proxy_was_asked_for(
    client: aiohttp.ClientSession, fake: FakeSources, given: str, origin: str, expected: int
) -> None:
    headers = {"X-Forwarded-Host": given, "Origin": origin}
    async with client.post(
        "/sign-in", data={"token": READ}, headers=headers, allow_redirects=False
    ) as answer:
        assert answer.status == expected
    async with (
        served(fake, web_token=READ) as other,
        other.post("/sign-in", data={"token": READ}, headers=headers, allow_redirects=False) as answer,
    ):
        assert answer.status == 403, "nobody said that it is a trusted proxy"


# --- A user that a proxy names -------------------------------------------------------------------

PROXY = {
    "web_token": READ,
    "web_trusted_proxies": "127.0.0.1",
    "web_user_header": "X-Forwarded-User",
    "web_admin_users": "alice, bob",
}


async def replay(client: aiohttp.ClientSession, **headers: str) -> int:
    async with client.post(
        "/dead-letters", data={"id": "source:3"}, headers=headers, allow_redirects=False
    ) as answer:
        return answer.status


@pytest.mark.parametrize(
    ("user", "reads", "changes"),
    [("alice", 200, 303), ("bob", 200, 303), ("carol", 200, 403), ("", 401, 401), ("x" * 300, 401, 401)],
)
async def test_a_user_that_a_trusted_proxy_names(
    fake: FakeSources, caplog: pytest.LogCaptureFixture, user: str, reads: int, changes: int
) -> None:
    caplog.set_level("INFO")
    async with served(fake, **PROXY) as client:
        assert await status(client, **{"X-Forwarded-User": user}) == reads
        assert await replay(client, **{"X-Forwarded-User": user, "X-Forwarded-For": "192.0.2.7"}) == changes
        assert await replay(client, **{"X-Forwarded-User": user, "Origin": "https://evil.example"}) == 403
    assert (f"by user {user}, with the right of changing, from 192.0.2.7." in caplog.text) == (changes == 303)


async def refusal(client: aiohttp.ClientSession, method: str, path: str, **headers: str) -> tuple[int, str]:
    async with client.request(method, path, json={"all": True}, headers=headers) as answer:
        return answer.status, (await answer.json(content_type=None))["detail"]


async def test_who_has_another_right_is_told_what_gives_the_one_that_is_missing(fake: FakeSources) -> None:
    replay_address = "/api/v1/dead-letters/replay"
    carol, bearer = {"X-Forwarded-User": "carol"}, "Authorization"
    for settings in (PROXY, PROXY | {"admin_token": CHANGE}):
        async with served(fake, **settings) as client:
            # No token helps somebody who has signed in at the proxy, nor one that the proxy sends on.
            for more in ({}, {bearer: f"Bearer {READ}"}, {bearer: "Bearer of-the-proxy"}):
                for method, path in (("POST", replay_address), ("PUT", "/api/v1/scheduler")):
                    refused = await refusal(client, method, path, **carol, **more)
                    assert refused == (403, module._USER_ONLY_READS)
    assert "TOCSIN_WEB_ADMIN_USERS" in module._USER_ONLY_READS
    async with served(fake, **PROXY) as client:
        found = await refusal(client, "POST", replay_address, **{bearer: f"Bearer {READ}"})
        assert found[0] == 401
        assert "No token gives the right to change here" in found[1], "there is none that could be sent"
    async with served(fake, **PROXY | {"admin_token": CHANGE}) as client:
        for given in (READ, "wrong"):
            found = await refusal(client, "POST", replay_address, **{bearer: f"Bearer {given}"})
            assert found[0] == 401
            assert "Send the token of TOCSIN_ADMIN_TOKEN" in found[1]
        for path in (COUNTS, "/metrics"):
            status_, detail = await refusal(client, "GET", path, **{bearer: f"Bearer {CHANGE}"})
            assert status_ == 401
            assert "the token for changes" in detail
            assert "TOCSIN_WEB_TOKEN_FILE" in detail
            for other in ("wrong", ""):
                detail = (await refusal(client, "GET", path, **{bearer: f"Bearer {other}"}))[1]
                assert "the token for changes" not in detail
    assert fake.letters.asked == []


async def test_a_user_is_believed_of_a_trusted_proxy_alone_and_if_it_names_one(fake: FakeSources) -> None:
    async with served(fake, **PROXY | {"web_trusted_proxies": "192.0.2.1"}) as client:
        assert await status(client, **{"X-Forwarded-User": "alice"}) == 401
        assert await replay(client, **{"X-Forwarded-User": "alice"}) == 401
    async with served(fake, **PROXY) as client:
        headers = [("X-Forwarded-User", "alice"), ("X-Forwarded-User", "bob")]
        async with client.get(COUNTS, headers=headers) as answer:
            assert answer.status == 401, "one of them may be the client's own"
        assert await status(client, **{"X-Remote-User": "alice"}) == 401
    async with served(fake, web_token=READ, web_trusted_proxies="127.0.0.1") as client:
        assert await status(client, **{"X-Forwarded-User": "alice"}) == 401, "no header was named"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"web_user_header": "X-User"}, "TOCSIN_WEB_TRUSTED_PROXIES"),
        ({"web_user_header": "X User", "web_trusted_proxies": "::1"}, "name of a header"),
        ({"web_admin_users": "alice"}, "TOCSIN_WEB_USER_HEADER"),
    ],
)
def test_settings_that_would_let_anybody_in_are_refused(settings: dict[str, str], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        load_settings(**settings)


# --- Sessions and rights -------------------------------------------------------------------------


def begun(known: Sessions, right: Right) -> str:
    response = aiohttp.web.Response()
    known.begin(response, path="/", secure=True, right=right)
    return response.cookies["tocsin-session"].value


def right_of(known: Sessions, cookie: str) -> Right | None:
    request = make_mocked_request("GET", "/", headers={"Cookie": f"tocsin-session={cookie}"})
    visitor = known.visitor(request)
    return None if visitor is None else visitor.right


def test_a_session_has_the_right_of_its_token_and_of_no_other() -> None:
    both, readers = Sessions(b"a", admin_token=b"b"), Sessions(b"a")
    reading, changing = begun(both, Right.READ), begun(both, Right.CHANGE)
    assert (right_of(both, reading), right_of(both, changing)) == (Right.READ, Right.CHANGE)
    assert (right_of(readers, reading), right_of(readers, changing)) == (Right.READ, None)
    # One token for both: what began for reading does not become more.
    same = Sessions(b"a", admin_token=b"a")
    assert right_of(same, reading) is Right.READ
    assert right_of(Sessions(None, admin_token=b"a"), reading) is None


def test_a_session_that_was_ended_stays_so_here(monkeypatch: pytest.MonkeyPatch) -> None:
    known = Sessions(b"a", admin_token=b"b")
    cookies = [begun(known, Right.CHANGE) for _ in range(4)]
    monkeypatch.setattr("tables.views.sessions._MOST_ENDED", 3)
    for cookie in cookies:
        known.end(make_mocked_request("GET", "/", headers={"Cookie": f"tocsin-session={cookie}"}))
        assert right_of(known, cookie) is None
    assert [right_of(known, cookie) for cookie in cookies[1:]] == [None, None, None]
    assert len(known._ended) == 3
    forged = make_mocked_request("GET", "/", headers={"Cookie": "tocsin-session=forged"})
    known.end(forged)
    assert len(known._ended) == 3, "what is no session takes no place"


def test_the_higher_of_two_rights_counts() -> None:
    access = Access(load_settings(web_token=READ, admin_token=CHANGE))
    assert access.sessions is not None
    cookie = {"Cookie": f"tocsin-session={begun(access.sessions, Right.READ)}"}
    for headers, right, reads in (
        (cookie, Right.READ, True),
        ({"Authorization": f"Bearer {CHANGE}"}, Right.CHANGE, False),
        (cookie | {"Authorization": f"Bearer {CHANGE}"}, Right.CHANGE, True),
    ):
        visitor = access.visitor(make_mocked_request("GET", "/", headers=headers))
        assert visitor is not None
        assert (visitor.right, visitor.reads) == (right, reads)
