"""Times as RFC 3339 text, and back."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from streams.notifications.rfc3339 import format_rfc3339, parse_rfc3339


@example(milliseconds=29_631_255_822_335)
@given(milliseconds=st.integers(-(10**13), 253_402_300_799_000))
def test_a_time_comes_back_to_the_millisecond(milliseconds: int) -> None:
    text = format_rfc3339(milliseconds / 1000)
    assert text is not None
    assert text.endswith("Z")
    assert round(parse_rfc3339(text) * 1000) == milliseconds


def test_known_times() -> None:
    assert format_rfc3339(0) == "1970-01-01T00:00:00.000Z"
    assert format_rfc3339(1_304_978_414.621) == "2011-05-09T22:00:14.621Z"
    assert format_rfc3339(1_304_978_414.621, "seconds") == "2011-05-09T22:00:14Z"
    assert parse_rfc3339("2011-05-10T00:00:14.621+02:00") == 1_304_978_414.621


@pytest.mark.parametrize("seconds", [1e18, -1e18, float("inf"), float("nan")])
def test_what_has_no_date_has_no_text(seconds: float) -> None:
    assert format_rfc3339(seconds) is None


@pytest.mark.parametrize("text", ["", "today", "2011-05-09T22:00:14", "2011-13-09T22:00:14Z"])
def test_what_is_no_time_with_an_offset_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"offset|isoformat|month"):
        parse_rfc3339(text)
