"""Poison: what publishers send by mistake or on purpose. Nothing stops, and memory stays what it is."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import aiokafka
import orjson
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from streams.broker.topic_plan import planned_topics
from streams.notifications import Priority, encode
from tables.reserved_types import OVERFLOW
from tests.admin import admin_of
from tests.chaos.checker import FLOOD
from tests.chaos.load import Hostile
from tests.chaos.members import ChaosError, until
from tests.chaos.world import PARTITIONS, World

_MIB = 2**20
#: Compression -> bytes of zeros that it makes so small that a broker takes them. Snappy packs less well.
_BOMBS = {"gzip": 64 * _MIB, "zstd": 200 * _MIB, "lz4": 64 * _MIB, "snappy": 12 * _MIB}
#: Event types of the flood, and of a bucket and partition by name; the rest must be counted as others.
FLOOD_TYPES = 60_000
SETTINGS = {"priorities": "critical,error,warn,info,debug,audit", "max_event_types": "500"}
#: Of a worker besides its buffers: interpreter and libraries, RocksDB, what fetches hold before they are
#: buffered, and the unpacking of one batch of 8 MiB, which is there three times for a moment.
_BESIDES_BYTES = 144 * _MIB


async def poison(world: World) -> None:
    """All of it at once, into topics that take compression bombs as well."""
    before = max(peak_bytes(member.process.pid) for member in world.members if member.process)
    at_the_door = await _throw_bombs(world)
    if at_the_door["taken"]:
        world.broken.append(f"topics as Tocsin makes them took {at_the_door['taken']} bombs")
    await _keep_compression(world)
    world.say("the topics keep what publishers compressed")
    thrown = await _throw_bombs(world)
    if thrown["refused"]:
        world.broken.append(f"{thrown['refused']} bombs were refused, so that nothing was tested")
    records = await _publish_hostile(world)
    await _flood(world)
    took = await world.caught_up(60)
    others = await counted_as_others(world, FLOOD_TYPES - PARTITIONS * world.settings.max_event_types)
    if not others:
        world.broken.append("no event type was counted among the others")
    bound = world.settings.buffer_bytes * len(world.settings.priorities) + _BESIDES_BYTES
    peaks = {m.name: peak_bytes(m.process.pid) for m in world.members if m.process and m.runs}
    world.notes.append(
        f"bombs refused by topics as made {at_the_door['refused']}, taken by others {thrown['taken']}, "
        f"hostile records {records}, event types {FLOOD_TYPES:,} "
        f"({others:,} counted as others), caught up {took:.1f} s later, "
        f"peak memory {before / _MIB:.0f} MiB before and {max(peaks.values()) / _MIB:.0f} after, "
        f"bound {bound / _MIB:.0f}"
    )
    for name, peak in peaks.items():
        if peak > bound:
            world.broken.append(f"{name} took {peak / _MIB:.0f} MiB, more than {bound / _MIB:.0f}")
    for member in world.members:
        if not member.runs:
            world.broken.append(f"{member.name} ended with {member.exit_code}:\n{member.tail()}")


def peak_bytes(pid: int) -> int:
    """Most memory that a process had at any time."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise ValueError(f"/proc/{pid}/status has no VmHWM")


async def _throw_bombs(world: World) -> Counter[str]:
    """A batch with a bomb behind a good record for each compression; how many were taken and refused."""
    found: Counter[str] = Counter()
    for codec, size in _BOMBS.items():
        producer = _producer(world, codec)
        await producer.start()
        try:
            for priority in (Priority.INFO, Priority.CRITICAL):
                partition = world.random.randrange(PARTITIONS)
                good = encode("chaos.host", "chaos.neighbour", priority, {}, _now_ms(), "neighbour")
                # The good one cannot be had without unpacking the other.
                records = [Hostile(good), Hostile(bytes(size))]
                taken = await world.load.publish_as(priority, partition, records, producer)
                found["taken" if taken else "refused"] += 1
        finally:
            await producer.stop()
    return found


def _producer(world: World, codec: str | None) -> aiokafka.AIOKafkaProducer:
    return aiokafka.AIOKafkaProducer(
        bootstrap_servers=world.settings.brokers,
        compression_type=codec,
        max_batch_size=2**28,
        max_request_size=2**28,
        request_timeout_ms=30_000,
    )


async def _keep_compression(world: World) -> None:
    """Change the topics to what an operator may have made them."""
    resources = [
        # The old request replaces all settings of a topic.
        ConfigResource(ConfigResourceType.TOPIC, spec.name, spec.config | {"compression.type": "producer"})
        for spec in planned_topics(world.settings)
        if spec.notifications
    ]
    async with admin_of(world.settings.brokers) as admin:
        for response in await admin.alter_configs(resources):
            for code, why, _, name in response.resources:
                if code:
                    raise ChaosError(f"The settings of {name} could not be changed: {why}.")


async def _publish_hostile(world: World) -> int:
    """Everything else, in every priority, packed and not; how many records."""
    number = 0
    largest = world.settings.max_notification_bytes
    for codec in (None, "zstd"):
        producer = _producer(world, codec)
        await producer.start()
        try:
            for priority in (Priority.CRITICAL, Priority.WARN, Priority.DEBUG):
                for record in hostile_records(priority, largest):
                    if codec is None and len(record.value or b"") > 2 * largest:
                        continue  # no topic takes it
                    partition = world.random.randrange(PARTITIONS)
                    if not await world.load.publish_as(priority, partition, [record], producer):
                        world.broken.append(f"a record of {len(record.value or b'')} bytes was refused")
                    number += 1
        finally:
            await producer.stop()
    return number


def hostile_records(priority: Priority, largest: int) -> Iterator[Hostile]:
    """Records as nobody should send them, each with what is to become of it.

    Args:
        priority: of those that tell one.
        largest: notification that is read, in bytes.
    """

    def message(event_type: str, ms: int | None = None, payload: object = None) -> bytes:
        return encode("chaos.host", event_type, priority, payload, ms or _now_ms(), "poison")

    for value in (
        b"Traceback (most recent call last):",
        message("chaos.cut")[:-9],
        b"",
        None,
        b"\x00" * 900_000,
        b'{"event_type": "chaos.text", "payload": "\xff\xfe"}',
        b'{"event_type": "chaos.deep", "payload": ' + b"[" * 300 + b"]" * 300 + b"}",
        b"[" * 500_000 + b"]" * 500_000,
        b'{"a":' * 150_000 + b"1" + b"}" * 150_000,
        orjson.dumps({"event_type": "x" * 900_000, "publisher_id": "chaos.host", "payload": {}}),
        orjson.dumps({"event_type": "a\nb", "publisher_id": "chaos.host", "payload": {}}),
        b'{"event_type": "chaos.large", "payload": "' + b"y" * largest + b'"}',
        message("chaos.large", payload="z" * (3 * _MIB)),
    ):
        yield Hostile(value)
    yield Hostile(message("chaos.wide", payload=dict.fromkeys(map(str, range(50_000)), 0)), "chaos.wide")
    # Repaired.
    yield Hostile(b'{"event_type": "chaos.nan", "publisher_id": "chaos.host", "payload": NaN}', "chaos.nan")
    yield Hostile(b'{"event_type": "chaos.half", "publisher_id": "h", "payload": "\\ud800"}', "chaos.half")
    now = _now_ms()
    # Believed: a clock that is behind by less than the lateness, or ahead by less than ten minutes.
    for skew_s in (-3000, -600, 300):
        then = now + skew_s * 1000
        yield Hostile(message("chaos.skew", then), "chaos.skew", then // 1000)
    # Not believed, and counted under the broker's time.
    for then in (0, -(2**40), now - 2 * 86_400_000, now + 3_600_000, 4_102_444_800_000):
        yield Hostile(message("chaos.when", then or 1), "chaos.when")


async def _flood(world: World) -> None:
    """Event types without end, of a priority of their own, so that they crowd out no other one."""
    batch = 500
    for start in range(0, FLOOD_TYPES, batch):
        now = _now_ms()
        some = [
            encode("chaos.host", f"{FLOOD}{number}", Priority.AUDIT, {}, now, "flood")
            for number in range(start, start + batch)
        ]
        await world.load.publish_as(
            Priority.AUDIT,
            start // batch % PARTITIONS,
            [Hostile(value, f"{FLOOD}{start + index}", now // 1000) for index, value in enumerate(some)],
        )
        await asyncio.sleep(0.02)


async def counted_as_others(world: World, least: int) -> int:
    """How many records of the flood were over the limit of event types; ``least`` of them must be."""
    path = f"/api/v1/counts?window=total&priority=AUDIT&event_type={quote(OVERFLOW)}"
    found = 0

    async def counted() -> bool:
        nonlocal found
        status, body = await asyncio.to_thread(world.members[0].get, path)
        found = sum(item["count"] for item in orjson.loads(body)["items"]) if status == 200 else 0
        return found >= least

    try:
        await until("the rest of the flood is counted", counted, 10)
    except ChaosError as error:
        world.broken.append(f"{error} It is at {found:,}.")
    return found


def _now_ms() -> int:
    return int(time.time() * 1000)
