"""JSON values, and what is said of a text that is none."""

from __future__ import annotations

import orjson
import pytest

from streams.notifications.json_values import why_no_json


@pytest.mark.parametrize(
    ("value", "says"),
    [
        # The parser says that it expected true, false or null, which nobody meant to write.
        (b"this is no json", "unexpected text at character 0, near 'this is no json'"),
        (b"no json", "unexpected text at character 0, near 'no json'"),
        (b'{"a": fast}', "unexpected text at character 6, near 'fast}'"),
        (b"{'a': 1}", "unexpected character at character 1"),
        (b'{"a": 1', "unexpected end of data at character 7"),
    ],
)
def test_what_is_said_of_a_text_that_is_no_json(value: bytes, says: str) -> None:
    with pytest.raises(orjson.JSONDecodeError) as error:
        orjson.loads(value)
    detail = why_no_json(value, error.value).detail
    assert says in detail
    assert "'true'" not in detail
