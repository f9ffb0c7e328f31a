"""A bearer token that a broker refuses is an error at once.

RFC 7628 lets a broker answer a wrong token with a reason, to which the client says that it has read it; only
then the broker closes the connection. aiokafka (0.14) does not look at the answer, takes the connection for a
good one, and finds it closed at the first request, which looks like a broker that is down.
"""

from __future__ import annotations

from typing import Any

import aiokafka.conn
from aiokafka.conn import OAuthAuthenticator
from aiokafka.errors import SaslAuthenticationFailed


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
    """Change aiokafka for this process; may be called again."""
    aiokafka.conn.OAuthAuthenticator = _OAuthAuthenticator
