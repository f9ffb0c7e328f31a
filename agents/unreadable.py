"""The alert of a record that cannot be read, on a topic whose priority is forwarded. Pure.

A CRITICAL that no one can read is still a CRITICAL: somebody must look. The alert says what can be told, and
where the record lies: as published, and in the dead letters, by its id. (In which partition and at which
offset a dead letter lies is known only when the brokers have confirmed it, and is another when a crash makes
a worker send it again. The id is the same, and so are all bytes of the alert.) Of the record's own text it
shows event type and publisher alone, for nothing else in it can be searched for secrets.
"""

from __future__ import annotations

import hashlib
from typing import Final

import orjson
from faust.types import TP

from agents.alert_labels import fingerprint
from agents.forwarding import start_text
from streams.notifications import Priority, Reason
from streams.notifications.second_look import second_look
from streams.outgoing import Outgoing

RULE: Final = "unreadable"
TYPE: Final = "io.tocsin.alert.unreadable.v1"


class UnreadableAlerts:
    """Makes the alert records of what cannot be read in one input partition.

    Args:
        topic: the alert topic.
        tp: partition that the records come from.
        source: name of the source: topic id and partition.
        priority: of the partition's topic.
        dead_letter_topic: where the records go.
    """

    def __init__(self, topic: str, tp: TP, source: str, priority: Priority, dead_letter_topic: str) -> None:
        self._topic = topic
        self._tp = tp
        self._source = source
        self._priority = priority
        self._dead_letter_topic = dead_letter_topic

    def alert(self, offset: int, value: bytes | None, event_ms: int, reason: Reason) -> Outgoing:
        """The alert record of one record.

        Args:
            offset: of the record.
            value: of the record, as it came.
            event_ms: the time it is counted under, in milliseconds since 1970; 0 when nobody knows it.
            reason: why it cannot be read.
        """
        told = second_look(value)
        letter_id = f"{self._source}:{offset}"
        identity = hashlib.blake2b(f"{RULE}/{self._source}/{offset}".encode(), digest_size=16).hexdigest()
        time, known = start_text(event_ms), event_ms > 0
        labels = {
            "alertname": RULE,
            "severity": self._priority.value.lower(),
            "publisher_id": told.publisher_id,
            "rule": RULE,
            "reason": reason.value,
        }
        if told.event_type:
            labels["event_type"] = told.event_type
        of_labels = fingerprint(labels)
        what = f"{self._priority} {told.event_type}".rstrip()
        body = {
            "labels": labels,
            "annotations": {
                "summary": f"{what} from {told.publisher_id or 'an unnamed publisher'} cannot be read "
                f"({reason.value}); it lies in {self._dead_letter_topic} as {letter_id}"
            },
            **({"startsAt": time.decode()} if known else {}),
            "generatorURL": "",
            "id": identity,
            "fingerprint": of_labels,
            "episode": identity,
            "state": "firing",
            "previousState": None,
            "reason": RULE,
            "value": 1,
            "threshold": 1,
            "window_s": 0,
            "count": 1,
            "examples": [
                {
                    "topic": self._tp.topic,
                    "partition": self._tp.partition,
                    "offset": offset,
                    "message_id": None,
                }
            ],
            "rule": RULE,
            "repairs": [],
            "deadLetter": {"topic": self._dead_letter_topic, "id": letter_id, "reason": reason.value},
            "notification": None,
        }
        headers = [
            ("ce_specversion", b"1.0"),
            ("ce_id", identity.encode()),
            ("ce_source", f"tocsin/{self._tp.topic}".encode()),
            ("ce_type", TYPE.encode()),
            *([("ce_time", time)] if known else []),
            ("ce_subject", (told.event_type or RULE).encode("utf-8", "replace")),
            ("content-type", b"application/json"),
        ]
        return Outgoing(self._topic, orjson.dumps(body), of_labels.encode(), None, headers)


def as_it_is(alert: Outgoing) -> Outgoing:
    """The same: it is as small as it can be."""
    return alert
