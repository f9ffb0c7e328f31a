"""Secrets are masked wherever a key names one, and nothing else is touched."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oslo_utils import strutils

from streams.notifications import masking
from streams.notifications.masking import MASK, Masker

SECRET = "hunter2-hunter2"
KEYS = [
    "_context_password",
    "_context_aws_creds",
    "_context_auth_token_info",
    "_context_auth_token",
    "admin_password",
    "adminPass",
    "ADMIN-PASS",
    "X-Auth-Token",
    "x-subject-token",
    "api_key",
    "apiKey",
    "aws_secret_access_key",
    "Pass Phrase",
    "private.key",
    "passwd",
    "Authorization",
    "Set-Cookie",
    "keystone_credentials",
    *strutils._SANITIZE_KEYS,
]


@pytest.fixture
def masker() -> Masker:
    return Masker()


def masked(masker: Masker, value: Any) -> Any:
    return orjson.loads(masker.masked(orjson.dumps(value)))


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("secret", [SECRET, {"id": SECRET, "n": 1}, [SECRET], 4711], ids=str)
def test_the_value_of_a_key_that_names_a_secret_is_masked_at_any_depth(
    masker: Masker, key: str, secret: Any
) -> None:
    value = {"payload": [{"nova_object.data": {key: secret, "host": "h1"}}]}
    assert masked(masker, value) == {"payload": [{"nova_object.data": {key: MASK, "host": "h1"}}]}
    assert masked(masker, {key: secret}) == {key: MASK}


@pytest.mark.parametrize("key", KEYS)
def test_it_is_masked_in_the_text_of_an_envelope_too(masker: Masker, key: str) -> None:
    inner = {"event_type": "a.b", "payload": {"args": {key: SECRET}}, "priority": "ERROR"}
    envelope = {"oslo.version": "2.0", "oslo.message": orjson.dumps(inner).decode()}
    found = masked(masker, envelope)
    assert orjson.loads(found["oslo.message"]) == inner | {"payload": {"args": {key: MASK}}}
    twice = {"oslo.message": orjson.dumps({"text": orjson.dumps(inner).decode()}).decode()}
    assert SECRET.encode() not in masker.masked(orjson.dumps(twice))


def test_what_names_no_secret_stays_byte_for_byte_as_it_is(masker: Masker) -> None:
    for text in (
        b'{"a":1, "key_name" : "mine", "passenger" :"x","text":"the password is not shown"}',
        b'{"password":null,"token":"","password_set":true}',
        b'{"message":"{not json, token: x}","n":12345678901234567890123}',
        b"[]",
    ):
        assert masker.masked(text) is text


@pytest.mark.parametrize(
    "written", [rb"pass\u0077ord", rb"p\u0061ssword", rb"\u0070assword", rb"PASSW\u004fRD"]
)
def test_a_key_that_is_written_with_escapes_is_masked(masker: Masker, written: bytes) -> None:
    text = b'{"x":{"' + written + b'":"' + SECRET.encode() + b'"}}'
    assert SECRET.encode() not in masker.masked(text)
    inner = orjson.dumps(text.decode())
    assert SECRET.encode() not in masker.masked(b'{"oslo.message":' + inner + b"}")


def test_text_that_only_looks_like_json_and_names_a_secret_is_masked_whole(masker: Masker) -> None:
    assert masked(masker, {"a": '{"password": "x"'}) == {"a": MASK}
    assert masked(masker, {"a": '{"host": "x"', "b": {"token": "t"}}) == {
        "a": '{"host": "x"',
        "b": {"token": MASK},
    }


def test_an_operator_adds_keys() -> None:
    masker = Masker(["customer-PIN", "iban", " "])
    assert masked(masker, {"customer_pin": "1", "CustomerPin": "2", "myIBAN": "3", "pinned": "4"}) == {
        "customer_pin": MASK,
        "CustomerPin": MASK,
        "myIBAN": MASK,
        "pinned": "4",
    }
    assert masked(Masker(), {"customer_pin": "1"}) == {"customer_pin": "1"}


def test_the_list_holds_all_of_oslo_utils(masker: Masker) -> None:
    assert [key for key in strutils._SANITIZE_KEYS if not masker.names_a_secret(key)] == []


def test_every_word_has_a_stem_so_that_none_is_passed_over() -> None:
    for word in masking._OF_OSLO + masking._FURTHER:
        assert any(stem.decode() in part for part in word.split("_") for stem in masking._STEMS), word


_NAMES = st.sampled_from(["a", "host", "password", "X-Token", "key_name", 'x"y', "é", "secret\\"])
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8) | st.just(SECRET),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=4),
    max_leaves=20,
)


@given(_VALUES)
def test_the_quick_look_never_passes_over_what_the_thorough_one_masks(value: Any) -> None:
    masker = Masker()
    text = orjson.dumps(value)
    assert orjson.loads(masker.masked(text)) == masker._in_value(value)
    for each in (text, orjson.dumps({"oslo.message": text.decode()})):
        assert masker.masked(masker.masked(each)) == masker.masked(each)


def test_a_masker_without_words_is_rejected_by_these_tests() -> None:
    broken = Masker()
    broken._stems = (b"token",)
    assert masked(broken, {"password": SECRET}) == {"password": SECRET}
