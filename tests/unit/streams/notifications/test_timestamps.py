"""Timestamps: the tidy forms, the untidy ones with one meaning, and the broken ones."""

from __future__ import annotations

from typing import Any

import pytest

from streams.notifications.notification import Repair
from streams.notifications.timestamps import (
    MAX_TIME_MS,
    MIN_TIME_MS,
    format_timestamp,
    make_timestamp_parser,
    repair_timestamp,
)

# 2011-05-09 22:00:14 UTC
SECOND_MS = 1_304_978_414_000


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2011-05-09 22:00:14.621831", SECOND_MS + 621),
        ("2011-05-09 22:00:14", SECOND_MS),
        ("2011-05-09T22:00:14.621831", SECOND_MS + 621),
        ("2011-05-09t22:00:14z", SECOND_MS),
        ("2011-05-09T22:00:14Z", SECOND_MS),
        ("2011-05-09T22:00:14.621Z", SECOND_MS + 621),
        ("2011-05-09T22:00:14.621831Z", SECOND_MS + 621),
        ("2011-05-09 22:00:14.6", SECOND_MS + 600),
        ("2011-05-09 22:00:14.62", SECOND_MS + 620),
        ("2011-05-09 22:00:14.621831999", SECOND_MS + 621),
        ("2011-05-09T22:00:14+00:00", SECOND_MS),
        ("2011-05-09T22:00:14.621831+00:00", SECOND_MS + 621),
        ("2011-05-09T22:00:14.621831-00:00", SECOND_MS + 621),
        ("2011-05-10T03:30:14.621831+05:30", SECOND_MS + 621),
        ("2011-05-09T17:00:14-0500", SECOND_MS),
        ("1970-01-01 00:00:00", 0),
        ("1969-12-31 23:59:59.999", -1),
        ("2100-01-01 00:00:00", 4_102_444_800_000),
        ("0001-01-01 00:00:00", MIN_TIME_MS),
        ("9999-12-31 23:59:59.999999", MAX_TIME_MS),
    ],
)
def test_tidy_forms(text: str, expected: int) -> None:
    parse = make_timestamp_parser()
    # Once read afresh, once with its second remembered.
    assert [parse(text), parse(text)] == [expected, expected]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2016-11-04 16:31:36.264673   ", 1_478_277_096_264),
        ("  2011-05-09 22:00:14\n", SECOND_MS),
        ("2012-09-2709: 11: 27.086426", 1_348_737_087_086),
        ("2011-05-09  22:00:14", SECOND_MS),
        ("2011-05-09 T 22:00:14 Z", SECOND_MS),
        ("2011-05-09 22:00:14,621", SECOND_MS + 621),
        ("2011-05-09 22:00:14 UTC", SECOND_MS),
        ("2011-05-09 22:00:14 +0000", SECOND_MS),
        ("2011-05-10 00:00:14+02", SECOND_MS),
    ],
)
def test_untidy_forms_with_one_meaning(text: str, expected: int) -> None:
    assert make_timestamp_parser()(text) is None
    assert repair_timestamp(text) == (expected, Repair.TIMESTAMP_REPAIRED)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, 0),
        (1_304_978_414, SECOND_MS),
        (1_304_978_414.621, SECOND_MS + 621),
        (1_304_978_414_621, SECOND_MS + 621),
        (1_304_978_414_621.5, SECOND_MS + 621),
        ("1304978414", SECOND_MS),
        ("1304978414.621", SECOND_MS + 621),
        ("1304978414621", SECOND_MS + 621),
    ],
)
def test_numbers_are_seconds_or_milliseconds_by_their_size(value: Any, expected: int) -> None:
    assert repair_timestamp(value) == (expected, Repair.TIMESTAMP_NUMBER)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "   ",
        "yesterday",
        "2011-05-09",
        "22:00:14",
        "2011-02-30 00:00:00",
        "2011-13-01 00:00:00",
        "2011-05-09 24:00:00",
        "2011-05-09 22:60:00",
        "2011-05-09 22:00:60",
        "0000-01-01 00:00:00",
        "09/05/2011 22:00:14",
        "2011-5-922:00:14",
        "20110509220014",
        "2011-05-09 22:00:14+25:00",
        "2011-05-09 22:00:14+00:99",
        "2011-05-09 22:00:14.",
        "2011-05-09 22:00:14.62x831",
        "2011-05-09 22:00:14.621831 CEST",
        "0001-01-01 00:00:00+01:00",
        "9999-12-31 23:59:59-01:00",
        "２０１１-05-09 22:00:14",  # noqa: RUF001 -- digits that only int() takes for digits
        "2011-05-09 22:00:14.６21831",  # noqa: RUF001
        "2011-05-09 22:00:14.\u00b2\u00b2\u00b2",
        "2011-05-09 22:00:14" + " " * 100_000 + "x",
        "1" * 100_000,
        -1,
        -0.5,
        1e14,
        1e308,
        True,
        [],
        {},
    ],
    ids=lambda value: repr(value)[:40],
)
def test_broken_ones_have_no_time(value: Any) -> None:
    parse = make_timestamp_parser()
    assert parse("2011-05-09 22:00:14") == SECOND_MS
    if isinstance(value, str):
        assert parse(value) is None
    assert repair_timestamp(value) == (None, Repair.TIMESTAMP_BROKEN)


def test_missing() -> None:
    assert repair_timestamp(None) == (None, Repair.TIMESTAMP_MISSING)


def test_what_is_remembered_stays_small_and_right() -> None:
    parse = make_timestamp_parser(remembered=2)
    for _ in range(2):
        for second in range(10, 20):
            assert parse(f"2011-05-09 22:00:{second}.5") == SECOND_MS + (second - 14) * 1000 + 500


def test_format_is_the_seeds() -> None:
    assert format_timestamp(SECOND_MS + 621) == "2011-05-09 22:00:14.621000"
    assert format_timestamp(SECOND_MS) == "2011-05-09 22:00:14.000000"
    assert format_timestamp(MIN_TIME_MS) == "0001-01-01 00:00:00.000000"
    for outside in (MIN_TIME_MS - 1, MAX_TIME_MS + 1, 10**30):
        with pytest.raises(OverflowError):
            format_timestamp(outside)
