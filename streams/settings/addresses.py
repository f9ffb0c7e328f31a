"""Addresses as settings write them: of brokers, of the web views, of a token endpoint."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

from streams.settings.wording import quoted

#: What ``web_host`` is to listen on every address, of IPv4 and of IPv6.
ALL_ADDRESSES = "*"

#: Each way to listen on more than one address of this machine, with one that is among them.
WILDCARDS = {ALL_ADDRESSES: "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104

#: Part of an address space.
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_PREFIX = re.compile(r"(/(?!\.\.(/|$))[A-Za-z0-9._~-]+)+/?")
_MOST_PREFIX = 200
_PORT = re.compile(r"[0-9]{1,5}")
_NO_HOST = re.compile(r"[\s/@?#\[\]%:,*\\\"'<>|{}^`$&;=()!~+]")


def broker_addresses(value: str) -> str:
    """``host:port`` separated by commas, without blanks.

    Raises:
        ValueError: with what to write instead. It holds no part that may be a password.
    """
    if "@" in value or "/" in value:
        raise ValueError(
            "give host:port without user, password or scheme; "
            "use TOCSIN_SASL_USERNAME and TOCSIN_SASL_PASSWORD_FILE, and TOCSIN_SECURITY_PROTOCOL"
        )
    found: dict[str, None] = {}
    for part in value.split(","):
        address = part.strip()
        if not address:
            raise ValueError("there is nothing between two commas, or at an end; write host:port,host:port")
        _check_broker(address)
        if address.lower() in found:
            raise ValueError(f"{address!r} is there twice; write it once")
        found[address.lower()] = None
    return ",".join(part.strip() for part in value.split(","))


def _check_broker(address: str) -> None:
    """Raise ValueError unless ``address`` is one host and one port."""
    if address.startswith("["):
        inside, closed, rest = address[1:].partition("]")
        if not closed or not is_ip(inside, 6):
            raise ValueError(f"{address!r} is not host:port; write an IPv6 address as [::1]:9092")
        if not rest:
            raise ValueError(f"{address!r} is not host:port; write [{inside}]:9092")
        _check_port(address, rest.removeprefix(":") if rest.startswith(":") else "")
        return
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port:
        name = (host or port).strip(":") or "kafka"
        raise ValueError(f"{address!r} is not host:port; write {name}:9092")
    if ":" in host:
        if is_ip(host, 6) and _PORT.fullmatch(port):
            raise ValueError(f"{address!r} has an IPv6 address without brackets; write [{host}]:{port}")
        if is_ip(address, 6):
            raise ValueError(f"{address!r} is an IPv6 address without a port; write [{address}]:9092")
        raise ValueError(f"{address!r} is not host:port; write one port, and separate addresses by commas")
    if re.search(r"\s", address):
        raise ValueError(f"{address!r} has a blank in it; separate addresses by commas")
    if not is_host(host):
        raise ValueError(f"{address!r} is not host:port; {host!r} is neither a host name nor an IP address")
    _check_port(address, port)


def _check_port(address: str, port: str) -> None:
    if not _PORT.fullmatch(port) or not 1 <= int(port) <= 65_535:
        raise ValueError(f"{address!r} is not host:port; the port is a number from 1 to 65535, such as 9092")


def is_ip(text: str, version: int | None = None) -> bool:
    """Whether ``text`` is an IP address, of this version if one is given; IPv6 may have a zone: ``%eth0``."""
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return False
    return version in (None, found.version)


def is_host(text: str) -> bool:
    """Whether ``text`` is a host name or an IP address, without port and brackets."""
    if is_ip(text):
        return True
    if not text or not text.isprintable() or _NO_HOST.search(text) or text.startswith((".", "-")):
        return False
    if re.fullmatch(r"[0-9.]+", text):
        return False  # an IPv4 address that is none
    try:
        # Labels that are empty or longer than 63 characters are refused.
        return len(text.encode("idna")) <= 253
    except UnicodeError:
        return False


def is_loopback(host: str) -> bool:
    """Whether what listens on ``host`` can be reached from this machine only."""
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def listening_host(value: str, *, port_setting: str = "TOCSIN_WEB_PORT") -> str:
    """An address to listen on: ``*``, an IP address or a host name.

    Args:
        value: to check.
        port_setting: says which port, for the message.

    Raises:
        ValueError: with what to write instead.
    """
    if value == ALL_ADDRESSES or is_host(value):
        return value
    inside = value.removeprefix("[").removesuffix("]")
    if value.startswith("[") and is_ip(inside, 6):
        raise ValueError(f"write {inside} without brackets")
    host, _, port = value.rpartition(":")
    if _PORT.fullmatch(port) and is_host(host.removeprefix("[").removesuffix("]")):
        raise ValueError(f"write {host} without the port, which is {port_setting}")
    raise ValueError(
        "this is neither an IP address nor a host name; "
        "write 127.0.0.1, or * for all addresses of IPv4 and IPv6"
    )


def reachable_host(host: str) -> str:
    """Where a server that listens on ``host`` is reached from the same machine."""
    return WILDCARDS.get(host, host)


def host_in_url(host: str) -> str:
    """``host`` as a URL has it: an IPv6 address in brackets."""
    return f"[{host.replace('%', '%25')}]" if ":" in host else host


def http_url(value: str) -> str:
    """A URL that can be asked by HTTP.

    Raises:
        ValueError: with what to write instead. It holds no part of the URL, which may have a password.
    """
    wanted = "write it as https://host/path"
    if not value.isprintable() or re.search(r"\s", value):
        raise ValueError(f"this is not a URL; {wanted}")
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        raise ValueError(f"this is not a URL; {wanted}, with a port from 1 to 65535 if any") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or not is_host(parts.hostname):
        raise ValueError(f"this is not a URL of HTTP; {wanted}")
    if parts.username is not None or parts.password is not None:
        raise ValueError(f"a URL with a user or a password is not accepted; {wanted}")
    if port == 0 or parts.fragment:
        raise ValueError(f"this URL has a port of 0 or a fragment; {wanted}")
    return value


def path_prefix(value: str) -> str:
    """A path that others lie under, such as ``/tocsin``, without the last slash; "" for none.

    Raises:
        ValueError: with what to write instead.
    """
    if value in ("", "/"):
        return ""
    if len(value) > _MOST_PREFIX or not _PREFIX.fullmatch(value) or "." in value.strip("/").split("/"):
        raise ValueError("write a path of letters, digits and -._~, such as /tocsin")
    return value.rstrip("/")


def networks(value: str) -> tuple[Network, ...]:
    """Addresses and networks, separated by commas, such as ``10.0.0.7, 10.1.0.0/16, ::1``.

    Raises:
        ValueError: with what to write instead.
    """
    found: list[Network] = []
    for part in filter(None, map(str.strip, value.split(","))):
        try:
            found.append(ipaddress.ip_network(part))
        except ValueError:
            raise ValueError(
                f"{quoted(part)} is neither an address nor a network; write them as 10.0.0.7 or 10.1.0.0/16"
            ) from None
    return tuple(found)
