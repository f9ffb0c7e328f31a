"""``tocsin web`` that looks often whether a reader is too slow; the kernel keeps little for it."""

from __future__ import annotations

import socket

from streams import listening
from tables.views import live_channel, live_stream, server
from tocsin.__main__ import main


def little(host: str, port: int) -> list[socket.socket]:
    """The sockets that it listens on; connections have their bound from them."""
    sockets = listening.listening_sockets(host, port)
    for each in sockets:
        each.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16_384)
    return sockets


if __name__ == "__main__":
    # Longer than a reader that reads stands still on a busy machine.
    live_channel.SLOW_S = 15.0  # type: ignore[misc]
    live_stream.TICK_S = 0.1  # type: ignore[misc]
    server.listening_sockets = little
    main()
