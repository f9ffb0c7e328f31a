"""Making the queues that are missing, in the place of the consumer that a cloud does not have."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from streams.bridges.rabbit_client import (
    ChannelAccessRefused,
    ChannelNotFoundEntity,
    ChannelPreconditionFailed,
    reason,
)
from streams.settings import ConfigurationError

_QUORUM: Final = {"x-queue-type": "quorum"}


@dataclass(frozen=True, slots=True)
class Declared:
    """How what is missing is made.

    Attributes:
        exchanges: topic exchanges that the queues are bound to.
        durable: whether exchanges and queues survive a restart of RabbitMQ.
        quorum: whether queues are quorum queues.
    """

    exchanges: Sequence[str]
    durable: bool
    quorum: bool


async def declare(connection: Any, queue: str, how: Declared) -> None:
    """Make a queue and its exchanges where they are missing, and bind it by its own name.

    A queue that is there is used as it is. Exchanges that are there are compared before a queue is made,
    since services declare both alike, and would be refused if they find another kind.

    Raises:
        ConfigurationError: RabbitMQ refuses, since what is there is of another kind or for want of rights.
        AMQPError, OSError, RuntimeError: the connection is lost.
    """
    if not await _is_there(connection, queue):
        for exchange in how.exchanges:
            await _on_channel(
                connection,
                f"exchange {exchange}",
                partial(_declare_exchange, exchange, how.durable),
            )
        arguments: Any = _QUORUM if how.quorum else None
        await _on_channel(
            connection,
            f"queue {queue}",
            lambda channel: channel.declare_queue(queue, durable=how.durable, arguments=arguments),
        )
    for exchange in how.exchanges:
        await _on_channel(
            connection,
            f"queue {queue}",
            partial(_bind, queue, exchange),
        )


async def _declare_exchange(exchange: str, durable: bool, channel: Any) -> None:
    await channel.declare_exchange(exchange, "topic", durable=durable)


async def _bind(queue: str, exchange: str, channel: Any) -> None:
    found = await channel.get_queue(queue, ensure=False)
    await found.bind(exchange, queue)


async def _is_there(connection: Any, queue: str) -> bool:
    # What is not there closes the channel.
    channel = await connection.channel(publisher_confirms=False)
    try:
        await channel.get_queue(queue, ensure=True)
    except ChannelNotFoundEntity:
        return False
    await channel.close()
    return True


async def _on_channel(connection: Any, what: str, action: Callable[[Any], Awaitable[Any]]) -> None:
    channel = await connection.channel(publisher_confirms=False)
    try:
        await action(channel)
    except ChannelPreconditionFailed as error:
        raise ConfigurationError(
            f"The {what} is there already and of another kind ({reason(error)}); give --durable or "
            "--transient, and --queue-type, as its services declare it, or leave --declare out."
        ) from error
    except ChannelNotFoundEntity as error:
        raise ConfigurationError(
            f"The {what} cannot be bound ({reason(error)}); name exchanges that are there."
        ) from error
    except ChannelAccessRefused as error:
        raise ConfigurationError(
            f"RabbitMQ does not let this user declare or bind the {what} ({reason(error)}); grant it "
            "configure, write and read there, or leave --declare out."
        ) from error
    await channel.close()
