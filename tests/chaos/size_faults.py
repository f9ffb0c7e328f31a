"""Poison by size: names and publishers as large as may be, or larger. No record becomes too large."""

from __future__ import annotations

import time
from typing import Final

import orjson

from streams.notifications import Priority, encode
from tests.chaos.checker import FLOOD
from tests.chaos.load import Hostile
from tests.chaos.poison_faults import counted_as_others, peak_bytes
from tests.chaos.world import PARTITIONS, World

SETTINGS: Final = {"priorities": "critical,error,warn,info,debug,audit"}
_MIB: Final = 2**20
#: Event types of 255 characters, of four bytes each where they differ: with the rows of one source, and with
#: what combiners make of them, several times what one record may hold.
_NAMES: Final = 10_000
#: Notifications of about 900 kB, each with a publisher of its own that is nearly all of it.
_PUBLISHERS: Final = 150
#: What the manifest gives a worker.
_MOST_BYTES: Final = 2**30


async def poison_by_size(world: World) -> None:
    """A flood of large names to one partition, a worker killed in it, and large publishers that ring."""
    partition = world.random.randrange(PARTITIONS)
    victim = world.random.choice(world.members)
    killed_after = world.random.randrange(1, _NAMES // 250)
    for number in range(0, _NAMES, 250):
        now = _now_ms()
        names = [_name(each) for each in range(number, number + 250)]
        some = [
            Hostile(encode("chaos.host", name, Priority.AUDIT, {}, now, "size"), name, now // 1000)
            for name in names
        ]
        await world.load.publish_as(Priority.AUDIT, partition, some)
        if number // 250 == killed_after:
            world.say(f"kill -9 {victim.name} in the flood")
            await victim.kill()
            victim.start()
    for number in range(_PUBLISHERS):
        priority = (Priority.CRITICAL, Priority.ERROR, Priority.AUDIT)[number % 3]
        value = orjson.dumps(
            {
                "publisher_id": f"{number}" + "\U0001f400" * 225_000,
                "event_type": "chaos.publisher",
                "message_id": "m" * 10_000,
                "payload": {},
            }
        )
        taken = await world.load.publish_as(
            priority, world.random.randrange(PARTITIONS), [Hostile(value, "chaos.publisher")]
        )
        if not taken:
            world.broken.append(f"a notification of {len(value)} bytes was refused")
    took = await world.caught_up(90)
    by_name = _NAMES * 400 // (255 * 4 + 60)
    others = await counted_as_others(world, _NAMES - by_name - 1000)
    peaks = {m.name: peak_bytes(m.process.pid) for m in world.members if m.process and m.runs}
    world.notes.append(
        f"event types of 1 kB {_NAMES:,} ({others:,} counted as others), publishers of 900 kB {_PUBLISHERS}, "
        f"caught up {took:.1f} s later, peak memory {max(peaks.values()) / _MIB:.0f} MiB"
    )
    for name, peak in peaks.items():
        if peak > _MOST_BYTES:
            world.broken.append(f"{name} took {peak / _MIB:.0f} MiB")
    for member in world.members:
        if not member.runs:
            world.broken.append(f"{member.name} ended with {member.exit_code}:\n{member.tail()}")


def _name(number: int) -> str:
    """A name of 255 characters that no other number has."""
    digits = f"{number:0{255 - len(FLOOD)}d}"
    return FLOOD + "".join(chr(0x1F400 + int(digit)) for digit in digits)


def _now_ms() -> int:
    return int(time.time() * 1000)
