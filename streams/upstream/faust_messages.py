"""Handing batches of records to the agents of a Faust app, past the consumer of its group."""

from __future__ import annotations

from typing import Any

import faust
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, Message

from streams.upstream.faust_app import App


class BatchSchema(faust.Schema):
    """Passes values through as they are: bytes, or a batch of records."""

    def loads_value(self, app: Any, message: Any, **_options: Any) -> Any:  # noqa: ARG002
        """Return the message's value untouched."""
        return message.value


def batch_message(
    app: App, value: Any, topic: str, partition: int, offset: int, timestamp_ms: int
) -> Message:
    """A message whose value is a batch and whose offset is that of the batch's last record."""
    return driver.ConsumerMessage(
        topic,
        partition,
        offset,
        timestamp_ms / 1000,
        0,
        (),
        None,
        value,
        None,
        0,
        0,
        TP(topic, partition),
        generation_id=app.consumer_generation_id,
    )


async def deliver(app: App, message: Message) -> bool:
    """Hand a message to the agent of its topic; False when no agent may get one now."""
    if not app.flow_control.is_active() or message.tp not in app.topics._tp_index:
        return False
    await app.topics.on_message(message)
    return True
