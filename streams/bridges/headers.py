"""The headers that a bridge gives the records it writes. Pure."""

from __future__ import annotations

from typing import Final

#: The id that the message has where it comes from; a message that comes twice has the same one twice.
MESSAGE_ID: Final = "message-id"
#: W3C trace context, carried on as it came.
TRACE: Final = ("traceparent", "tracestate")

Headers = list[tuple[str, bytes]]
