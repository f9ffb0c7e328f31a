"""Dead letters of a bridge: what Kafka takes no record of, kept as the worker keeps its own. Pure.

The names of the headers are those of the worker's dead letters, so that ``tocsin dead-letters`` shows both.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from typing import Final

from streams.bridges.headers import MESSAGE_ID
from streams.notifications.notification import Reason
from streams.outgoing import Outgoing

_PREFIX: Final = "tocsin-"
_TRUNCATED: Final = ("tocsin-truncated", b"true")
#: Bytes and SHA-256 of the whole value, where only its beginning is kept.
WHOLE_BYTES: Final = "tocsin-whole-bytes"
WHOLE_SHA256: Final = "tocsin-whole-sha256"
#: Of the value, what is kept of one that no topic takes: as much as a worker keeps.
_KEPT_BYTES: Final = 64 * 1024
#: Bytes of a header that are kept beside it.
_HEADER_BYTES: Final = 4096


def letter(
    dead_letter_topic: str,
    topic: str,
    value: bytes,
    headers: Sequence[tuple[str, bytes]],
    *,
    detail: str,
    clock: Callable[[], float] = time.time,
) -> Outgoing:
    """The dead letter of a message that its notification topic takes no record of, for its size.

    It has lain at no offset, which its partition and offset say with -1.

    Args:
        dead_letter_topic: where it goes.
        topic: the notification topic that it was meant for.
        value: the message.
        headers: of the record that it should have been.
        detail: one sentence that says why it is here.
        clock: seconds since 1970.
    """
    digest = hashlib.sha256(value).hexdigest()
    stated = next((content for name, content in headers if name == MESSAGE_ID), digest.encode())
    return Outgoing(
        dead_letter_topic,
        value,
        None,
        None,
        [
            *((name, content) for name, content in headers if not name.startswith(_PREFIX)),
            ("tocsin-reason", Reason.TOO_LARGE.value.encode()),
            ("tocsin-detail", detail.encode()),
            ("tocsin-topic", topic.encode()),
            ("tocsin-partition", b"-1"),
            ("tocsin-offset", b"-1"),
            ("tocsin-timestamp-ms", str(int(clock() * 1000)).encode()),
            ("tocsin-id", b"bridge:" + stated[:200]),
        ],
    )


def shortened(whole: Outgoing) -> Outgoing:
    """A dead letter with the beginning of its value alone, which says so, and how long all of it is."""
    value = whole.value or b""
    headers = [(name, content) for name, content in whole.headers if len(content) <= _HEADER_BYTES]
    return Outgoing(
        whole.topic,
        value[:_KEPT_BYTES],
        whole.key,
        whole.partition,
        [
            *headers,
            _TRUNCATED,
            (WHOLE_BYTES, str(len(value)).encode()),
            (WHOLE_SHA256, hashlib.sha256(value).hexdigest().encode()),
        ],
    )
