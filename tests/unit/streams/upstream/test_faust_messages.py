"""A batch reaches its agent as it is, or not at all."""

from __future__ import annotations

from streams.notifications import Priority
from streams.transport.batch import RecordBatch
from streams.upstream.faust_messages import BatchSchema, batch_message, deliver
from tests.unit.streams.upstream.stand_ins import MANAGED
from tocsin.app import TocsinApp


async def test_a_batch_reaches_the_agent_as_it_is(app: TocsinApp) -> None:
    batch = RecordBatch(Priority.DEBUG, "notifications.debug", 3, [object()], None)
    message = batch_message(app, batch, "notifications.debug", 3, 41, 1_700_000_000_000)
    assert (message.tp, message.offset, message.timestamp) == (MANAGED, 41, 1_700_000_000.0)
    assert message.generation_id == app.consumer_generation_id
    topic = app.topic("notifications.debug", schema=BatchSchema(key_type=bytes, value_type=bytes))
    event = await topic.decode(message)
    assert event.value is batch


async def test_nothing_is_delivered_for_a_partition_without_an_agent(app: TocsinApp) -> None:
    message = batch_message(app, b"", "notifications.debug", 3, 0, 0)
    app.flow_control.resume()
    assert not await deliver(app, message)


async def test_nothing_is_delivered_while_flow_is_suspended(app: TocsinApp) -> None:
    app.topics._tp_index[MANAGED].add(app.topic("notifications.debug"))
    app.flow_control.suspend()
    assert not await deliver(app, batch_message(app, b"", "notifications.debug", 3, 0, 0))
