"""From the body of a request to the notifications in it, still as they came. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote_to_bytes

import msgspec

#: Notifications that one request may have.
MOST_ITEMS: Final = 10_000
JSON: Final = "application/json"
LINES: Final = ("application/x-ndjson", "application/ndjson", "application/jsonl")
EVENT: Final = "application/cloudevents+json"
EVENTS: Final = "application/cloudevents-batch+json"
#: All media types, but those of the data of a CloudEvent in binary mode, which are any.
MEDIA_TYPES: Final = (JSON, *LINES, EVENT, EVENTS)

_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_LINE: Final = re.compile(rb"[^\r\n][^\n]*")
_BLANK: Final = b" \t\r\n"
_items: Final = msgspec.json.Decoder(list[msgspec.Raw]).decode
#: Of an attribute in the headers of a CloudEvent in binary mode.
_ATTRIBUTE: Final = re.compile(r"ce-([a-z0-9]{1,64})")
_MOST_ATTRIBUTE_BYTES: Final = 4096


class BodyError(Exception):
    """A body from which nothing can be taken.

    Attributes:
        status: of the answer: 400, 413 or 415.
        detail: one sentence that says what to change.
    """

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Item:
    """One notification as it came.

    Attributes:
        value: its bytes; the data alone, of a CloudEvent in binary mode.
        is_event: whether it must be a CloudEvent.
        attributes: of one in binary mode.
        media_type: of the data of one in binary mode.
    """

    value: bytes
    is_event: bool = False
    attributes: Mapping[str, str] | None = None
    media_type: str = JSON


def is_read(media_type: str, headers: Mapping[str, str]) -> bool:
    """Whether bodies of this media type are read; in binary mode, those of any."""
    return media_type in MEDIA_TYPES or (
        "ce-specversion" in headers and not media_type.startswith("application/cloudevents")
    )


def items_of(media_type: str, headers: Mapping[str, str], body: bytes) -> list[Item]:
    """What a body holds, in its order.

    Args:
        media_type: of the body, in lower case, without parameters; "" for none.
        headers: of the request, by name in lower case.
        body: of the request.

    Raises:
        BodyError: nothing can be taken from it.
    """
    if not is_read(media_type, headers):
        raise BodyError(415, f"Send one of {', '.join(MEDIA_TYPES)}, or a CloudEvent in binary mode.")
    if media_type == EVENTS:
        return [Item(value, is_event=True) for value in _array(body)]
    if media_type == EVENT:
        return [Item(body, is_event=True)]
    if "ce-specversion" in headers:
        return [Item(body, True, _attributes(headers), media_type)]
    if media_type in LINES:
        return [Item(value) for value in _bounded(_lines(body))]
    if not body.strip(_BLANK):
        raise BodyError(400, "The body is empty; send a notification, or a list of them.")
    if body.removeprefix(_BYTE_ORDER_MARK).lstrip(_BLANK).startswith(b"["):
        return [Item(value) for value in _array(body)]
    return [Item(body)]


# --- Several in one body -------------------------------------------------------------------


def _array(body: bytes) -> list[bytes]:
    body = body.removeprefix(_BYTE_ORDER_MARK)
    try:
        # A list of very many has very many commas: only then is it worth the time to count its items
        # before they all are in memory.
        if body.count(b",") >= MOST_ITEMS:
            _count(body)
        return [bytes(raw) for raw in _items(body)]
    except msgspec.ValidationError:
        raise BodyError(400, "The body is no JSON array; send a list of notifications.") from None
    except msgspec.DecodeError as error:
        raise BodyError(400, f"The body is not JSON: {error}.") from None
    except UnicodeDecodeError:
        raise BodyError(400, "The body is not UTF-8 text.") from None
    except RecursionError:
        raise BodyError(400, "The body is nested too deeply.") from None


class _Item:
    """Stands for one item, which is taken in and let go again."""


def _count(body: bytes) -> None:
    count = 0

    def one(_: type, __: Any) -> _Item:
        nonlocal count
        count += 1
        if count > MOST_ITEMS:
            raise _too_many()
        return _ITEM

    # Numbers that are too large for a float are good JSON, which whoever reads the item decides about.
    msgspec.json.Decoder(list[_Item], dec_hook=one, float_hook=_no_number).decode(body)


_ITEM: Final = _Item()


def _no_number(_: str) -> float:
    return 0.0


def _lines(body: bytes) -> Iterator[bytes]:
    """Lines that have anything in them, without the line's end."""
    for found in _LINE.finditer(body.removeprefix(_BYTE_ORDER_MARK)):
        if line := found[0].strip(_BLANK):
            yield line


def _bounded(values: Iterable[bytes]) -> list[bytes]:
    found: list[bytes] = []
    for value in values:
        if len(found) == MOST_ITEMS:
            raise _too_many()
        found.append(value)
    if not found:
        raise BodyError(400, "The body is empty; send a notification a line.")
    return found


def _too_many() -> BodyError:
    return BodyError(
        413, f"There are more than {MOST_ITEMS} notifications in the body; send fewer at a time."
    )


# --- CloudEvents in binary mode ------------------------------------------------------------


def _attributes(headers: Mapping[str, str]) -> dict[str, str]:
    """Attributes of a CloudEvent, which headers have percent-encoded."""
    found = {}
    for name, value in headers.items():
        if not name.startswith("ce-"):
            continue
        match = _ATTRIBUTE.fullmatch(name)
        if match is None or len(value) > _MOST_ATTRIBUTE_BYTES:
            raise BodyError(
                400, "A header of the CloudEvent is no attribute: use letters and digits, and 4 KiB at most."
            )
        try:
            found[match[1]] = unquote_to_bytes(value.encode("utf-8", "surrogateescape")).decode("utf-8")
        except UnicodeDecodeError:
            raise BodyError(
                400, "A header of the CloudEvent is not UTF-8 text, percent-encoded where it is not ASCII."
            ) from None
    return found
