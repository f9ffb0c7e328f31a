"""``tocsin`` whose bridges take for confirmed what they have only handed over: what loses notifications."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from streams.bridges.to_kafka import KafkaWriter
from streams.notifications.priority import Priority
from tocsin.__main__ import main

_post = KafkaWriter.post


def post(
    self: KafkaWriter,
    value: bytes,
    headers: Sequence[tuple[str, bytes]] = (),
    *,
    priority: Priority,
    key: bytes | None = None,
) -> asyncio.Future[None]:
    """Hand it over, and say at once that Kafka has it."""
    _post(self, value, headers, priority=priority, key=key)
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    done.set_result(None)
    return done


if __name__ == "__main__":
    KafkaWriter.post = post  # type: ignore[method-assign]
    main()
