"""Messages whose properties the client of RabbitMQ cannot decode: none of them holds up the bridge."""

from __future__ import annotations

import asyncio
import zlib
from collections import Counter
from typing import Any

import aio_pika
import pytest
from pamqp import commands, decode

from streams.bridges import rabbit_client
from streams.bridges.rabbit import RabbitBridge
from streams.bridges.to_kafka import KafkaWriter
from streams.notifications.priority import Priority
from tests.admin import apply_topics
from tests.integration.reading import read_all
from tests.integration.test_rabbit_bridge import bridging, left_in, on_channel, source_of
from tests.integration.worker_process import Deployment, eventually
from tests.rabbit_server import RabbitServer, rabbit

__all__ = ["rabbit"]

pytestmark = [pytest.mark.kafka, pytest.mark.xdist_group("rabbit")]

NO_TEXT = b"\x03\xff\xfe\xfd"


class Raw(commands.Basic.Properties):
    """Properties of which some are bytes, which go out as they are."""

    def encode_property(self, name: str, value: Any) -> bytes:
        return value if isinstance(value, bytes) else super().encode_property(name, value)


class NoText(str):
    """A text that goes out as bytes which are no UTF-8."""

    def encode(self, *_: object) -> bytes:  # type: ignore[override]
        return NO_TEXT[1:]


def table(content: bytes) -> bytes:
    return len(content).to_bytes(4, "big") + content


def nested(levels: int) -> bytes:
    content = b""
    for _ in range(levels):
        content = b"\x01aF" + table(content)
    return table(content)


#: By property, as it goes over the wire.
HOSTILE = {
    "message_id": NO_TEXT,
    "correlation_id": NO_TEXT,
    "content_type": NO_TEXT,
    "timestamp": (2**63).to_bytes(8, "big"),
    "headers": table(NO_TEXT + b"t\x01"),
    "headers nested": nested(2000),
    "headers of a time": table(b"\x01aT" + (2**62).to_bytes(8, "big")),
}


def publish(server: RabbitServer, queue: str, hostile: list[str]) -> None:
    """Hostile messages between two that are not."""

    async def run(channel: Any) -> None:
        await channel.declare_queue(queue)
        await channel.declare_exchange(queue, "fanout")
        await (await channel.get_queue(queue)).bind(queue)
        wire = await channel.get_underlay_channel()
        for what in ("first", *hostile, "last"):
            properties = Raw()
            if what in HOSTILE:
                setattr(properties, what.split(" ")[0], HOSTILE[what])
            key = NoText("key") if what == "routing key" else ""
            await wire.basic_publish(what.encode(), exchange=queue, routing_key=key, properties=properties)

    on_channel(server, run)


async def test_properties_that_cannot_be_decoded_hold_up_nothing(
    rabbit: RabbitServer, deployment: Deployment, unique: str
) -> None:
    settings = deployment.settings
    await apply_topics(settings)
    hostile = [*HOSTILE, "routing key"]
    publish(rabbit, f"{unique}.info", hostile)
    writer = KafkaWriter(settings)
    bridge = RabbitBridge(writer, source_of(settings, rabbit, unique))
    async with bridging(settings, bridge, writer):
        await eventually("all are confirmed", lambda: bridge.confirmed == len(hostile) + 2)
    assert (bridge.lost, bridge.redelivered) == (0, 0)
    assert left_in(rabbit, f"{unique}.info") == 0
    records = await read_all(settings.brokers, settings.notification_topic(Priority.INFO))
    assert sorted(record.value.decode() for record in records) == sorted(["first", *hostile, "last"])
    (escaped,) = [dict(record.headers) for record in records if record.value == b"message_id"]
    assert escaped["message-id"] == rb"\xff\xfe\xfd"


async def test_packed_messages_that_unpack_to_much_stay_within_the_bound(
    rabbit: RabbitServer, deployment: Deployment, unique: str
) -> None:
    settings = deployment.settings
    await apply_topics(settings)
    small, bomb = zlib.compress(b" " * 900_000 + b"{}"), zlib.compress(bytes(100_000_000))

    async def run(channel: Any) -> None:
        await channel.declare_queue(f"{unique}.info")
        # After many that cost nothing, so that batches are large.
        tiny = zlib.compress(b"{}")
        for number, body in enumerate([*[tiny] * 400, *[small] * 60, bomb]):
            headers = {"compression": "application/x-gzip"}
            message = aio_pika.Message(body, headers=headers, message_id=f"{number}")
            await channel.default_exchange.publish(message, f"{unique}.info")

    on_channel(rabbit, run)
    most = 0
    let_go = asyncio.Event()

    class Watched(KafkaWriter):
        def post(self, *arguments: Any, **more: Any) -> Any:
            nonlocal most
            found = super().post(*arguments, **more)
            most = max(most, self.bytes)
            return found

        async def room(self) -> None:
            # All of them wait by then, as after an outage of Kafka.
            await let_go.wait()
            await super().room()

    writer = Watched(settings, ahead_bytes=2_000_000)
    bridge = RabbitBridge(writer, source_of(settings, rabbit, unique))
    async with bridging(settings, bridge, writer):
        await eventually("all wait", lambda: bridge.waiting == 461)
        let_go.set()
        await eventually("all are confirmed", lambda: bridge.confirmed == 461)
    assert most < 2_000_000 + 1_000_000, "one message beyond the bound, not a batch of them"
    assert left_in(rabbit, f"{unique}.info") == 0
    records = await read_all(settings.brokers, settings.notification_topic(Priority.INFO))
    # What would be too much stays as it came, and the worker makes it a dead letter.
    assert Counter(len(record.value) for record in records) == {2: 400, 900_002: 60, len(bomb): 1}


async def test_client_as_it_is_would_be_held_up_for_ever(
    rabbit: RabbitServer, deployment: Deployment, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The negative control."""
    settings = deployment.settings
    await apply_topics(settings)
    monkeypatch.setattr(rabbit_client, "install_lenient_decoding", lambda: None)
    for name in ("short_str", "field_table", "timestamp"):
        kind = {"short_str": "shortstr", "field_table": "table"}.get(name, name)
        monkeypatch.setitem(decode.METHODS, kind, getattr(decode, name))
    publish(rabbit, f"{unique}.info", ["message_id"])
    writer = KafkaWriter(settings)
    bridge = RabbitBridge(writer, source_of(settings, rabbit, unique))
    async with bridging(settings, bridge, writer):
        await eventually("it comes again and again", lambda: bridge.lost >= 3)
    records = await read_all(settings.brokers, settings.notification_topic(Priority.INFO))
    assert {record.value for record in records} <= {b"first"}
