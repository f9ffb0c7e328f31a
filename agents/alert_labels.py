"""What forwarded alerts of an event type and a publisher have in common, as bytes that are kept. Pure."""

from __future__ import annotations

import hashlib
import sys
from typing import Final, NamedTuple

import orjson

from streams.notifications import Priority
from streams.packed_records import packed_header

RULE: Final = "forward"
CONTENT_TYPE: Final = ("content-type", b"application/json")
#: Bytes of what is kept of event types and publishers, for one priority.
_MOST_KEPT_BYTES: Final = 8 * 2**20
#: Bytes that one takes besides its texts, about.
_KEPT_BYTES: Final = 300
STARTS_AT: Final = b',"startsAt":"'


def fingerprint(labels: dict[str, str]) -> str:
    """Fingerprint of an alert: 16 hexadecimal digits that depend on its labels only."""
    text = "\xff".join(f"{name}\xff{value}" for name, value in sorted(labels.items()))
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


class OfEventType(NamedTuple):
    """What alerts of one event type have in common: what stands around the publisher in the value.

    Attributes:
        before: the publisher in the labels.
        between: that, and the publisher in the summary.
        last_headers: what stands behind the start, packed.
        subject: the value of that header.
        nbytes: of ``before`` and ``between``.
        keys: publisher -> fingerprint of the alerts of both.
    """

    before: bytes
    between: bytes
    last_headers: bytes
    subject: bytes
    nbytes: int
    keys: dict[str, bytes]


class OfPublisher(NamedTuple):
    """What alerts of one publisher have in common.

    Attributes:
        in_labels: how it stands there.
        in_summary: how it stands there, to the start.
        nbytes: of both.
    """

    in_labels: bytes
    in_summary: bytes
    nbytes: int


class AlertLabels:
    """What alerts of one priority have in common, by event type and by publisher; kept within a bound.

    There are many pairs of an event type and a publisher, so all that is kept of one is its fingerprint.

    Attributes:
        event_types: what is kept of event types, by name.
        publishers: what is kept of publishers, by name.
    """

    def __init__(self, priority: Priority) -> None:
        self._priority = priority
        self.event_types: dict[str, OfEventType] = {}
        self.publishers: dict[str, OfPublisher] = {}
        self._kept_bytes = 0

    def of_event_type(self, event_type: str) -> OfEventType:
        """The parts of alerts of one event type."""
        found = self.event_types.get(event_type)
        if found is None:
            name, severity = orjson.dumps(event_type), self._priority.value.encode()
            before = b'{"labels":{"alertname":%b,"severity":"%b","publisher_id":' % (name, severity.lower())
            between = b',"rule":"%b"},"annotations":{"summary":"%b %b from ' % (
                RULE.encode(),
                severity,
                name[1:-1],
            )
            subject = event_type.encode("utf-8", "replace")
            last_headers = packed_header("ce_subject", subject) + packed_header(*CONTENT_TYPE)
            found = OfEventType(before, between, last_headers, subject, len(before) + len(between), {})
            if self._has_room(sys.getsizeof(event_type) + found.nbytes + len(last_headers) + len(subject)):
                self.event_types[event_type] = found
        return found

    def of_publisher(self, publisher_id: str) -> OfPublisher:
        """The parts of alerts of one publisher."""
        found = self.publishers.get(publisher_id)
        if found is None:
            in_labels = orjson.dumps(publisher_id)
            in_summary = orjson.dumps(publisher_id or "an unnamed publisher")[1:] + b"}" + STARTS_AT
            found = OfPublisher(in_labels, in_summary, len(in_labels) + len(in_summary))
            if self._has_room(sys.getsizeof(publisher_id) + found.nbytes):
                self.publishers[publisher_id] = found
        return found

    def key(self, of_type: OfEventType, event_type: str, publisher_id: str) -> bytes:
        """The fingerprint of alerts of one event type and publisher."""
        found = of_type.keys.get(publisher_id)
        if found is None:
            labels = {
                "alertname": event_type,
                "severity": self._priority.value.lower(),
                "publisher_id": publisher_id,
                "rule": RULE,
            }
            found = fingerprint(labels).encode()
            if self._has_room(sys.getsizeof(publisher_id)):
                of_type.keys[publisher_id] = found
        return found

    def _has_room(self, nbytes: int) -> bool:
        """Whether something of so many bytes may be kept; what was kept before may have to go."""
        nbytes += _KEPT_BYTES
        if nbytes > _MOST_KEPT_BYTES // 100:
            return False
        if self._kept_bytes + nbytes > _MOST_KEPT_BYTES:
            self.event_types.clear()
            self.publishers.clear()
            self._kept_bytes = 0
        self._kept_bytes += nbytes
        return True
