"""What one alert says: labels, annotations, where its notification lies, and that itself, masked. Pure.

Forwarding has masked secrets in alerts already, by the settings of its day. Here they are masked again, by
those of this process: older alerts, and those of other writers, are shown by the same rules. All of it is
text that anybody may have published.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
import orjson

from streams.notifications.masking import MASK, Masker
from streams.notifications.visible import visible_json
from tables.recent_alerts import Alert

#: Labels and annotations that are shown, and characters of each.
_MOST_MEMBERS: Final = 64
_MOST_TEXT: Final = 4096
#: Characters of the names of a record and of a dead letter.
_MOST_NAME: Final = 512
#: Records that an alert stems from, and repairs.
_MOST_EXAMPLES: Final = 16
#: Bytes of blanks that may make a notification easier to read; one that is nested deep stays in one line.
_MOST_INDENT: Final = 256 * 2**10
#: The alert's own texts, and what stands in a feed in place of one that cannot be searched for secrets.
_TEXTS: Final = ("labels", "annotations", "repairs")
_LEFT_OUT: Final = b'{"truncated":true}'
#: Characters that are written in one step.
_STEP: Final = 1000


class Example(msgspec.Struct, frozen=True):
    """A record that an alert stems from."""

    topic: str = ""
    partition: int = 0
    offset: int = 0
    message_id: str | None = None


class DeadLetter(msgspec.Struct, frozen=True):
    """The dead letter of a record that could not be read."""

    topic: str = ""
    id: str = ""
    reason: str = ""


class _Body(msgspec.Struct):
    labels: dict[str, Any] = {}
    annotations: dict[str, Any] = {}
    examples: list[Example] = []
    repairs: list[str] = []
    dead_letter: DeadLetter | None = msgspec.field(default=None, name="deadLetter")
    notification: msgspec.Raw = msgspec.Raw(b"null")


_decoder: Final = msgspec.json.Decoder(_Body)
_encode: Final = msgspec.json.Encoder().encode


@dataclass(slots=True)
class AlertContents:
    """What an alert says.

    Attributes:
        labels: name -> value.
        annotations: name -> value.
        examples: records that it stems from.
        repairs: what was put right in the notification.
        dead_letter: of a record that could not be read.
        notification: as published, with secrets masked; None where there is none, or none to be shown.
        lines: the same as text for people, in which what cannot be seen is escaped.
        left_out: why there is no notification here, one sentence; "" where there is one.
    """

    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)
    examples: list[Example] = field(default_factory=list)
    repairs: list[str] = field(default_factory=list)
    dead_letter: DeadLetter | None = None
    notification: Any = None
    lines: str = ""
    left_out: str = ""


def contents_of(alert: Alert, masker: Masker, *, payloads: bool) -> Generator[None, None, AlertContents]:
    """What an alert says; found in steps of less than a millisecond.

    Args:
        alert: as it is kept.
        masker: takes secrets out.
        payloads: whether notifications may be shown.
    """
    try:
        body = _decoder.decode(alert.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return AlertContents(left_out="What lies there is no alert that can be read.")
    found = AlertContents(
        (yield from _texts(body.labels, masker)),
        (yield from _texts(body.annotations, masker)),
        [_example(each) for each in body.examples[:_MOST_EXAMPLES]],
        dead_letter=None if body.dead_letter is None else _cut(body.dead_letter),
    )
    for each in body.repairs[:_MOST_MEMBERS]:
        found.repairs.append(masker.in_text(each[:_MOST_TEXT]))
        yield
    if not payloads:
        found.left_out = "Notifications are not shown: TOCSIN_WEB_PAYLOADS=true allows it."
    elif bytes(body.notification) == b"null":
        found.left_out = (
            "The notification is too large to be kept here; it lies in the alert's topic."
            if alert.truncated
            else "The alert has no notification in it."
        )
    else:
        try:
            value = orjson.loads(bytes(body.notification))
            yield
            found.notification, indent = yield from masker.masked_in_steps(value)
            found.lines = yield from _written(found.notification, indented=indent <= _MOST_INDENT)
        except (orjson.JSONDecodeError, msgspec.MsgspecError, RecursionError):
            found.notification, found.lines = None, ""
            found.left_out = "The notification cannot be searched for secrets, and is not shown."
    return found


def masked_body(alert: Alert) -> Generator[None, None, bytes]:
    """The JSON of an alert for other programs, with secrets masked; the body as it lies there if it has none.

    Found in steps. Forwarding has masked its own alerts; this is for those of other writers.
    """
    masker, body = alert.masker, alert.body
    try:
        masked = masker.masked(body)
        yield
        value = orjson.loads(masked)
        yield
        if not isinstance(value, dict):
            return _LEFT_OUT if masker.is_mentioned(masked) else masked
        changed = masked != body
        for name in _TEXTS:
            if name in value:
                shown = yield from _in_texts(value[name], masker)
                changed = changed or shown != value[name]
                value[name] = shown
        return orjson.dumps(value) if changed else body
    except (ValueError, TypeError, RecursionError):
        # No JSON: nobody can tell what is the secret in it.
        return _LEFT_OUT if masker.is_mentioned(body) else body


def _in_texts(value: Any, masker: Masker) -> Generator[None, None, Any]:
    """Labels, annotations or repairs, with what stands in their texts masked."""
    if isinstance(value, str):
        yield
        if len(value) <= _MOST_TEXT:
            return masker.in_text(value)
        # Too long to be looked through in one step: all of it, or nothing.
        return MASK if masker.is_mentioned(value.encode()) else value
    if isinstance(value, list):
        items: list[Any] = []
        for each in value:
            items += [(yield from _in_texts(each, masker))]
        return items
    if isinstance(value, dict):
        members = {}
        for name, each in value.items():
            members[name] = yield from _in_texts(each, masker)
        return members
    return value


def _texts(members: Mapping[str, Any], masker: Masker) -> Generator[None, None, dict[str, str]]:
    found = {}
    for name, value in list(members.items())[:_MOST_MEMBERS]:
        shown = masker.in_text(name[:_MOST_TEXT])
        text = value if isinstance(value, str) else _encode(value).decode()
        if text and masker.names_a_secret(shown):
            found[shown] = MASK
        else:
            found[shown] = masker.in_text(text[:_MOST_TEXT])
        yield
    return found


def _example(example: Example) -> Example:
    message_id = None if example.message_id is None else example.message_id[:_MOST_NAME]
    return Example(example.topic[:_MOST_NAME], example.partition, example.offset, message_id)


def _cut(letter: DeadLetter) -> DeadLetter:
    return DeadLetter(letter.topic[:_MOST_NAME], letter.id[:_MOST_NAME], letter.reason[:_MOST_NAME])


def _written(value: Any, *, indented: bool) -> Generator[None, None, str]:
    body = _encode(value)
    yield
    text = (msgspec.json.format(body, indent=2) if indented else body).decode()
    yield
    lines = []
    for line in text.split("\n"):
        for start in range(0, max(1, len(line)), _STEP):
            lines.append(("" if start else "\n") + visible_json(line[start : start + _STEP]))
            yield
    return "".join(lines).removeprefix("\n")
