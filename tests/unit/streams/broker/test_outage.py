"""The sentences about an outage: of all brokers, or of so many that nothing can be written."""

from __future__ import annotations

import pytest

from streams.broker.outage import Outage


def test_an_outage_is_said_a_few_times_and_its_end_once() -> None:
    outage = Outage("a:1")
    said = [outage.asked(now - 0.1, now, 0) for now in range(100, 300)]
    assert [line for line in said if line] == [
        f"Waiting for the broker at a:1: no answer for {seconds} s." for seconds in (3, 10, 30, 60, 120, 180)
    ]
    assert outage.lost_s(300) == pytest.approx(200.1)
    assert outage.reason(300) == "No Kafka broker has answered for 200 s."
    assert outage.asked(299.0, 300.0, 1) == "Broker at a:1 is back after 200 s."
    assert (outage.lost_s(301), outage.reason(301)) == (0, None)
    assert outage.asked(301.0, 302.0, 1) is None


def test_one_request_that_fails_is_no_outage() -> None:
    outage = Outage("a:1")
    assert outage.asked(100.0, 100.5, 0) is None
    assert (outage.lost_s(101.0), outage.reason(101.0)) == (0, None)
    assert outage.asked(101.5, 102.0, 1) is None


def test_fewer_brokers_than_writes_need_are_an_outage() -> None:
    outage = Outage("a:1,b:1,c:1", needed=2)
    assert outage.asked(100.0, 100.0, 2) is None
    assert outage.asked(110.0, 110.0, 1) is None
    assert outage.asked(114.0, 114.0, 1) == (
        "Waiting for brokers at a:1,b:1,c:1: only 1 of the 2 that writes need answered in the last 4 s."
    )
    assert outage.reason(115.0) == "Only 1 of the 2 Kafka brokers that writes need answered in the last 5 s."
    assert outage.asked(116.0, 116.0, 0) is None
    assert outage.reason(117.0) == "No Kafka broker has answered for 7 s."
    assert outage.asked(118.0, 118.0, 3) == "Enough brokers at a:1,b:1,c:1 are back after 8 s."
    assert outage.reason(119.0) is None


def test_one_broker_of_three_that_is_away_is_no_outage() -> None:
    outage = Outage("a:1,b:1,c:1", needed=2)
    assert [outage.asked(now, now, 2) for now in range(100, 200)] == [None] * 100
    assert outage.reason(200.0) is None
