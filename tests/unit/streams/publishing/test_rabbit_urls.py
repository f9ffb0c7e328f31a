"""Where RabbitMQ is, in the forms that people have it in."""

from __future__ import annotations

import pytest

from streams.publishing.rabbit_urls import rabbit_urls, without_password
from streams.settings import ConfigurationError


@pytest.mark.parametrize(
    ("given", "urls"),
    [
        ("amqp://u:p@h:5672/v", ["amqp://u:p@h:5672/v"]),
        ("amqps://u:p@h/v?cafile=/ca.pem", ["amqps://u:p@h/v?cafile=/ca.pem"]),
        (" rabbit://u:p@one:1,u:p@two:2/v ", ["amqp://u:p@one:1/v", "amqp://u:p@two:2/v"]),
        ("rabbit://u:p@[::1]:5672//", ["amqp://u:p@[::1]:5672//"]),
        ("amqp://h", ["amqp://h"]),
    ],
)
def test_each_host_gets_a_url(given: str, urls: list[str]):
    assert rabbit_urls(given) == urls


@pytest.mark.parametrize(
    "given", ["", "h:5672", "kafka://h", "http://u:secret@h", "amqp:///v", "amqp://u:secret@"]
)
def test_what_is_no_url_is_refused(given: str):
    with pytest.raises(ConfigurationError, match="RabbitMQ") as caught:
        rabbit_urls(given)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("port", ["0", "70000", "x"])
def test_a_wrong_port_is_refused_without_the_password(port: str):
    with pytest.raises(ConfigurationError, match="port that cannot be used") as caught:
        rabbit_urls(f"amqp://u:secret@h:{port}/")
    assert "secret" not in str(caught.value)


def test_logs_name_host_and_port_alone():
    assert without_password("amqp://u:secret@h:1/v") == "h:1"
    assert without_password("amqp://u:secret@h/v") == "h:5672"
    assert without_password("amqps://u:secret@h/v") == "h:5671"
