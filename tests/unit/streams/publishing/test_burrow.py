"""The driver burrow, against a small Burrow that speaks its HTTP API v1.0."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from streams.outgoing import Outgoing
from streams.publishing.driver import Stats, load_driver
from streams.publishing.drivers.burrow import BurrowDriver
from streams.publishing.notifier import Notifier
from streams.settings import ConfigurationError
from tests.burrow_server import BurrowServer, burrow_server
from tests.ports import free_port

BOUND_S = 60.0


@pytest.fixture
def burrow() -> Iterator[BurrowServer]:
    with burrow_server() as server:
        yield server


def ask(server: BurrowServer, path: str, method: str = "GET") -> Any:
    """The JSON of an answer, or its status where there is none."""
    request = urllib.request.Request(f"{server.url}{path}", method=method)
    try:
        with urllib.request.urlopen(request, timeout=BOUND_S) as answer:
            text = answer.read()
            return json.loads(text) if text else answer.status
    except urllib.error.HTTPError as error:
        return error.code


def test_each_priority_has_a_queue_and_each_message_its_id(burrow: BurrowServer):
    with load_driver("burrow", url=burrow.url, account="cloud") as driver:
        notifier = Notifier("compute.host1", driver, topic_prefix="notifications.")
        ids = {name: notifier.publish(name, "a.b", name) for name in ("critical", "info")}
        assert driver.flush(BOUND_S)
        assert driver.stats == Stats(pushed=2, delivered=2)
    assert ask(burrow, "/v1.0") == ["cloud"]
    assert ask(burrow, "/v1.0/cloud") == ["notifications.critical", "notifications.info"]
    for name, message_id in ids.items():
        (message,) = ask(burrow, f"/v1.0/cloud/notifications.{name}")
        assert message["id"] == message_id
        assert json.loads(message["body"])["payload"] == name


def test_a_worker_claims_what_was_published_and_deletes_it(burrow: BurrowServer):
    with BurrowDriver(url=burrow.url) as driver:
        driver.push(Outgoing("n.info", b'{"message_id": "one/two"}'))
        assert driver.flush(BOUND_S)
    (claimed,) = ask(burrow, "/v1.0/nova/n.info?limit=1&hide=60", "POST")
    assert claimed["id"] == "one/two"
    assert ask(burrow, "/v1.0/nova/n.info") == 404, "hidden from others"
    assert ask(burrow, "/v1.0/nova/n.info/one%2Ftwo", "DELETE") == 204
    assert ask(burrow, "/v1.0/nova") == 404


def test_messages_expire_and_are_hidden_as_asked_for(burrow: BurrowServer):
    with BurrowDriver(url=burrow.url, ttl_s=100, hide_s=30) as driver:
        driver.push(Outgoing("n.info", b'{"message_id": "a"}'))
        assert driver.flush(BOUND_S)
    assert ask(burrow, "/v1.0/nova/n.info") == 404
    assert [each["id"] for each in ask(burrow, "/v1.0/nova/n.info?match_hidden=true")] == ["a"]
    burrow.shift_s = 31
    (message,) = ask(burrow, "/v1.0/nova/n.info?detail=attributes")
    assert message["hide"] == 0
    assert 60 <= message["ttl"] <= 69
    burrow.shift_s = 101
    assert ask(burrow, "/v1.0/nova/n.info?match_hidden=true") == 404
    assert ask(burrow, "/v1.0/nova") == 404, "an empty queue is none"


def test_what_is_sent_twice_is_there_once(burrow: BurrowServer):
    with BurrowDriver(url=burrow.url) as driver:
        for _ in range(3):
            driver.push(Outgoing("n.info", b'{"message_id": "a"}'))
        assert driver.flush(BOUND_S)
        assert driver.stats.delivered == burrow.puts == 3
    assert [each["id"] for each in ask(burrow, "/v1.0/nova/n.info")] == ["a"]


def test_trouble_of_burrow_is_waited_for_and_a_refusal_is_final(burrow: BurrowServer):
    burrow.refusals = [503, 429, 500, 400]
    with BurrowDriver(url=burrow.url) as driver:
        driver.push(Outgoing("n.info", b"1"))
        assert driver.flush(BOUND_S)
        assert driver.stats == Stats(pushed=1, failed=1)
        driver.push(Outgoing("n.info", b"2"))
        assert driver.flush(BOUND_S)
        assert driver.stats == Stats(pushed=2, delivered=1, failed=1)
    assert burrow.puts == 5


def test_what_is_pushed_while_it_is_away_arrives_later():
    port = free_port()
    with burrow_server(port) as first:
        url = first.url
    with BurrowDriver(url=url) as driver:
        for number in range(200):
            driver.push(Outgoing("n.info", b"%d" % number))
        assert not driver.flush(0.05)
        with burrow_server(port) as second:
            assert driver.flush(BOUND_S)
            assert driver.stats == Stats(pushed=200, delivered=200)
            bodies = {int(each["body"]) for each in ask(second, "/v1.0/nova/n.info")}
    assert bodies == set(range(200))


def test_closing_gives_up_what_cannot_be_delivered():
    with burrow_server() as gone:
        url = gone.url
    driver = BurrowDriver(url=url)
    driver.push(Outgoing("n.info", b"1"))
    driver.close(0.0)
    assert driver.stats == Stats(pushed=1, failed=1)


@pytest.mark.parametrize(
    "options",
    [
        {"url": "h:80"},
        {"url": "ftp://h"},
        {"url": "http://h:x"},
        {"url": "http://h", "account": ".."},
        {"url": "http://h", "ttl_s": 0},
        {"url": "http://h", "hide_s": -1},
    ],
)
def test_what_cannot_be_used_is_a_configuration_error(options: dict[str, Any]):
    with pytest.raises(ConfigurationError):
        BurrowDriver(**options)
