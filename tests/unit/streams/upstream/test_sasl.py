"""aiokafka does not see that a token is refused, and logs secrets; with the changes it does, and not."""

from __future__ import annotations

import aiokafka.conn
import pytest
from aiokafka.abc import AbstractTokenProvider
from aiokafka.errors import SaslAuthenticationFailed
from aiokafka.protocol.admin import (
    SaslAuthenticateRequest,
    SaslAuthenticateRequest_v0,
    SaslAuthenticateRequest_v1,
    SaslAuthenticateResponse_v0,
    SaslAuthenticateResponse_v1,
)

from streams.upstream import sasl
from streams.upstream.sasl import install_hidden_secrets, install_oauth_refusals

REFUSAL = b'{"status":"invalid_token"}'
ORIGINAL = sasl.OAuthAuthenticator


class Provider(AbstractTokenProvider):
    def __init__(self) -> None:
        self.forgotten = 0

    async def token(self) -> str:
        return "t0ken"

    def forget(self) -> None:
        self.forgotten += 1


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aiokafka.conn, "OAuthAuthenticator", ORIGINAL)
    install_oauth_refusals()
    install_oauth_refusals()


def authenticator(provider: Provider) -> object:
    """As a connection makes it."""
    connection = aiokafka.conn.AIOKafkaConnection(
        "127.0.0.1",
        1,
        security_protocol="SASL_PLAINTEXT",
        sasl_mechanism="OAUTHBEARER",
        sasl_oauth_token_provider=provider,
    )
    return connection.authenticator_oauth()


@pytest.mark.usefixtures("installed")
async def test_an_answer_after_the_token_is_a_refusal() -> None:
    provider = Provider()
    made = authenticator(provider)
    payload, expects = await made.step(None)
    assert (b"auth=Bearer t0ken" in payload, expects) == (True, True)
    with pytest.raises(SaslAuthenticationFailed) as caught:
        await made.step(REFUSAL)
    assert provider.forgotten == 1
    assert "invalid_token" not in str(caught.value)


@pytest.mark.usefixtures("installed")
async def test_no_answer_is_none() -> None:
    provider = Provider()
    made = authenticator(provider)
    await made.step(None)
    assert await made.step(b"") is None
    assert provider.forgotten == 0


async def test_the_change_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: aiokafka as it is goes on. When this fails, the change can go."""
    monkeypatch.setattr(aiokafka.conn, "OAuthAuthenticator", ORIGINAL)
    made = authenticator(Provider())
    await made.step(None)
    assert await made.step(REFUSAL) is None


@pytest.mark.parametrize("struct", [SaslAuthenticateRequest_v0, SaslAuthenticateRequest_v1])
def test_the_request_with_the_secret_does_not_show_it(monkeypatch: pytest.MonkeyPatch, struct: type) -> None:
    request = SaslAuthenticateRequest(b"\0me\0hunter2").build(struct)
    with monkeypatch.context() as patch:
        # The control: as it is, it does.
        if "__repr__" in vars(struct):
            patch.delattr(struct, "__repr__")
        assert "hunter2" in repr(request)
    install_hidden_secrets()
    install_hidden_secrets()
    assert "hunter2" not in f"{request} {request!r}"
    assert b"hunter2" in request.encode()


@pytest.mark.parametrize(
    ("struct", "more"), [(SaslAuthenticateResponse_v0, ()), (SaslAuthenticateResponse_v1, (3_600_000,))]
)
def test_the_answer_of_scram_does_not_show_its_salt_and_signature(
    monkeypatch: pytest.MonkeyPatch, struct: type, more: tuple[int, ...]
) -> None:
    answer = struct(58, "refused hunter2", b"v=c2lnbmF0dXJl", *more)
    with monkeypatch.context() as patch:
        # The control: as it is, it does.
        if "__repr__" in vars(struct):
            patch.delattr(struct, "__repr__")
        assert "c2lnbmF0dXJl" in repr(answer)
    install_hidden_secrets()
    shown = f"{answer} {answer!r}"
    assert "c2lnbmF0dXJl" not in shown
    assert "hunter2" not in shown
    assert "error_code=58" in shown
