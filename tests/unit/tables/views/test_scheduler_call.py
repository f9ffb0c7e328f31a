"""Changing weights and mode over HTTP: who may, what may be said, and that it holds at once."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, ClassVar

import aiohttp
import pytest

from streams.notifications.priority import Priority
from streams.settings import ConfigurationError, Settings, load_settings
from tables.views import access
from tests.unit.tables.views.views_kit import NOW_S, FakeSources, get, sample, served
from tocsin.live_profile import LiveProfile

TOKEN = "a-token-of-the-tests"
PATH = "/api/v1/scheduler"
GOOD = {"Authorization": f"Bearer {TOKEN}"}


class Applied(list[Settings]):
    """What was taken over."""


@pytest.fixture
def applied() -> Applied:
    return Applied()


@pytest.fixture
def fake(applied: Applied) -> FakeSources:
    sources = sample()
    sources.profile = LiveProfile(load_settings(), applied.append, clock=lambda: NOW_S)
    return sources


@asynccontextmanager
async def served_with_token(fake: FakeSources, **settings: Any) -> AsyncIterator[aiohttp.ClientSession]:
    async with served(fake, **({"admin_token": TOKEN} | settings)) as client:
        yield client


async def put(
    client: aiohttp.ClientSession, status: int, headers: dict[str, str] | None = None, **request: Any
) -> Any:
    async with client.put(PATH, headers=GOOD if headers is None else headers, **request) as answer:
        body = await answer.json(content_type=None)
        assert answer.status == status, body
        if status >= 400:
            assert answer.content_type == "application/problem+json"
            assert set(body) == {"type", "title", "status", "detail"}
            assert body["detail"].endswith(".")
        return body


async def test_weights_and_mode_change_at_once_and_show(fake: FakeSources, applied: Applied) -> None:
    async with served_with_token(fake) as client:
        before = await get(client, PATH)
        assert before["changed"]["by"] == "start"
        assert (before["mode"], before["profile"], before["scope"]) == ("weighted", "default", "this worker")
        body = await put(client, 200, json={"weights": {"error": 12, "warning": 5.5}, "mode": "strict"})
        assert (body["mode"], body["changed"]["by"]) == ("strict", "call")
        assert await get(client, PATH) == body
        async with client.get("/metrics") as answer:
            metrics = await answer.text()
        assert 'tocsin_scheduler_mode{mode="strict"} 1.0' in metrics
        assert 'tocsin_scheduler_changes_total{source="call"} 1.0' in metrics
    [taken] = applied
    assert taken.effective_mode == "strict"
    assert taken.effective_weights == {
        Priority.CRITICAL: 16,
        Priority.ERROR: 12,
        Priority.WARN: 5.5,
        Priority.INFO: 2,
        Priority.DEBUG: 1,
    }


async def test_what_is_not_given_stays_and_a_profile_resets(fake: FakeSources, applied: Applied) -> None:
    async with served_with_token(fake) as client:
        await put(client, 200, json={"weights": {"error": 12}})
        await put(client, 200, json={"mode": "strict"})
        assert applied[-1].weights == {Priority.ERROR: 12}
        await put(client, 200, json={"profile": "yagi-2011"})
    assert applied[-1].effective_mode == "weighted"
    assert applied[-1].effective_weights[Priority.CRITICAL] == 65536


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer another-token-of-the-tests"},
        {"Authorization": f"Basic {TOKEN}"},
        {"Authorization": TOKEN},
        {"Authorization": f"Bearer {TOKEN}x"},
        {"Cookie": f"token={TOKEN}"},
    ],
    ids=str,
)
async def test_without_the_token_nothing_changes(
    fake: FakeSources, applied: Applied, headers: dict[str, str]
) -> None:
    async with served_with_token(fake) as client:
        await put(client, 401, headers, json={"mode": "strict"})
    assert applied == []


async def test_without_a_configured_token_nobody_may(fake: FakeSources, applied: Applied) -> None:
    """Nor with the token of the web views, nor with an empty one."""
    async with served(fake, web_token="the token of the views") as client:
        for token in ("the token of the views", "", "None"):
            headers = {"Authorization": f"Bearer {token}"}
            body = await put(client, 403, headers, json={"mode": "strict"})
            assert "TOCSIN_ADMIN_TOKEN_FILE" in body["detail"]
    assert applied == []


async def test_the_two_tokens_open_what_is_theirs(fake: FakeSources, applied: Applied) -> None:
    async with served_with_token(fake, web_token="the token of the views") as client:
        await put(client, 200, json={"mode": "strict"})
        async with client.get(PATH, headers=GOOD) as answer:
            assert answer.status == 401, "the admin token is not for reading"
        async with client.get(PATH, headers={"Authorization": "Bearer the token of the views"}) as answer:
            assert answer.status == 200
    assert len(applied) == 1


async def test_another_site_cannot_make_a_browser_do_it(fake: FakeSources, applied: Applied) -> None:
    """A form or a simple request has another content type; what is not simple is asked for first, in vain."""
    async with served_with_token(fake) as client:
        for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
            headers = GOOD | {"Content-Type": kind}
            await put(client, 415, headers, data=b'{"mode": "strict"}')
            await put(client, 403, headers | {"Origin": "https://example.com"}, data=b'{"mode": "strict"}')
        await put(client, 403, GOOD | {"Origin": "https://example.com"}, json={"mode": "strict"})
        await put(client, 403, GOOD | {"Sec-Fetch-Site": "cross-site"}, json={"mode": "strict"})
        asking = {"Origin": "https://example.com", "Access-Control-Request-Method": "PUT"}
        async with client.options(PATH, headers=asking) as answer:
            assert answer.status == 405
            assert not [name for name in answer.headers if name.startswith("Access-Control")]
    assert applied == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b"null",
        b"\xff\xfe",
        b'{"weights": {}}',
        b'{"weights": {"error": 0}}',
        b'{"weights": {"error": -1}}',
        b'{"weights": {"error": 1e9}}',
        b'{"weights": {"error": NaN}}',
        b'{"weights": {"error": 1e999}}',
        b'{"weights": {"error": "12"}}',
        b'{"weights": {"error": true}}',
        b'{"weights": {"error": null}}',
        b'{"weights": {"trace": 1}}',
        b'{"weights": {"warn": 1, "WARNING": 2}}',
        b'{"weights": {"audit": 1}}',
        b'{"weights": [1]}',
        b'{"mode": "fifo"}',
        b'{"mode": null}',
        b'{"mode": ["strict"]}',
        b'{"profile": "mine"}',
        b'{"mode": "strict", "brokers": "evil:1"}',
        b'{"weights": {"error": 1}, "mode": "fifo"}',
    ],
    ids=str,
)
async def test_a_wrong_body_gets_one_sentence_and_changes_nothing(
    fake: FakeSources, applied: Applied, body: bytes
) -> None:
    async with served_with_token(fake) as client:
        problem = await put(client, 400, GOOD | {"Content-Type": "application/json"}, data=body)
        assert "evil" not in problem["detail"]
    assert applied == []


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_large_body_is_refused(fake: FakeSources, applied: Applied, chunked: bool) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b" " * 100
        yield b'{"mode": "strict"}'

    data: Any = pieces() if chunked else b" " * 2000 + b'{"mode": "strict"}'
    async with served_with_token(fake) as client:
        await put(client, 413, GOOD | {"Content-Type": "application/json"}, data=data)
    assert applied == []


async def test_before_the_start_it_says_to_try_again() -> None:
    async with served_with_token(sample()) as client:
        await put(client, 503, json={"mode": "strict"})


async def test_a_change_is_logged_without_the_token(
    fake: FakeSources, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        async with served_with_token(fake) as client:
            await put(client, 200, json={"weights": {"error": 12}})
            await put(client, 401, {"Authorization": "Bearer wrong-token-of-someone"}, json={})
    assert (
        "critical=16, error=12, warn=4, info=2, debug=1, in weighted order (changed by a call)" in caplog.text
    )
    assert TOKEN not in caplog.text
    assert "wrong-token" not in caplog.text


def test_the_comparison_takes_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is left to ``hmac.compare_digest``, for equal and for other tokens."""
    compared = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return one == other

    monkeypatch.setattr(access.hmac, "compare_digest", compare)

    class Request:
        headers: ClassVar[dict[str, str]] = {"Authorization": "Bearer x"}

    assert not access.carries(Request(), b"secret")  # type: ignore[arg-type]
    assert compared == [(b"x", b"secret")]


def test_a_short_admin_token_is_refused_and_a_good_one_is_masked() -> None:
    with pytest.raises(ConfigurationError, match="16 characters") as refused:
        load_settings(admin_token="short-and-secret"[:15])
    assert "short-and" not in str(refused.value)
    assert load_settings(admin_token=TOKEN).shown()["admin_token"] == "********"


def test_the_settings_file_wins_over_a_call(
    applied: Applied, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    profile = LiveProfile(load_settings(), applied.append)
    profile.change(mode="strict", weights={Priority.ERROR: 12})
    monkeypatch.setenv("TOCSIN_MODE", "strict-with-floor")
    profile.reload()
    assert (profile.source, applied[-1].effective_mode) == ("settings", "strict-with-floor")
    assert applied[-1].weights == {}
    monkeypatch.setenv("TOCSIN_MODE", "fifo")
    profile.reload()
    assert len(applied) == 2
    assert "not reloaded" in caplog.text


@pytest.mark.parametrize(
    ("settings", "mode", "critical"),
    [
        ({}, "weighted", 16),
        ({"profile": "strict"}, "strict", 16),
        ({"profile": "strict-with-floor"}, "strict-with-floor", 16),
        ({"profile": "yagi-2011"}, "weighted", 65536),
        ({"profile": "yagi-2011", "mode": "strict"}, "strict", 65536),
        ({"profile": "strict", "mode": "weighted"}, "weighted", 16),
        ({"mode": "strict-with-floor", "weights": "critical=3"}, "strict-with-floor", 3),
    ],
)
def test_profiles_and_modes(settings: dict[str, str], mode: str, critical: float) -> None:
    loaded = load_settings(**settings)
    assert loaded.effective_mode == mode
    assert loaded.effective_weights[Priority.CRITICAL] == critical


@pytest.mark.parametrize(
    ("given", "limits"),
    [
        ("debug=300,info=60", {Priority.DEBUG: 300.0, Priority.INFO: 60.0}),
        ("WARNING=0.5", {Priority.WARN: 0.5}),
        ("", {}),
    ],
)
def test_age_limits_are_read(given: str, limits: dict[Priority, float]) -> None:
    assert load_settings(age_limits=given).age_limits == limits


@pytest.mark.parametrize("given", ["debug", "debug=0", "debug=-1", "debug=nan", "debug=x", "trace=1", "60"])
def test_wrong_age_limits_get_one_sentence(given: str) -> None:
    with pytest.raises(ConfigurationError, match="TOCSIN_AGE_LIMITS") as refused:
        load_settings(age_limits=given)
    assert str(refused.value).endswith(".")
    with pytest.raises(ConfigurationError, match="TOCSIN_AGE_GUARD_SHARE"):
        load_settings(age_guard_share="1.0")


async def test_tocsin_web_says_that_a_worker_takes_it() -> None:
    async with served(sample(), of_worker=False) as client:
        async with client.put(PATH, headers=GOOD, json={"mode": "strict"}) as answer:
            problem = await answer.json(content_type="application/problem+json")
            assert (answer.status, answer.headers["Allow"]) == (405, "GET,HEAD")
            assert "send this to the web views of a worker" in problem["detail"]
        async with client.delete(PATH, headers=GOOD) as answer:  # the control: any other method
            problem = await answer.json(content_type="application/problem+json")
            assert "the header Allow names" in problem["detail"]
