"""Where RabbitMQ is: AMQP URLs, and the transport URLs of oslo.messaging with several hosts. Pure."""

from __future__ import annotations

from urllib.parse import urlsplit

from streams.settings import ConfigurationError

_SCHEMES = {"amqp": "amqp", "amqps": "amqps", "rabbit": "amqp", "kombu": "amqp"}


def rabbit_urls(text: str) -> list[str]:
    """The AMQP URL of each host that ``text`` names, in its order.

    Args:
        text: such as ``amqp://user:password@host:5672/vhost``, or the ``transport_url`` of nova.conf,
            ``rabbit://user:password@one:5672,user:password@two:5672/vhost``.

    Raises:
        ConfigurationError: it is no such URL; the message does not repeat it, as it may hold a password.
    """
    scheme, found, rest = text.strip().partition("://")
    if not found or scheme not in _SCHEMES:
        raise ConfigurationError(
            "The URL of RabbitMQ must begin with amqp://, amqps:// or rabbit://, "
            "as in amqp://user:password@host:5672/vhost."
        )
    hosts, slash, tail = rest.partition("/")
    urls = []
    for host in hosts.split(","):
        url = f"{_SCHEMES[scheme]}://{host.strip()}{slash}{tail}"
        try:
            parts = urlsplit(url)
            named = bool(parts.hostname) and parts.port != 0
        except ValueError:
            named = False
        if not named:
            raise ConfigurationError(
                "The URL of RabbitMQ has a host or a port that cannot be used: "
                "write amqp://user:password@host:5672/vhost, "
                "and percent-encode what is special in a name or password."
            )
        urls.append(url)
    return urls


def without_password(url: str) -> str:
    """Host and port of a URL, for logs."""
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port or (5671 if parts.scheme == 'amqps' else 5672)}"
