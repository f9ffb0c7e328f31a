"""Encoding: the seed's form, what JSON has no form for, and clear errors."""

from __future__ import annotations

import enum
import uuid
from datetime import UTC, datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Any

import orjson
import pytest

from streams.notifications import Decoder, EncodingError, Limits, Notification, Priority, encode

TIME_MS = 1_304_978_414_621


def encoded(payload: Any, **changes: Any) -> Any:
    fields: dict[str, Any] = {
        "publisher_id": "compute.host1",
        "event_type": "compute.create_instance",
        "priority": Priority.WARN,
        "timestamp_ms": TIME_MS,
        "message_id": "m",
    }
    return orjson.loads(encode(payload=payload, **(fields | changes)))


def test_the_seeds_form_with_a_message_id() -> None:
    assert encoded({"instance_id": 12}) == {
        "publisher_id": "compute.host1",
        "timestamp": "2011-05-09 22:00:14.621000",
        "priority": "WARN",
        "event_type": "compute.create_instance",
        "payload": {"instance_id": 12},
        "message_id": "m",
    }


def test_context_is_nested() -> None:
    assert encoded({}, context={"user": "u"})["_context"] == {"user": "u"}
    assert encoded({}, context={})["_context"] == {}


class Colour(enum.Enum):
    RED = "red"


@pytest.mark.parametrize(
    ("payload", "written"),
    [
        (datetime(2011, 5, 9, 22, 0, 14, tzinfo=UTC), "2011-05-09T22:00:14+00:00"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (Colour.RED, "red"),
        (Decimal("1.50"), "1.50"),
        (b"caf\xc3\xa9 \xff", "café \\xff"),
        ({1}, [1]),
        ((1, 2), [1, 2]),
        (float("nan"), None),
        ({2: "a", None: "b", True: "c"}, {"2": "a", "null": "b", "true": "c"}),
        (MappingProxyType({"a": 1}), {"a": 1}),
        (KeyError("gone"), "'gone'"),
        (2j, "2j"),
    ],
)
def test_what_json_has_no_form_for_is_written_as_near_as_can_be(payload: Any, written: Any) -> None:
    assert encoded({"value": payload})["payload"] == {"value": written}


class Mute:
    def __str__(self) -> str:
        raise RuntimeError("no text")


def _circle() -> list[Any]:
    circle: list[Any] = []
    circle.append(circle)
    return circle


def _deep() -> Any:
    value: Any = 1
    for _ in range(300):
        value = {"a": value}
    return value


@pytest.mark.parametrize(
    "payload",
    [2**70, "\ud800", _circle(), _deep(), Mute(), {Mute(): 1}],
    ids=lambda value: type(value).__name__,
)
def test_what_cannot_be_written_is_a_clear_error(payload: Any) -> None:
    with pytest.raises(EncodingError, match=r"^The notification cannot be written as JSON: .+\.$"):
        encoded(payload)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"event_type": ""}, "is blank or has control characters"),
        ({"event_type": " \n"}, "is blank or has control characters"),
        ({"event_type": "a\x00b"}, "is blank or has control characters"),
        ({"event_type": 5}, "The event type is a int; give text"),
        ({"timestamp_ms": 10**20}, "outside the years 1 to 9999"),
    ],
)
def test_what_the_reader_would_refuse_is_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(EncodingError, match=message):
        encoded({}, **wrong)


def test_positional_arguments_in_the_order_of_the_seed() -> None:
    value = encode("p", "t", Priority.INFO, {"a": 1}, TIME_MS, "m", {"c": 2})
    assert Decoder(Limits()).decode(value, Priority.INFO) == Notification(
        "p", TIME_MS, "t", Priority.INFO, None, {"a": 1}, "m", {"c": 2}, ()
    )
