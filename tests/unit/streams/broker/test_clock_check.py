"""A clock that differs from the brokers': found by what they confirm, said, and not gone by."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import InvalidTimestampError, KafkaConnectionError

from streams.broker.clock_check import ClockCheck

NOW_S = 1_700_000_000.0
DAY_S = 86_400.0


class Clocks:
    """The brokers' time, and a worker's that differs from it."""

    def __init__(self) -> None:
        self.steady = 1000.0
        self.wrong_by = 0.0
        self.check = ClockCheck(lambda: self.broker + self.wrong_by, lambda: self.steady)

    @property
    def broker(self) -> float:
        return NOW_S + self.steady - 1000.0

    def send(self, takes_s: float = 0.1, kind: int = 1) -> None:
        sent_at = self.check.steady_now()
        self.steady += takes_s / 2
        confirmed: Any = SimpleNamespace(timestamp=int(self.broker * 1000), timestamp_type=kind)
        self.steady += takes_s / 2
        self.check.confirmed(sent_at, [confirmed])


@pytest.mark.parametrize("wrong_by", [40 * DAY_S, -40 * DAY_S, 61.0, -61.0])
def test_a_clock_that_is_wrong_is_found_said_and_not_gone_by(
    wrong_by: float, caplog: pytest.LogCaptureFixture
) -> None:
    clocks = Clocks()
    clocks.wrong_by = wrong_by
    assert clocks.check.now_s() == clocks.broker + wrong_by, "nobody has told better yet"
    clocks.send()
    assert clocks.check.ahead_s == pytest.approx(wrong_by, abs=0.2)
    assert clocks.check.now_s() == pytest.approx(clocks.broker, abs=0.2)
    side = "ahead of" if wrong_by > 0 else "behind"
    assert f" {side} the brokers': set all of them by NTP" in (clocks.check.reason() or "")
    with caplog.at_level(logging.WARNING):
        for _ in range(700):  # so many seconds
            clocks.steady += 1.0
            clocks.check.look()
        assert len(caplog.records) == 2
        clocks.wrong_by = 0.0
        clocks.check.look()
        clocks.check.look()
    assert [each.getMessage() for each in caplog.records][2:] == [
        "The clock of this worker agrees with the brokers' again."
    ]
    assert clocks.check.now_s() == clocks.broker


def test_a_clock_that_is_set_wrong_later_is_found_at_once() -> None:
    clocks = Clocks()
    clocks.send()
    clocks.steady += 600.0
    clocks.wrong_by = 40 * DAY_S
    assert clocks.check.now_s() == pytest.approx(clocks.broker, abs=0.2)


@pytest.mark.parametrize("wrong_by", [0.0, 59.0, -59.0])
def test_a_clock_that_is_about_right_is_gone_by(wrong_by: float) -> None:
    clocks = Clocks()
    clocks.wrong_by = wrong_by
    clocks.send()
    assert (clocks.check.ahead_s, clocks.check.reason()) == (0.0, None)
    assert clocks.check.now_s() == clocks.broker + wrong_by


def test_a_confirmation_that_took_long_accuses_nobody() -> None:
    clocks = Clocks()
    clocks.send(takes_s=300.0)
    assert clocks.check.ahead_s == 0.0
    clocks.wrong_by = 100.0
    assert clocks.check.ahead_s == 0.0, "it may have been written at any time of those 300 s"
    clocks.send()
    assert clocks.check.ahead_s == pytest.approx(100.0, abs=0.2)


def test_times_that_are_no_brokers_say_nothing() -> None:
    clocks = Clocks()
    clocks.wrong_by = DAY_S
    clocks.send(kind=0)
    assert clocks.check.ahead_s == 0.0


def test_refused_times_name_the_clock_for_a_while() -> None:
    clocks = Clocks()
    clocks.check.failed(KafkaConnectionError())
    assert clocks.check.reason() is None
    clocks.check.failed(InvalidTimestampError())
    assert "The brokers refuse the times" in (clocks.check.reason() or "")
    clocks.steady += 61.0
    assert clocks.check.reason() is None
