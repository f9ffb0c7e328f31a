"""Properties of decoding and encoding: nothing raises, nothing is lost, nothing depends on the past."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import orjson
from hypothesis import example, given, settings
from hypothesis import strategies as st

from streams.notifications import (
    Decoder,
    Limits,
    Notification,
    Priority,
    Reason,
    Rejection,
    Repair,
    bucket_time_ms,
    encode,
)
from streams.notifications.event_types import event_type_fault
from streams.notifications.timestamps import MAX_TIME_MS, MIN_TIME_MS, make_timestamp_parser, repair_timestamp

# A busy machine is no failure.
UNTIMED = settings(deadline=None)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

texts = st.text(st.characters(exclude_categories=["Cs"]))
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts
)
json_values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
priorities = st.sampled_from(Priority)
event_types = texts.map(str.strip).filter(lambda text: len(text) <= 255 and event_type_fault(text) is None)
times_ms = st.integers(MIN_TIME_MS, MAX_TIME_MS)
keys = st.sampled_from(
    [
        "event_type",
        "priority",
        "publisher_id",
        "message_id",
        "timestamp",
        "payload",
        "metadata",
        "_context",
        "_context_user",
        "ctxt",
        "oslo.message",
        "oslo.version",
        "specversion",
        "data",
        "data_base64",
    ]
)
# Untidy messages: known keys with any values, good event types often enough to get past them.
messages = st.builds(
    lambda message, event_type: message | ({} if event_type is None else {"event_type": event_type}),
    st.dictionaries(keys | texts, json_values, max_size=8),
    st.none() | event_types,
)


def check(result: Notification | Rejection, priority: Priority) -> None:
    """What must hold of any result."""
    if isinstance(result, Rejection):
        assert result.reason in set(Reason)
        assert len(result.detail) <= 200
        assert result.detail.isascii()
        assert result.detail.isprintable()
        return
    assert result.priority is priority
    assert event_type_fault(result.event_type) is None
    assert result.event_type == result.event_type.strip()
    assert isinstance(result.publisher_id, str)
    assert isinstance(result.message_id, str | None)
    assert isinstance(result.context, dict | None)
    assert result.event_time_ms is None or MIN_TIME_MS <= result.event_time_ms <= MAX_TIME_MS
    assert len(set(result.repairs)) == len(result.repairs)
    assert set(result.repairs) <= set(Repair)
    # What was accepted can be written again.
    orjson.dumps([result.publisher_id, result.payload, result.context, result.stated_priority])


@UNTIMED
@given(st.binary(), priorities)
@example(b"\xef\xbb\xbf" * 3000 + b"{}", Priority.INFO)
@example(b"[" * 100_000, Priority.INFO)
@example(b'{"a":' * 100_000, Priority.INFO)
def test_any_bytes_become_a_notification_or_a_rejection(value: bytes, priority: Priority) -> None:
    check(Decoder(Limits()).decode(value, priority), priority)


@UNTIMED
@given(json_values, priorities)
def test_any_json_value_becomes_a_notification_or_a_rejection(value: Any, priority: Priority) -> None:
    decode = Decoder(Limits()).decode
    check(decode(orjson.dumps(value), priority), priority)
    check(decode(orjson.dumps({"oslo.message": value}), priority), priority)
    check(decode(orjson.dumps({"specversion": "1.0", "data": value}), priority), priority)
    check(decode(orjson.dumps([{"specversion": value}]), priority), priority)


@UNTIMED
@given(messages, priorities)
def test_any_dictionary_becomes_a_notification_or_a_rejection(message: Any, priority: Priority) -> None:
    check(Decoder(Limits()).decode(orjson.dumps(message), priority), priority)


@UNTIMED
@given(messages, priorities, st.data())
def test_damaged_bytes_become_a_notification_or_a_rejection(
    message: Any, priority: Priority, data: Any
) -> None:
    value = bytearray(orjson.dumps(message))
    for _ in range(data.draw(st.integers(1, 3))):
        value[data.draw(st.integers(0, len(value) - 1))] = data.draw(st.integers(0, 255))
    check(Decoder(Limits()).decode(bytes(value), priority), priority)


@UNTIMED
@given(st.lists(messages, max_size=6), priorities)
def test_a_result_does_not_depend_on_what_was_decoded_before(seen: list[Any], priority: Priority) -> None:
    used = Decoder(Limits(remembered_event_types=2)).decode
    for message in [*seen, *seen]:
        value = orjson.dumps(message)
        assert used(value, priority) == Decoder(Limits()).decode(value, priority)


loose_texts = st.lists(
    st.sampled_from(["a", '"', "\\", "\ud83d", "\udca5", "NaN", "\U0001f4a5"]), max_size=6
).map("".join)
loose_values = st.recursive(
    st.sampled_from([1.5, float("nan"), float("inf"), -float("inf")]) | loose_texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


def strict(value: Any) -> Any:
    """What a strict reader is to find of a loose value; halves of a character that meet make a whole one."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return list(map(strict, value))
    return {key: strict(item) for key, item in value.items()}


def is_json(text: str) -> bool:
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True


@UNTIMED
@given(loose_values, priorities)
def test_what_pythons_json_writes_is_read(payload: Any, priority: Priority) -> None:
    message = {"event_type": "a", "publisher_id": "p", "priority": priority.value, "payload": payload}
    text = json.dumps(message)
    for value in (text.encode(), orjson.dumps({"oslo.message": text})):
        found = Decoder(Limits()).decode(value, priority)
        assert isinstance(found, Notification)
        assert found.payload == strict(payload)
        repaired = {Repair.NOT_A_NUMBER, Repair.LONE_SURROGATE} & set(found.repairs)
        assert bool(repaired) != is_json(text)


@UNTIMED
@given(messages.filter(lambda message: "event_type" in message), priorities)
def test_the_envelope_makes_no_difference(message: Any, priority: Priority) -> None:
    decode = Decoder(Limits()).decode
    text = orjson.dumps(message)
    wrapped = orjson.dumps({"oslo.version": "2.0", "oslo.message": text.decode()})
    assert decode(wrapped, priority) == decode(text, priority)


@UNTIMED
@given(
    texts,
    event_types,
    priorities,
    json_values,
    times_ms,
    texts,
    st.none() | st.dictionaries(texts, json_values),
)
def test_what_is_encoded_is_decoded(
    publisher_id: str,
    event_type: str,
    priority: Priority,
    payload: Any,
    time_ms: int,
    message_id: str,
    context: dict[str, Any] | None,
) -> None:
    value = encode(publisher_id, event_type, priority, payload, time_ms, message_id, context)
    found = Decoder(Limits()).decode(value, priority)
    repairs = () if publisher_id else (Repair.PUBLISHER_ID_MISSING,)
    assert found == Notification(
        publisher_id, time_ms, event_type, priority, None, payload, message_id, context, repairs
    )


def depth(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max(map(depth, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(depth, value), default=0)
    return 0


@UNTIMED
@given(messages.filter(lambda message: "oslo.message" not in message), st.integers(2, 6))
def test_depth_is_measured_exactly(message: Any, max_depth: int) -> None:
    found = Decoder(Limits(max_depth=max_depth)).decode(orjson.dumps(message), Priority.INFO)
    too_deep = isinstance(found, Rejection) and found.reason is Reason.TOO_DEEP
    assert too_deep == (depth(message) > max_depth)


offsets = st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
moments = st.datetimes(
    datetime(2, 1, 1),  # noqa: DTZ001 -- hypothesis adds the zone
    datetime(9998, 12, 31),  # noqa: DTZ001
    timezones=st.just(UTC) | offsets,
)


@UNTIMED
@given(
    moments, st.sampled_from([" ", "T"]), st.sampled_from(["auto", "seconds", "milliseconds", "microseconds"])
)
def test_a_written_moment_is_read_back(moment: datetime, separator: str, precision: str) -> None:
    expected = (moment - EPOCH) // timedelta(milliseconds=1)
    if precision == "seconds":
        expected -= expected % 1000
    parse = make_timestamp_parser()
    text = moment.isoformat(separator, precision)
    assert [parse(text), parse(text)] == [expected, expected]
    if moment.tzinfo is UTC:
        for written in (text.removesuffix("+00:00"), text.replace("+00:00", "Z")):
            assert [parse(written), make_timestamp_parser()(written)] == [expected, expected]
    assert repair_timestamp(f" {text} ") == (expected, Repair.TIMESTAMP_REPAIRED)


@UNTIMED
@given(st.text(max_size=40) | st.text("0123456789-:. TZ+", max_size=40), st.none() | moments)
def test_any_text_is_a_time_or_none(text: str, before: datetime | None) -> None:
    parse = make_timestamp_parser()
    if before is not None:
        parse(before.isoformat())
        text = before.isoformat()[:19] + text
    assert parse(text) == make_timestamp_parser()(text)
    found, repair = repair_timestamp(text)
    assert (found is None) == (repair is Repair.TIMESTAMP_BROKEN)


@UNTIMED
@given(st.none() | times_ms, st.just(-1) | st.integers(0, MAX_TIME_MS), st.integers(0, 86_400_000))
def test_bucket_time_is_near_the_brokers_or_says_why(own: int | None, broker: int, lateness: int) -> None:
    time_ms, overruled = bucket_time_ms(own, broker, lateness)
    # No count is of a time before 1970.
    if broker < 0:
        assert (time_ms, overruled) == (max(0, own or 0), False)
        return
    believed = own is not None and broker - lateness <= own <= broker + 600_000
    assert time_ms == (max(0, own) if believed and own is not None else broker)
    assert overruled == (own is not None and not believed)
