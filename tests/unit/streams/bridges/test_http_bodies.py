"""What the body of a request holds; whatever it is, within bounds."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.bridges.http_bodies import (
    EVENT,
    EVENTS,
    JSON,
    LINES,
    MEDIA_TYPES,
    MOST_ITEMS,
    BodyError,
    Item,
    is_read,
    items_of,
)

ONE = b'{"event_type": "a.b"}'
TWO = b'{"event_type":"c","payload":[1,2,{"x":"]},["}]}'


def values(media_type: str, body: bytes, **headers: str) -> list[bytes]:
    return [item.value for item in items_of(media_type, headers, body)]


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_one_a_list_and_lines_are_taken_apart_byte_for_byte(mark: bytes) -> None:
    assert values(JSON, mark + ONE) == [mark + ONE]
    assert values(JSON, mark + b" [ " + ONE + b" ,\n" + TWO + b"]\n") == [ONE, TWO]
    for media_type in LINES:
        assert values(media_type, mark + ONE + b"\r\n\n  \n" + TWO + b" ") == [ONE, TWO]


def test_an_empty_list_holds_nothing() -> None:
    assert values(JSON, b"[]") == values(EVENTS, b" [ ] ") == []


@pytest.mark.parametrize(
    ("media_type", "body", "status"),
    [
        (JSON, b"", 400),
        (JSON, b" \r\n", 400),
        (JSON, b"[", 400),
        (JSON, b"[1,]", 400),
        (JSON, b"[1] 2", 400),
        (JSON, b"[" * 100_000, 400),
        (LINES[0], b"\n\r\n", 400),
        (EVENTS, b"{}", 400),
        (EVENTS, b"", 400),
        ("", ONE, 415),
        ("text/plain", ONE, 415),
        ("application/cloudevents+avro", ONE, 415),
        ("multipart/form-data", ONE, 415),
    ],
)
def test_what_cannot_be_taken_apart_is_told(media_type: str, body: bytes, status: int) -> None:
    with pytest.raises(BodyError) as raised:
        items_of(media_type, {}, body)
    assert raised.value.status == status
    assert is_read(media_type, {}) == (status != 415)


@pytest.mark.parametrize("many", [b"[" + b"0," * MOST_ITEMS + b"0]", b"[" + b"{}," * MOST_ITEMS + b"[1,2]]"])
def test_too_many_are_refused(many: bytes) -> None:
    for media_type, body in ((JSON, many), (EVENTS, many), (LINES[0], b"0\n" * (MOST_ITEMS + 1))):
        with pytest.raises(BodyError) as raised:
            items_of(media_type, {}, body)
        assert raised.value.status == 413


def test_as_many_as_are_allowed_are_taken_however_many_commas_they_have() -> None:
    body = b"[" + b",".join([b"[1,2,3]"] * MOST_ITEMS) + b"]"
    assert len(items_of(JSON, {}, body)) == len(items_of(LINES[0], {}, b"0\n" * MOST_ITEMS)) == MOST_ITEMS


@pytest.mark.parametrize("body", [b"[" + b"0," * (2 * 2**20 - 2) + b"0]", b"\n" * 2**22, b"0\n" * 2**21])
def test_hostile_bodies_of_4_mib_take_little_memory(body: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(BodyError):
            items_of(LINES[0] if b"\n" in body else JSON, {}, body)
        assert tracemalloc.get_traced_memory()[1] < 10 * 2**20
    finally:
        tracemalloc.stop()


def test_a_cloud_event_has_one_of_three_modes() -> None:
    assert items_of(EVENT, {}, ONE) == [Item(ONE, is_event=True)]
    assert items_of(EVENTS, {}, b"[" + ONE + b"]") == [Item(ONE, is_event=True)]
    headers = {
        "ce-specversion": "1.0",
        "ce-id": "%E2%82%AC%20x",
        "content-type": "text/plain",
        "ce-type": "a b",
    }
    for media_type in ("text/plain", "", JSON, LINES[0]):
        (item,) = items_of(media_type, headers, b"hello")
        assert item == Item(b"hello", True, {"specversion": "1.0", "id": "€ x", "type": "a b"}, media_type)
    # What the media type says comes before headers.
    assert items_of(EVENT, headers, ONE) == [Item(ONE, is_event=True)]
    with pytest.raises(BodyError):
        items_of("application/cloudevents+avro", headers, ONE)


@pytest.mark.parametrize(
    "headers",
    [{"ce-": "x"}, {"ce-a_b": "x"}, {"ce-id": "%ff"}, {"ce-id": "x" * 4097}, {"ce-" + "a" * 65: "x"}],
)
def test_attributes_that_are_none_are_told(headers: dict[str, str]) -> None:
    with pytest.raises(BodyError) as raised:
        items_of("", {"ce-specversion": "1.0"} | headers, b"")
    assert raised.value.status == 400


_JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(_JSON_VALUES, max_size=8), st.sampled_from([None, 1]))
def test_a_list_of_any_values_comes_apart_into_them(found: list[Any], indent: int | None) -> None:
    body = json.dumps(found, indent=indent).encode()
    assert [json.loads(value) for value in values(JSON, body)] == found
    lines = b"\n".join(json.dumps(each).encode() for each in found)
    if found:
        assert [json.loads(value) for value in values(LINES[0], lines)] == found


@given(st.sampled_from([*MEDIA_TYPES, "", "text/plain"]), st.binary(), st.dictionaries(st.text(), st.text()))
def test_any_body_is_taken_apart_or_told(media_type: str, body: bytes, headers: dict[str, str]) -> None:
    try:
        found = {type(item.value) for item in items_of(media_type, headers, body)} or {bytes}
    except BodyError as error:
        found = {error.status}
    assert found <= {bytes, 400, 413, 415}


def test_a_list_that_is_long_enough_to_be_counted_is_read_as_a_short_one() -> None:
    many = b"," * 10 + b" "
    text = b'"' + many * (MOST_ITEMS // 10) + b'"'
    # A number that no float holds is for the reader of the item to judge.
    assert values(JSON, b"[" + text + b",1e999]") == [text, b"1e999"]
    with pytest.raises(BodyError, match="The body is not UTF-8 text") as refused:
        values(JSON, b"[" + text + b',"\xe4"]')
    assert refused.value.status == 400
