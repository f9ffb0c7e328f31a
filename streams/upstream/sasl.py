"""Where aiokafka (0.14) is wrong about SASL: it does not see that a token is refused, and it logs secrets."""

from __future__ import annotations

from typing import Any

import aiokafka.conn
from aiokafka.conn import OAuthAuthenticator
from aiokafka.errors import SaslAuthenticationFailed
from aiokafka.protocol.admin import (
    SaslAuthenticateRequest_v0,
    SaslAuthenticateRequest_v1,
    SaslAuthenticateResponse_v0,
    SaslAuthenticateResponse_v1,
)


class _OAuthAuthenticator(OAuthAuthenticator):
    """As aiokafka's, but for an answer that is a refusal."""

    async def step(self, payload: bytes | None) -> tuple[bytes, bool] | None:
        if self._token_sent and payload:
            # The next try is to be with another token, where one is kept.
            forget = getattr(self._sasl_oauth_token_provider, "forget", None)
            if forget is not None:
                forget()
            # The answer is not shown: it is the broker's, and may repeat what it was sent.
            raise SaslAuthenticationFailed("The broker refuses the bearer token.")
        found: Any = await super().step(payload)
        return found  # type: ignore[no-any-return]


def install_oauth_refusals() -> None:
    """Make a bearer token that a broker refuses an error at once, in this process; may be called again.

    RFC 7628 lets a broker answer a wrong token with a reason, to which the client says that it has read it;
    only then the broker closes the connection. aiokafka does not look at the answer, takes the connection for
    a good one, and finds it closed at the first request, which looks like a broker that is down.
    """
    aiokafka.conn.OAuthAuthenticator = _OAuthAuthenticator


def install_hidden_secrets() -> None:
    """Keep passwords and tokens out of the log, in this process; may be called again.

    At level DEBUG aiokafka logs each request and each answer as it is, also the requests that carry them. Of
    SCRAM the answers are secret too: who has the salt, the nonce and the server's signature can try passwords
    against them for as long as it takes (RFC 5802, section 9).
    """
    for request in (SaslAuthenticateRequest_v0, SaslAuthenticateRequest_v1):
        request.__repr__ = _without_secret
    for answer in (SaslAuthenticateResponse_v0, SaslAuthenticateResponse_v1):
        answer.__repr__ = _code_alone


def _without_secret(request: Any) -> str:
    return f"{type(request).__name__}(sasl_auth_bytes=********)"


def _code_alone(answer: Any) -> str:
    # Nor the message, which may repeat what was sent.
    return f"{type(answer).__name__}(error_code={answer.error_code}, sasl_auth_bytes=********)"
