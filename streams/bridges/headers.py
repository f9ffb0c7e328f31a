"""The headers that a bridge gives the records it writes. Pure."""

from __future__ import annotations

from typing import Final

# The id that a message has where it comes from; a message that comes twice has the same one twice.
from streams.notifications.carried_headers import MESSAGE_ID

__all__ = ["MESSAGE_ID", "TRACE", "Headers"]

#: W3C trace context, carried on as it came.
TRACE: Final = ("traceparent", "tracestate")

Headers = list[tuple[str, bytes]]
