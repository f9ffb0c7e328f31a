"""The sockets that a server listens on: one port, on each address that a setting stands for."""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Sequence

from streams.settings.addresses import ALL_ADDRESSES

#: Connections that wait to be taken.
BACKLOG = 128
#: Tries to find a port that is free on each address, where any will do.
_TRIES = 20


def listening_sockets(host: str, port: int) -> list[socket.socket]:
    """Sockets that listen; the caller closes them.

    Args:
        host: an address, a name that may stand for several, or ``*`` for every address of this machine,
            of IPv4 and of IPv6, as far as the kernel has them.
        port: the same on each; 0 takes a free one.

    Raises:
        OSError: it cannot be listened there.
    """
    if host == ALL_ADDRESSES:
        return [_on_all_addresses(port)]
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    addresses = list(dict.fromkeys((family, address) for family, _, _, _, address in found))
    for _ in range(_TRIES):
        try:
            return _on_each(addresses, port)
        except OSError as error:
            # Somebody has the port that was free on the first address on another one.
            if port or len(addresses) == 1 or error.errno != errno.EADDRINUSE:
                raise
    return _on_each(addresses, port)


def why_not_listening(error: Exception, host: str, port: int, *, settings: str = "TOCSIN_WEB") -> str:
    """What to change where `listening_sockets` failed, in one sentence.

    Args:
        error: that it raised.
        host: that it was given.
        port: the same.
        settings: what the names of the settings begin with.
    """
    if not isinstance(error, OSError):
        return f"{settings}_HOST: {host} is no name of a host; use 127.0.0.1, or * for all addresses."
    if error.errno == errno.EADDRINUSE:
        return (
            f"{settings}_PORT: another program listens on {host}:{port}; choose another, or 0 for a free one."
        )
    if error.errno == errno.EACCES:
        return f"{settings}_PORT: port {port} needs rights that this process lacks; choose one from 1024 on."
    if error.errno == errno.EADDRNOTAVAIL or isinstance(error, socket.gaierror):
        return f"{settings}_HOST: {host} is not an address of this machine; use 127.0.0.1, or * for all."
    return f"{settings}_HOST: cannot listen on {host}:{port} ({error.strerror})."


def _on_all_addresses(port: int) -> socket.socket:
    if socket.has_dualstack_ipv6():
        with contextlib.suppress(OSError):
            return socket.create_server(
                ("", port), family=socket.AF_INET6, backlog=BACKLOG, dualstack_ipv6=True
            )
    # IPv6 is off in the kernel; or the port is taken, which is said by this one.
    return socket.create_server(("", port), backlog=BACKLOG)


def _on_each(addresses: Sequence[tuple[int, tuple[object, ...]]], port: int) -> list[socket.socket]:
    sockets: list[socket.socket] = []
    refused: OSError | None = None
    try:
        for family, address in addresses:
            try:
                one = _listening(family, (address[0], port, *address[2:]))
            except OSError as error:
                # A name may stand for an address that is not there, as localhost where IPv6 is off.
                if len(addresses) > 1 and error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                    refused = error
                    continue
                raise
            sockets.append(one)
            port = port or one.getsockname()[1]
    except BaseException:
        for one in sockets:
            one.close()
        raise
    if not sockets and refused is not None:
        raise refused
    return sockets


def _listening(family: int, address: tuple[object, ...]) -> socket.socket:
    one = socket.socket(family, socket.SOCK_STREAM)
    try:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        one.bind(address)
        one.listen(BACKLOG)
    except BaseException:
        one.close()
        raise
    return one
