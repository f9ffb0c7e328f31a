"""Bearer tokens: from a file, from a real endpoint, signed for MSK."""

from __future__ import annotations

import asyncio
import base64
import logging
import ssl
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import trustme

from streams.broker.admin import failure_of
from streams.broker.client_options import client_options, token_provider
from streams.broker.token_error import TokenError
from streams.broker.tokens import EndpointTokens, FileTokens, MskTokens
from streams.settings import ConfigurationError, load_settings
from tests.token_endpoint import CLIENT_ID, CLIENT_SECRET, TokenEndpoint, token_endpoint


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def endpoint() -> AsyncIterator[TokenEndpoint]:
    async with token_endpoint() as running:
        yield running


@pytest.fixture
def clock() -> Clock:
    return Clock()


def tokens(
    endpoint: TokenEndpoint, clock: Any, secret: str = CLIENT_SECRET, **options: Any
) -> EndpointTokens:
    return EndpointTokens(endpoint.url, CLIENT_ID, secret, clock=clock, **options)


# --- A file ------------------------------------------------------------------------------------


async def test_the_file_is_read_again_for_each_connection(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_bytes(b"\xef\xbb\xbfone.two-three_~+/=\r\n")
    provider = FileTokens(path)
    assert await provider.token() == "one.two-three_~+/="
    path.write_text("another")
    assert await provider.token() == "another"
    path.write_text("")
    with pytest.raises(TokenError, match=rf"TOCSIN_SASL_OAUTH_TOKEN_FILE: {path} is empty") as caught:
        await provider.token()
    assert caught.value.temporary
    path.write_text("a-third")
    assert await provider.token() == "a-third"


@pytest.mark.parametrize(
    "content", [None, b"", b" \n", b"two tokens", b"two\ntokens", b"t\x00", b"\xff\xfe", b"t=k"]
)
def test_a_file_without_a_token_is_refused_at_start(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "token"
    if content is not None:
        path.write_bytes(content)
    settings = load_settings(
        security_protocol="SASL_PLAINTEXT", sasl_mechanism="OAUTHBEARER", sasl_oauth_token_file=path
    )
    with pytest.raises(ConfigurationError, match=rf"^TOCSIN_SASL_OAUTH_TOKEN_FILE: .*{path}") as caught:
        client_options(settings)
    assert "two" not in str(caught.value)


# --- A token endpoint --------------------------------------------------------------------------


async def test_a_token_is_kept_until_shortly_before_it_ends(endpoint: TokenEndpoint, clock: Clock) -> None:
    provider = tokens(endpoint, clock, scope="kafka")
    first = await provider.token()
    assert endpoint.forms == [{"grant_type": "client_credentials", "scope": "kafka"}]
    clock.now += 3600 - 61
    assert await provider.token() == first
    clock.now += 1
    second = await provider.token()
    assert second != first
    assert endpoint.given == [first, second]


async def test_connections_at_once_ask_once(endpoint: TokenEndpoint, clock: Clock) -> None:
    provider = tokens(endpoint, clock)
    found = await asyncio.gather(*(provider.token() for _ in range(8)))
    assert set(found) == set(endpoint.given)
    assert len(endpoint.forms) == 1
    # Another event loop, in another thread, has the same token.
    assert await asyncio.to_thread(lambda: asyncio.run(provider.token())) == found[0]
    assert len(endpoint.forms) == 1


async def test_a_short_life_leaves_time_to_use_the_token(endpoint: TokenEndpoint, clock: Clock) -> None:
    endpoint.life_s = 10.0
    provider = tokens(endpoint, clock)
    first = await provider.token()
    clock.now += 7.9
    assert await provider.token() == first
    clock.now += 0.2
    assert await provider.token() != first


async def test_a_token_of_unknown_life_is_not_kept(endpoint: TokenEndpoint, clock: Clock) -> None:
    endpoint.life_s = None
    provider = tokens(endpoint, clock)
    assert await provider.token() != await provider.token()


async def test_a_token_that_was_refused_is_not_kept(endpoint: TokenEndpoint, clock: Clock) -> None:
    provider = tokens(endpoint, clock)
    first = await provider.token()
    provider.forget()
    assert await provider.token() != first


async def test_an_endpoint_that_is_away_is_waited_for_while_the_token_holds(
    endpoint: TokenEndpoint, clock: Clock
) -> None:
    provider = tokens(endpoint, clock)
    first = await provider.token()
    endpoint.status = 503
    clock.now += 3590
    assert await provider.token() == first
    clock.now += 10
    with pytest.raises(TokenError, match="HTTP 503") as caught:
        await provider.token()
    assert caught.value.temporary
    endpoint.status = 200
    assert await provider.token() == endpoint.given[-1]


@pytest.mark.parametrize(
    ("status", "body", "words", "temporary"),
    [
        (400, '{"error": "invalid_scope"}', "(invalid_scope): set TOCSIN_SASL_OAUTH_SCOPE", False),
        (401, '{"error": "invalid_client"}', "refuses this client (invalid_client): set TOCSIN_SASL_", False),
        (401, '{"error": "hunter2 here"}', "refuses this client (HTTP 401)", False),
        (403, "hunter2", "refuses this client (HTTP 403)", False),
        (404, "hunter2", "is no token (HTTP 404): look at TOCSIN_SASL_OAUTH_TOKEN_URL", False),
        (302, "hunter2", "is no token (HTTP 302)", False),
        (200, "<html>hunter2</html>", "is no token (HTTP 200)", False),
        (200, "[]", "is no token (HTTP 200)", False),
        (200, '{"access_token": 5}', "is no token (HTTP 200)", False),
        (200, '{"access_token": "hunter2\\u0001auth=x"}', "is no token (HTTP 200)", False),
        (200, '{"access_token": "' + "x" * 300_000 + '"}', "is no token (HTTP 200)", False),
        (429, "{}", "cannot answer now (HTTP 429)", True),
        (500, "hunter2", "cannot answer now (HTTP 500)", True),
    ],
)
async def test_what_is_no_token_is_one_sentence(
    endpoint: TokenEndpoint, clock: Clock, status: int, body: str, words: str, temporary: bool
) -> None:
    endpoint.status, endpoint.body = status, body
    with pytest.raises(TokenError) as caught:
        await tokens(endpoint, clock).token()
    assert words in str(caught.value)
    assert endpoint.url in str(caught.value)
    assert caught.value.temporary is temporary
    assert "hunter2" not in str(caught.value)
    failure = failure_of(caught.value, tls=False)
    assert (failure.advice, failure.temporary) == (caught.value.advice, temporary)


async def test_a_wrong_secret_is_one_sentence_without_it(
    endpoint: TokenEndpoint, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(TokenError, match=r"refuses this client \(invalid_client\)") as caught:
        await tokens(endpoint, clock, "hunter2").token()
    encoded = base64.b64encode(b"hunter2").decode().rstrip("=")
    for text in (str(caught.value), caplog.text, repr(caught.value)):
        assert "hunter2" not in text
        assert encoded not in text


async def test_an_endpoint_that_is_not_there(clock: Clock) -> None:
    provider = EndpointTokens("http://127.0.0.1:1/token?key=hunter2", CLIENT_ID, CLIENT_SECRET, clock=clock)
    with pytest.raises(TokenError, match=r"http://127\.0\.0\.1:1/token does not answer") as caught:
        await provider.token()
    assert caught.value.temporary
    assert "hunter2" not in str(caught.value)


async def test_an_endpoint_of_tls_is_checked(tmp_path: Path) -> None:
    authority, stranger = trustme.CA(), trustme.CA()
    served = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(served)
    for name, each in (("right", authority), ("wrong", stranger)):
        each.cert_pem.write_to_path(str(tmp_path / name))

    def provider(ca: Path | None) -> Any:
        return token_provider(
            load_settings(
                security_protocol="SASL_PLAINTEXT",
                sasl_mechanism="OAUTHBEARER",
                sasl_oauth_token_url=running.url,
                sasl_oauth_client_id=CLIENT_ID,
                sasl_oauth_client_secret=CLIENT_SECRET,
                sasl_oauth_ca_file=ca,
            )
        )

    async with token_endpoint(served) as running:
        assert await provider(tmp_path / "right").token() == running.given[0]
        for ca in (tmp_path / "wrong", None):
            with pytest.raises(TokenError, match="not trusted: set TOCSIN_SASL_OAUTH_CA_FILE") as caught:
                await provider(ca).token()
            # It is not the broker's certificate that is wrong.
            assert "TOCSIN_SSL_CA_FILE" not in failure_of(caught.value, tls=True).advice
    with pytest.raises(ConfigurationError, match=r"^TOCSIN_SASL_OAUTH_CA_FILE: "):
        provider(tmp_path / "nowhere")


async def test_all_clients_of_a_process_share_the_token(endpoint: TokenEndpoint) -> None:
    settings = load_settings(
        security_protocol="SASL_PLAINTEXT",
        sasl_mechanism="OAUTHBEARER",
        sasl_oauth_token_url=endpoint.url,
        sasl_oauth_client_id=CLIENT_ID,
        sasl_oauth_client_secret=CLIENT_SECRET,
    )
    made = [client_options(settings) for _ in range(3)]
    assert {options["sasl_mechanism"] for options in made} == {"OAUTHBEARER"}
    found = {await options["sasl_oauth_token_provider"].token() for options in made}
    assert found == set(endpoint.given)
    assert CLIENT_SECRET not in repr(made)


# --- Amazon MSK --------------------------------------------------------------------------------


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Credentials of nobody, and nothing of this machine's."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2hunter2")


def msk_options() -> dict[str, Any]:
    return client_options(
        load_settings(security_protocol="SASL_SSL", sasl_mechanism="AWS_MSK_IAM", sasl_aws_region="eu-west-1")
    )


@pytest.mark.usefixtures("aws")
async def test_msk_gets_a_request_that_is_signed() -> None:
    options = msk_options()
    assert options["sasl_mechanism"] == "OAUTHBEARER"
    token = await options["sasl_oauth_token_provider"].token()
    url = urlsplit(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode())
    assert (url.scheme, url.hostname) == ("https", "kafka.eu-west-1.amazonaws.com")
    query = parse_qs(url.query)
    assert query["Action"] == ["kafka-cluster:Connect"]
    assert query["X-Amz-Credential"][0].startswith("AKIDEXAMPLE/")
    assert query["X-Amz-Credential"][0].endswith("/eu-west-1/kafka-cluster/aws4_request")
    assert len(query["X-Amz-Signature"][0]) == 64
    # It lasts a quarter of an hour, and is kept.
    assert await options["sasl_oauth_token_provider"].token() == token


@pytest.mark.usefixtures("aws")
async def test_a_token_for_msk_is_renewed_before_it_ends(clock: Clock) -> None:
    provider = MskTokens("eu-west-1", clock=clock)
    await provider.token()
    held = provider._held
    assert held is not None
    assert 830 < held.renew_at - clock.now <= 840
    assert 890 < held.ends_at - clock.now <= 900
    clock.now = held.renew_at
    await provider.token()
    assert provider._held is not held


@pytest.mark.usefixtures("aws")
async def test_no_credentials_of_aws_are_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    with pytest.raises(TokenError, match="AWS gives no credentials to sign with") as caught:
        await MskTokens("eu-west-1").token()
    assert "AWS_PROFILE" in failure_of(caught.value, tls=True).advice
    assert "hunter2" not in str(caught.value)


def test_the_extra_that_is_not_installed_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aws_msk_iam_sasl_signer", None)
    with pytest.raises(ConfigurationError, match=r"^TOCSIN_SASL_MECHANISM: .* install tocsin\[msk\]\.$"):
        MskTokens("eu-west-1")
