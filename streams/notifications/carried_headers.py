"""Headers of a notification's record that go on to its alert, so that one can follow where it came from.

``traceparent`` and ``tracestate`` are those of W3C Trace Context, ``message-id`` is the id that the message
had where it came from. What is not as it should be is left out: publishers choose it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

Headers = Sequence[tuple[str, bytes | None]]

MESSAGE_ID: Final = "message-id"
#: Name -> what the value must look like; none is longer than 512 bytes.
_WANTED: Final = {
    # There is no version ff, and those after 00 may go on behind the flags.
    "traceparent": re.compile(
        rb"(?!ff)(?!00.{53}.)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-[!-~]{1,400})?"
    ),
    "tracestate": re.compile(rb"[ -~\t]{1,512}"),
    MESSAGE_ID: re.compile(rb"[!-~]{1,255}"),
}
#: Headers of a record that are looked at; there may be thousands.
_MOST: Final = 64


def carried_headers(headers: Headers) -> list[tuple[str, bytes]]:
    """Those of the headers that go on, in the order of their names; the first of each name counts."""
    found: dict[str, bytes] = {}
    for name, value in headers[:_MOST]:
        wanted = _WANTED.get(name)
        if wanted is not None and value is not None and name not in found and wanted.fullmatch(value):
            found[name] = value
    if "traceparent" not in found:
        found.pop("tracestate", None)  # it says nothing by itself
    return sorted(found.items())
