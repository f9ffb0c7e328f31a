"""There is no token to authenticate with."""

from __future__ import annotations

from aiokafka.errors import KafkaConnectionError


class TokenError(KafkaConnectionError):  # type: ignore[misc]
    """There is no token to authenticate with.

    Attributes:
        reason: what happened, to be read after "there is no token".
        advice: what to change.
        temporary: whether waiting may help.
    """

    def __init__(self, reason: str, advice: str, *, temporary: bool = False) -> None:
        super().__init__(f"there is no token, {reason}: {advice}")
        self.reason = reason
        self.advice = advice
        self.temporary = temporary
