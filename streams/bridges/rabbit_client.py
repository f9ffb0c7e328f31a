"""The AMQP client of the bridge: where it is had from, connecting, and what its errors say."""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import Any, Final

try:
    import aio_pika
    from aio_pika.exceptions import (
        AMQPError,
        ChannelClosed,
        ChannelNotFoundEntity,
        ChannelPreconditionFailed,
        ProbableAuthenticationError,
    )
    from aiormq.exceptions import ChannelAccessRefused, ConnectionNotAllowed, InvalidFrameError
    from yarl import URL

    from streams.bridges.rabbit_decoding import install_lenient_decoding
except ImportError as error:
    from streams.settings import ConfigurationError

    raise ConfigurationError(f"the package {error.name} is missing: pip install 'tocsin[rabbit]'") from error

__all__ = [
    "LOST",
    "REFUSED_LOGIN",
    "ChannelAccessRefused",
    "ChannelClosed",
    "ChannelNotFoundEntity",
    "ChannelPreconditionFailed",
    "close",
    "connected",
    "reason",
]

#: What a connection, or a channel, ends with.
LOST: Final = (AMQPError, OSError, RuntimeError, TimeoutError)
#: Waiting does not help against these: the user, its password, or the virtual host is wrong.
REFUSED_LOGIN: Final = (ProbableAuthenticationError, ConnectionNotAllowed)

_CONNECT_S: Final = 10.0
_CLOSE_S: Final = 5.0


async def connected(url: str, heartbeat_s: int) -> Any:
    """A connection to the server at ``url``.

    Raises:
        AMQPError, OSError, RuntimeError, TimeoutError: it does not answer, or refuses; see `LOST`.
    """
    install_lenient_decoding()
    # Not by aio_pika.connect, which leaves a connection behind when it fails.
    connection = aio_pika.Connection(
        URL(url).update_query(heartbeat=str(heartbeat_s)),
        client_properties={"connection_name": f"tocsin-bridge-{os.getpid()}"},
    )
    try:
        async with asyncio.timeout(_CONNECT_S):
            await connection.connect()
    except InvalidFrameError as error:
        await close(connection)
        if "Connection.Close" not in str(error):
            raise
        # The client does not tell what RabbitMQ says when a connection that is logged in is opened.
        raise ConnectionNotAllowed("the virtual host is not there, or this user may not use it") from error
    except BaseException:
        await close(connection)
        raise
    return connection


async def close(connection: Any) -> None:
    """Close a connection, in good order if the server answers."""
    with contextlib.suppress(*LOST):
        async with asyncio.timeout(_CLOSE_S):
            await connection.close()


def reason(error: BaseException) -> str:
    """What an error of the client says."""
    if isinstance(error, TimeoutError):
        return f"no answer within {_CONNECT_S:g} s"
    return str(error) or type(error).__name__
