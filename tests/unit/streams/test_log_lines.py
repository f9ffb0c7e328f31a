"""Lines of the log at a bounded rate: what is left out is counted, and told."""

from __future__ import annotations

import logging

import pytest

from streams.log_lines import LimitedLog, LineLimit


def test_limited_log_tells_how_many_it_left_out(caplog: pytest.LogCaptureFixture):
    now = 100.0
    log = LimitedLog("some.log", interval_s=10, clock=lambda: now)
    assert [log.warning("kind %d", 1), log.warning("kind %d", 2), log.warning("other")] == [True, False, True]
    now = 109.9
    assert log.warning("kind %d", 3) is False
    now = 110.0
    assert log.warning("kind %d", 4) is True
    assert [record.message for record in caplog.records] == [
        "kind 1",
        "other",
        "kind 4 (and 2 more like this)",
    ]


def test_limited_log_survives_a_handler_that_raises():
    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise RuntimeError("disk full")

    handler = Broken()
    logging.getLogger("broken.log").addHandler(handler)
    try:
        assert LimitedLog("broken.log").warning("anything") is False
    finally:
        logging.getLogger("broken.log").removeHandler(handler)


def test_kinds_are_bounded_each_on_its_own_and_together_with_another_limit() -> None:
    limit = LineLimit(2, 60)
    assert [limit.admits("a", 0) for _ in range(4)] == [True, True, False, False]
    assert limit.admits("b", 0)
    assert not limit.admits("b", 0, also=False), "another limit says no"
    assert limit.has_room("b")
    assert not limit.has_room("a")
    assert limit.left_out


def test_a_window_that_left_something_out_is_told_and_goes_on_until_a_quiet_one() -> None:
    limit = LineLimit(1, 60)
    for line in ("first", "second", "third"):
        limit.admits("a", 0, line)
    assert not list(limit.ended(59.9, 9))
    assert [(window.left_out, window.last) for window in limit.ended(60, 9)] == [(2, "third")]
    assert not limit.admits("a", 61, "fourth"), "the trouble has not ended"
    assert [(window.left_out, window.last) for window in limit.ended(120, 9)] == [(1, "fourth")]
    assert not list(limit.ended(180, 9))
    assert limit.admits("a", 181), "it was quiet for a window"


def test_ending_a_window_tells_once_and_admits_again() -> None:
    limit = LineLimit(1, 10)
    assert limit.end("a", 0) == 0
    for _ in range(3):
        limit.admits("a", 0)
    assert limit.end("a", 9.9) == 0
    assert not limit.admits("a", 9.9)
    assert limit.end("a", 10) == 3
    assert limit.admits("a", 10)
    assert limit.end("a", 10) == 0


def test_the_oldest_kinds_end_early_when_there_are_too_many() -> None:
    limit = LineLimit(1, 60)
    for kind in range(5):
        for _ in range(2):
            limit.admits(kind, kind, f"line {kind}")
    assert [window.last for window in limit.ended(5, most=3)] == ["line 0", "line 1"]
    assert limit.admits(0, 5)
    assert [window.last for window in limit.ended(5, most=0)] == ["line 2", "line 3", "line 4"]
    assert not limit.left_out
