"""Secrets are masked wherever a key names one, and nothing else is touched."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import unicodedata
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oslo_utils import strutils

from streams.notifications import masking
from streams.notifications.masking import MASK, Masker
from tests.paths import ROOT

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


@pytest.mark.parametrize(
    "key",
    ["\uff50assword", "passw\u043erd", "\u0430pi_key", "\uff34\uff2f\uff2b\uff25\uff2e", "\U0001d429assword"],
)
def test_letters_that_look_alike_are_masked_however_they_are_written(masker: Masker, key: str) -> None:
    """Python's own JSON writes them as escapes unless it is told not to."""
    for plain in (True, False):
        inner = json.dumps({key: SECRET}, ensure_ascii=not plain)
        for text in (inner, json.dumps({"oslo.message": inner}, ensure_ascii=not plain)):
            for _ in range(2):  # a key that is known is not asked for again
                assert SECRET.encode() not in masker.masked(text.encode())


def test_escapes_that_are_no_characters_stay_as_they_are(masker: Masker) -> None:
    text = rb'{"a\U00ffffff":1,"b\ud835":2,"c":"\u0070"}'
    assert masker.masked(text) is text
    assert not masker.is_mentioned(rb"\U00ffffff \ud835 \xff")


def test_what_is_no_secret_stays_under_such_a_key(masker: Masker) -> None:
    value = {"password": None, "token": "", "password_set": True, "n": 1}
    assert masked(masker, value) == value


def test_a_key_that_stands_twice_does_not_show_its_first_value(masker: Masker) -> None:
    assert SECRET.encode() not in masker.masked(b'{"password":"' + SECRET.encode() + b'","password":null}')


@pytest.mark.parametrize("depth", [200, 900, 5000])
def test_text_nested_too_deep_to_look_into_is_masked_whole(masker: Masker, depth: int) -> None:
    text = '{"a":' * depth + '{"token": "' + SECRET + '"}' + "}" * depth
    assert SECRET.encode() not in masker.masked(orjson.dumps({"payload": text}))


LEAKS = [
    b'{"oslo.version":"2.0","oslo.message":"{}","_context_password":"@"}',
    b'{"oslo.version":"2.0","oslo.message":"{}","ctx":{"auth_token":"@"}}',
    b'{"specversion":"1.0","authtoken":"@","data":{"event_type":"a"}}',
    b'{"payload":{"password":"@"},"payload":{}}',
    b'{"a":{"token":"@"},"a":1}',
    rb'{"oslo.message":"{\"password\":\"@\"}","oslo.message":"{}"}',
    rb'{"oslo.message":"{\"pass\\u0077ord\":\"@\",\"x\":NaN}"}',
    rb'{"a":"{\"pass\\u0077ord\":\"@\",\"x\":1e999}"}',
    rb"""{"a":"{'pass\\x77ord': '@'}"}""",
    rb'{"a":"\"{\\\"password\\\":\\\"@\\\"}\""}',
    '{"a":"\ufeff{\\"password\\":\\"@\\"}"}'.encode(),
    '{"a":"\u00a0{\\"password\\":\\"@\\"}"}'.encode(),
    '{"ｐａｓｓｗｏｒｄ":"@"}'.encode(),  # noqa: RUF001
    '{"paſſword":"@"}'.encode(),  # noqa: RUF001
    '{"pаssword":"@"}'.encode(),  # noqa: RUF001
    b"""{"a":"({'password': '@'},)"}""",
    b'{"a":"b", ":password":"@"}',
    b'{"a":"b", ":password" :"@"}',
    b'{"a":"b,", "password":"@"}',
    b'{"a":[":",{"b":"c","token"\n:"@"}]}',
    rb'{"a":"\"", "b":":", ":password":"@"}',
]


@pytest.mark.parametrize("written", LEAKS, ids=range(len(LEAKS)))
def test_a_secret_is_found_wherever_its_key_stands(masker: Masker, written: bytes) -> None:
    assert SECRET.encode() not in masker.masked(written.replace(b"@", SECRET.encode()))


def in_steps(masker: Masker, value: Any) -> Any:
    """What `masked_in_steps` makes of a value, whose steps are all taken."""
    steps = masker.masked_in_steps(value)
    while True:
        try:
            next(steps)
        except StopIteration as ended:
            found, _ = ended.value
            return found


@pytest.mark.parametrize("written", LEAKS, ids=range(len(LEAKS)))
def test_in_steps_a_secret_is_found_there_too(masker: Masker, written: bytes) -> None:
    value = orjson.loads(written.replace(b"@", SECRET.encode()))
    assert SECRET not in json.dumps(in_steps(masker, value))


def test_in_steps_what_is_too_deep_or_too_long_is_not_looked_into(masker: Masker) -> None:
    with pytest.raises(RecursionError):
        in_steps(masker, orjson.loads(b"[" * 400 + b"]" * 400))
    assert in_steps(masker, {"k" * 251: 1, "k" * 250: 1}) == {"k" * 251: MASK, "k" * 250: 1}
    text = '{"a":' * 5000 + '{"token": "' + SECRET + '"}' + "}" * 5000
    assert in_steps(masker, {"payload": text}) == {"payload": MASK}


def test_in_steps_much_work_is_done_in_many_steps(masker: Masker) -> None:
    def steps(value: Any) -> int:
        return len(list(masker.masked_in_steps(value)))

    assert steps(list(range(10_000))) >= 500
    assert steps({f"{number:0100}": 1 for number in range(200)}) >= 50
    assert steps({"oslo.message": orjson.dumps(list(range(10_000))).decode()}) == 0
    assert steps({"oslo.message": orjson.dumps({"a": list(range(10_000))}).decode()}) >= 500


#: Masks a secret beside lists that are nested deep, and uses the memory that lies behind the result.
_NESTED = """
import json
from streams.notifications.masking import Masker
for filler in (list(range(10, 60)), [None] * 50, [1.5] * 50):
    nested = 1
    for _ in range(95):
        nested = [nested, *filler]
    text = json.dumps({"token": "x", "payload": nested}).encode()
    for _ in range(50):
        assert json.loads(Masker().masked(text))["payload"] == nested
        used = [bytes(900) for _ in range(100)]
"""


def test_a_notification_that_is_nested_deep_does_no_harm() -> None:
    """Versions of orjson wrote beyond their memory, which ended the worker that forwarded it."""
    command = [sys.executable, "-c", _NESTED]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("word", ["пароль", "密码", "ｐｉｎ", "Schlüssel"])  # noqa: RUF001
def test_words_of_any_script_can_be_added(word: str) -> None:
    assert masked(Masker([word]), {f"my-{word.upper()}": SECRET}) == {f"my-{word.upper()}": MASK}


def test_text_that_only_looks_like_json_and_names_a_secret_is_masked_whole(masker: Masker) -> None:
    assert masked(masker, {"a": '{"password": "x"'}) == {"a": MASK}
    assert masked(masker, {"a": str({"password": "x"})}) == {"a": MASK}
    assert masked(masker, {"a": '{"host": "x"', "b": {"token": "t"}}) == {
        "a": '{"host": "x"',
        "b": {"token": MASK},
    }


def test_a_long_key_is_brought_into_its_simplest_form_piece_by_piece(
    masker: Masker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run of marks takes the square of its length: a key of 900 KB would hold a worker for minutes."""
    asked: list[int] = []

    def normalize(form: Any, text: str) -> str:
        asked.append(len(text))
        return unicodedata.normalize(form, text)

    monkeypatch.setattr(masking, "unicodedata", SimpleNamespace(normalize=normalize))
    marks = "\u0301\u0327" * 5_000
    assert not masker.names_a_secret(f"a{marks}b")
    assert masker.names_a_secret(f"tok-{marks}en")
    assert masker.names_a_secret("\u24b6" * 249 + "\uff34\uff2f\uff2b\uff25\uff2e")  # across two pieces
    assert max(asked) <= 1_000


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


_NAMES = st.sampled_from(["a", "host", "password", "X-Token", "key_name", 'x"y', "é", "secret\\"])
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8) | st.just(SECRET),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=4),
    max_leaves=20,
)


def holds(value: Any, inside: bool) -> bool:
    """Whether a secret is to be seen; ``inside`` a key that names one, it may not."""
    if isinstance(value, dict):
        return any(holds(held, inside or Masker().names_a_secret(key)) for key, held in value.items())
    if isinstance(value, list):
        return any(holds(item, inside) for item in value)
    return inside and value == SECRET


@given(_VALUES)
def test_no_secret_is_left_under_a_key_that_names_one(value: Any) -> None:
    masker = Masker()
    text = orjson.dumps(value)
    assert not holds(orjson.loads(masker.masked(text)), inside=False)
    envelope = orjson.dumps({"oslo.message": text.decode()})
    assert not holds(orjson.loads(orjson.loads(masker.masked(envelope))["oslo.message"]), inside=False)


def same_text(value: Any) -> Any:
    """A value with the JSON in its strings written in one way."""
    if isinstance(value, dict):
        return {key: same_text(held) for key, held in value.items()}
    if isinstance(value, list):
        return [same_text(item) for item in value]
    if isinstance(value, str) and ":" in value:
        try:
            return json.dumps(same_text(json.loads(value)))
        except ValueError:
            return value
    return value


@given(_VALUES)
def test_in_steps_the_same_is_masked(value: Any) -> None:
    masker = Masker()
    assert in_steps(masker, value) == masked(masker, value)
    envelope = {"oslo.message": orjson.dumps(value).decode(), "a": value}
    assert same_text(in_steps(masker, envelope)) == same_text(masked(masker, envelope))


_PLAIN_TEXTS = st.text(alphabet=':,{}[] ab"', max_size=6).map(lambda text: text.replace('"', ""))
_PLAIN = st.recursive(
    st.none() | st.integers(0, 99) | _PLAIN_TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_PLAIN_TEXTS, inner, max_size=3),
    max_leaves=12,
)


def keys_of(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [found for key, held in value.items() for found in (key, *keys_of(held))]
    return [found for item in value for found in keys_of(item)] if isinstance(value, list) else []


def all_but_what_is_between(keys: Iterable[str]) -> bool:
    return not any(key.startswith(tuple(",:}] \t\r\n")) for key in keys)


@given(st.lists(_PLAIN, min_size=1, max_size=4), st.sampled_from([None, 1]), st.sampled_from([":", " : "]))
def test_of_several_texts_at_once_just_the_keys_are_looked_at(
    found: list[Any], indent: int | None, colon: str
) -> None:
    looked_at: list[bytes] = []

    class Looks(Masker):
        def _are_harmless(self, keys: Iterable[bytes]) -> bool:
            looked_at.extend(keys)
            return True

    texts = [json.dumps(each, indent=indent, separators=(",", colon)).encode() for each in found]
    expected = [key for each in found for key in keys_of(each)]
    if Looks().are_plain(texts):
        assert [key.decode() for key in looked_at] == expected
    else:
        assert any(b'"' + sign in text for text in texts for sign in (b",", b":", b"}", b"]", b" "))


@pytest.mark.parametrize("key", [":token", " : token", ": :token", ":: a token"])
@pytest.mark.parametrize("before", ['"b"', '"b" ', '["b"]', '{"b":"c"}', "1"])
def test_a_key_that_begins_with_a_colon_is_not_overlooked_behind_a_string(key: str, before: str) -> None:
    text = f'{{"a":{before},"{key}":"x"}}'.encode()
    masker = Masker()
    masker.are_plain([b'{"a":1}'])
    for _ in range(2):  # the second time with what is remembered of the first
        assert not masker.are_plain([text])
        assert b'"x"' not in masker.masked(text)


def test_the_test_before_rejects_a_look_at_keys_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(masking, "_may_be_between", lambda _: False)
    assert Masker().are_plain([b'{"a":"b",":token":"x"}'])


@given(st.lists(_VALUES, min_size=1, max_size=4))
def test_several_texts_are_plain_only_if_none_of_them_would_change(found: list[Any]) -> None:
    texts = [orjson.dumps(each) for each in found]
    masker = Masker()
    if masker.are_plain(texts):
        assert [masker.masked(text) for text in texts] == texts
    assert masker.are_plain([b'{"a":"b"}', b'{"c":1}'])
    assert not masker.are_plain([b'{"a":"b"}', b'{"token":1}'])


def test_these_tests_reject_a_masker_that_knows_a_word_too_few() -> None:
    broken = Masker()
    broken._named = re.compile("token")
    assert masked(broken, {"password": SECRET}) == {"password": SECRET}
    assert holds({"password": SECRET}, inside=False)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"login failed: password={SECRET} on h1", "login failed: password=*** on h1"),
        (f"a: b=token: {SECRET}", "a: b=token: ***"),
        (f"Authorization: Bearer {SECRET} was sent", "Authorization: *** was sent"),
        (f"keystone-manage --admin-password {SECRET} --x y", "keystone-manage --admin-password *** --x y"),
        (f"GET https://h/?token={SECRET}&x=1", "GET https://h/?token=***"),
        (f"lost amqp://nova:{SECRET}@h:5672/", "lost amqp://***@h:5672/"),
        (f'password = "{SECRET} and more" x', "password = *** x"),
        (f"pass\u200bword\uff1d{SECRET}", "pass\u200bword\uff1d***"),
        (f'{{"a":"password={SECRET}","token":"{SECRET}"}}', '{"a":"password=***","token":"***"}'),
        (f"{{'token': '{SECRET}'}}", "***"),
    ],
)
def test_secrets_are_masked_in_text_for_people(masker: Masker, text: str, shown: str) -> None:
    assert masker.in_text(text) == shown
    assert SECRET in text
    assert masker.in_text(shown) == shown


@pytest.mark.parametrize(
    "text",
    [
        "ERROR secret.created from barbican",
        "ERROR identity.credential.created from keystone: 5 in 1 m",
        "the token expired at 12:00",
        "http://h1:8774/v2.1/os@home",
        "password=",
        "",
        " \u00a0",
    ],
)
def test_text_for_people_without_a_secret_stays_as_it_is(masker: Masker, text: str) -> None:
    assert masker.in_text(text) == text
