"""Counting runs of tidy records finds the same as decoding each of them in full."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agents.tally import RunTally
from streams.notifications import Decoder, Limits, Notification, Priority, bucket_time_ms
from tables.buckets import FINE, FUTURE_S, bucket_of
from tables.last_seen import LastSeen

LIMITS = Limits(max_bytes=2000, max_depth=6, max_event_type_length=40)
DECODE = Decoder(LIMITS).decode
LATENESS_MS = 3_600_000
BROKER_MS = 1_304_978_414_000  # 2011-05-09 22:00:14
CHARACTERS = 'aé😀"\\{[ \n\x7f'
TYPES = ["compute.create", "compute.delete", "größe"]

tidy_times = st.sampled_from(
    [
        "2011-05-09 22:00:14.621831",
        "2011-05-09T22:00:19.9Z",
        "2011-05-09 21:59:59",
        "2011-05-09 22:00:14.9+00:00",
    ]
)
untidy_times = st.sampled_from(
    ["2012-09-2709: 11: 27.086426", "", "x", "1969-12-31 23:59:59", "2011-05-09 20:00:00"]
)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False)
    | st.text(alphabet=CHARACTERS, max_size=8)
)
payloads = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(alphabet=CHARACTERS, max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


def field(*values: Any) -> st.SearchStrategy[Any]:
    return st.sampled_from(values)


@st.composite
def messages(draw: st.DrawFn) -> dict[str, Any]:
    """Mostly tidy notifications, each field wrong or missing at times."""
    message: dict[str, Any] = {
        "message_id": draw(field("m1", "m1", None, 7, "é", "m" * 255, "é" * 256)),
        "publisher_id": draw(field("compute.host1", "compute.host1", "", None, 3, "é" * 255, "p" * 256)),
        "timestamp": draw(tidy_times | tidy_times | untidy_times | scalars),
        "priority": draw(field("WARN", "WARN", "warn", "WARNING", "warning", "Warn", "ERROR", "", None, 2)),
        "event_type": draw(
            st.sampled_from(
                [
                    *(*TYPES, *TYPES, " compute.create", "", None, "(dead letters)", "x" * 41),
                    *("compute.\u200bcreate", "compute.create\u3164", "\u00adcompute.delete"),
                ]
            )
        ),
        "payload": draw(payloads),
        "_context_user": "u",
    }
    for name in draw(st.lists(st.sampled_from(list(message)), max_size=1)):
        del message[name]
    return message


#: All fields of a tidy record but the event type.
TIDY = {"publisher_id": "a", "timestamp": "2011-05-09 22:00:14.621831", "priority": "WARN", "payload": {}}


@st.composite
def values(draw: st.DrawFn) -> bytes | None:
    """What a record may hold."""
    kind = draw(field(*["flat"] * 8, *["envelope"] * 4, "cloud event", "broken", "bytes", "none", "twice"))
    if kind == "none":
        return None
    if kind == "bytes":
        return draw(st.binary(max_size=30))
    text = json.dumps(draw(messages()), ensure_ascii=draw(st.booleans())).encode()
    if kind == "envelope":
        extra = draw(field({}, {}, {"event_type": "compute.create"}, {"oslo.version": "2.0"}))
        return orjson.dumps({"oslo.message": text.decode()} | extra)
    if kind == "cloud event":
        # With some fields outside as well, as a tidy record has them.
        outside = draw(st.dictionaries(st.sampled_from(list(TIDY)), st.just("WARN"))) | draw(field({}, TIDY))
        # Python's own, for infinite numbers are among the payloads.
        return json.dumps({"specversion": "1.0", "data": json.loads(text)} | outside).encode()
    if kind == "twice":  # the last of equal keys holds
        return text[:-1] + b',"event_type":"compute.delete","priority":"WARN"}'
    if kind == "broken":
        at = draw(st.integers(0, len(text)))
        return text[:at] + draw(st.binary(max_size=3)) + text[at + draw(st.integers(0, 2)) :]
    return text


def full(value: bytes | None, broker_ms: int) -> tuple[str, int, int, bool] | None:
    """Event type, bucket, event time, and whether the time was replaced; None when it takes a closer look."""
    read = DECODE(value, Priority.WARN)
    if not isinstance(read, Notification) or read.repairs:
        return None
    event_ms, replaced = bucket_time_ms(read.event_time_ms, broker_ms, LATENESS_MS, FUTURE_S * 1000)
    return read.event_type, bucket_of(event_ms, FINE), event_ms, replaced


def make_tally(kind: type[RunTally] = RunTally) -> RunTally:
    tally = kind(Priority.WARN, LIMITS, LATENESS_MS)
    for event_type in TYPES:
        tally.learn(event_type)
    return tally


#: Made once, since that takes time. What it remembers decides no result.
TALLY = make_tally()


def check(tally: RunTally, found: list[tuple[bytes | None, int]], *, apart: bool = False) -> int:
    """Count all, one closer look at a time; return how many were counted in runs.

    ``apart``: record by record, also where all at once would do.
    """
    records = [
        SimpleNamespace(value=value, timestamp=broker_ms, timestamp_type=1) for value, broker_ms in found
    ]
    index = in_runs = 0
    while index < len(records):
        tally._looks_apart = 1 if apart else 0
        run = tally.run(records, index)
        assert run.end >= index
        types: dict[int, list[str]] = {}
        seen: dict[str, int] = {}
        replaced = 0
        for value, broker_ms in found[index : run.end]:
            each = full(value, broker_ms)
            assert each is not None, f"counted, and decoding says that it is not tidy: {value!r}"
            types.setdefault(each[1], []).append(each[0])
            seen[each[0]] = max(seen.get(each[0], -1), each[2])
            replaced += each[3]
        last_seen = LastSeen()
        last_seen.add_run(run.seen)
        taken = last_seen.take()
        assert (run.types, taken, run.time_replaced) == (types, seen, replaced)
        assert list(taken) == list(seen)  # in the order of arrival
        in_runs += run.end - index
        index = run.end + run.stopped
    return in_runs


HEAD = (
    b'{"event_type":"compute.create","priority":"WARN","publisher_id":"a",'
    b'"timestamp":"2011-05-09 22:00:14","payload":'
)
times = st.sampled_from([BROKER_MS, BROKER_MS + 5000, BROKER_MS - 4_000_000, BROKER_MS + 10**9, -1, 0])


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(values(), times), max_size=12), st.booleans())
@example([(HEAD + b'"\xff"}', 0)], False)
@example([(HEAD + b"[[[[[[[1]]]]]]]}", 0)], True)
def test_a_run_holds_what_decoding_each_record_finds(
    found: list[tuple[bytes | None, int]], apart: bool
) -> None:
    check(TALLY, found, apart=apart)


LAYOUTS = ("2011-05-09 22:00:{:02}.{:06}", "2011-05-09T22:00:{:02}.{:03}Z", "2011-05-09 22:00:{:02}")
ZONED = "2011-05-09T22:00:{:02}.{:03}+00:00"


@st.composite
def alike(draw: st.DrawFn) -> list[tuple[bytes | None, int]]:
    """Notifications that differ a little, as those of one batch do."""
    layout = draw(field(*LAYOUTS, ZONED))
    number = st.integers(0, 75)
    found: list[tuple[bytes | None, int]] = []
    for second in draw(st.lists(number, min_size=1, max_size=10)):
        changes: dict[str, Any] = {
            "timestamp": layout.format(second, draw(st.sampled_from([0, 1, 999, 500])))
        }
        if draw(st.integers(0, 9)) == 0:
            changes["timestamp"] = draw(tidy_times | untidy_times)
        elif layout == ZONED and draw(st.booleans()):
            changes["timestamp"] = changes["timestamp"].replace("+00:00", "+00:10")
        if draw(st.integers(0, 9)) == 0:
            changes["payload"] = draw(payloads)
        found.append((tidy(draw(number), **changes), draw(st.sampled_from([BROKER_MS, BROKER_MS + 5000]))))
    return found


@settings(max_examples=300, deadline=None)
@given(alike(), st.booleans())
def test_a_batch_of_like_records_holds_what_decoding_each_finds(
    found: list[tuple[bytes | None, int]], apart: bool
) -> None:
    check(TALLY, found, apart=apart)


class Careless(RunTally):
    """The control: looks neither at the depth nor at the text that it skips."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._is_plain = lambda _value: True
        self._max_bytes = self._max_depth = 10**9


@pytest.mark.parametrize("payload", [b'"\xff"', b"[[[[[[[1]]]]]]]", b'"' + b"x" * 2000 + b'"'])
def test_a_careless_reader_is_found_out(payload: bytes) -> None:
    value = HEAD + payload + b"}"
    check(make_tally(), [(value, 0)])
    with pytest.raises(AssertionError, match="is not tidy"):
        check(make_tally(Careless), [(value, 0)])


def tidy(number: int, **changes: Any) -> bytes:
    message = {
        "event_type": TYPES[number % 2],
        "priority": "WARN",
        "publisher_id": "compute.host1",
        "timestamp": f"2011-05-09 22:00:{number % 30 + 10}.5",
        "payload": {"n": [number]},
    }
    return json.dumps(message | changes, ensure_ascii=False).encode()


def test_tidy_records_are_counted_in_one_run() -> None:
    flat = [(tidy(number), BROKER_MS) for number in range(100)]
    assert check(make_tally(), flat) == 100
    enveloped = [(orjson.dumps({"oslo.message": value.decode()}), at) for value, at in flat]
    assert check(make_tally(), enveloped) == 100
    assert check(make_tally(), flat[:10] + enveloped[:10] + flat[:10]) == 30


def test_records_of_other_zones_than_utc_are_counted_in_their_buckets() -> None:
    """As texts they look alike, and the one that is written later may be of an earlier time."""
    for zones in (("+01:00", "+01:00"), ("+00:00", "+01:00"), ("+01:00", "+00:10")):
        texts = [f"2011-05-09T22:30:{second}{zone}" for second, zone in zip((10, 15), zones, strict=True)]
        found = [(tidy(number, timestamp=text), BROKER_MS) for number, text in enumerate(texts)]
        assert check(make_tally(), found) == 2


@pytest.mark.parametrize("number", [b"1e999", b"-1e999", b"1" * 400])
@pytest.mark.parametrize("enveloped", [False, True])
def test_a_number_too_large_for_a_float_is_good_json(number: bytes, enveloped: bool) -> None:
    value = tidy(1).replace(b"[1]", b"[" + number + b"]")
    if enveloped:
        value = orjson.dumps({"oslo.message": value.decode()})
    assert check(make_tally(), [(value, BROKER_MS)]) == 1
