"""Faults of a worker's data folder: disk full, disk read-only, stores in use, rows that are bad when read.

The disk is a small tmpfs, which only root may mount; elsewhere the line says so and is broken.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator
from pathlib import Path

from streams.upstream.stores import CheckedStore
from tests.chaos import damage, small_disk
from tests.chaos.cluster_faults import start_like_a_pod
from tests.chaos.history import read
from tests.chaos.members import ChaosError, Member, until
from tests.chaos.world import World
from tests.integration.reading import read_all

#: Small enough to be full soon: RocksDB takes room for its log ahead, and goes on in it on a full disk.
_DISK_BYTES = 3 * 2**20
_NOT_WRITABLE = b"is not writable"
_FULL = b"No space left on device"
EXIT_CONFIG = 78


async def disk_full(world: World) -> None:
    """The disk of a worker is full while it works, and when it starts again; then there is room."""
    async with _on_a_small_disk(world) as (member, disk):
        await world.all_ready()
        taken = disk.fill()
        world.say(f"the disk of {member.name} is full, {taken} bytes of ballast")
        took = await member.gone(30)
        _said(world, member, _FULL)
        world.notes.append(f"ended with {member.exit_code} {took:.1f} s after its disk was full")
        if member.exit_code != 1:
            world.broken.append(f"{member.name} ended with {member.exit_code} on a full disk")
        member.start(TOCSIN_DATA_DIR=str(disk.path))
        await member.gone(20)
        _said(world, member, _FULL)
        if member.exit_code != 1:
            world.broken.append(f"{member.name} ended with {member.exit_code} at the start on a full disk")
        disk.make_room()
        world.say(f"there is room on the disk of {member.name}")
        member.start(TOCSIN_DATA_DIR=str(disk.path))
        recovery = await world.recovered()
        world.notes.append(f"with room again it had caught up in {recovery:.1f} s")
        _nothing_set_aside(world, disk.path)


async def read_only(world: World) -> None:
    """The disk of a worker is read-only when it starts: it says so and leaves; then it is writable again."""
    async with _on_a_small_disk(world) as (member, disk):
        await world.all_ready()
        await asyncio.sleep(world.random.uniform(0.5, 1.5))
        await member.kill()
        disk.read_only(True)
        world.say(f"the disk of {member.name} is read-only")
        member.start(TOCSIN_DATA_DIR=str(disk.path))
        took = await member.gone(20)
        _said(world, member, _NOT_WRITABLE)
        world.notes.append(f"ended with {member.exit_code} after {took:.1f} s on a read-only disk")
        if member.exit_code != EXIT_CONFIG:
            world.broken.append(f"{member.name} ended with {member.exit_code} on a read-only disk")
        disk.read_only(False)
        world.say(f"the disk of {member.name} is writable")
        member.start(TOCSIN_DATA_DIR=str(disk.path))
        recovery = await world.recovered()
        world.notes.append(f"writable again it had caught up in {recovery:.1f} s")
        _nothing_set_aside(world, disk.path)


async def held_lock(world: World) -> None:
    """Another process has a store of a worker open when it starts: for good, and for a while."""
    member = world.random.choice(world.members)
    patience = world.settings.drain_deadline_s + 5
    await asyncio.sleep(world.random.uniform(0.5, 1.5))
    await member.kill()
    store = world.random.choice(damage.stores(member.data_dir))
    with damage.held_lock(store):
        world.say(f"{store.name} of {member.name} is held")
        member.start()
        took = await member.gone(patience + 10)
        _said(world, member, b"in use by another process")
        world.notes.append(f"ended with {member.exit_code} after {took:.1f} s of a held store")
        if member.exit_code != EXIT_CONFIG:
            world.broken.append(f"{member.name} ended with {member.exit_code} though its store was held")
        member.start()

        def waits() -> bool:
            return b"waiting up to" in member.text() or not member.runs

        await until(f"{member.name} says that it waits", waits, 20)
        await asyncio.sleep(world.random.uniform(0.5, 2.0))
        if await member.is_ready():
            world.broken.append(f"{member.name} is ready though its store is held")
    world.say(f"{store.name} of {member.name} is free")
    recovery = await world.recovered()
    world.notes.append(f"started {recovery:.1f} s after it was free")
    _nothing_set_aside(world, member.data_dir)


async def bad_when_read(world: World) -> None:
    """Bytes of rows are flipped, which is met when they are read: then the table equals a fresh rebuild."""
    member = world.random.choice(world.members)
    # What was in the logs when it died is in sorted tables when it starts again.
    for _ in range(2):
        await asyncio.sleep(world.random.uniform(1.0, 2.0))
        await member.kill()
        member.start()
        await world.all_ready()
    await member.kill()
    tables = 0
    for store in damage.stores(member.data_dir):
        for number, file in enumerate(damage.sst_files(store)):
            # The first of a store surely in its rows; others anywhere, also where it does no harm. In each
            # store, since a partition may have gone to another worker, and then nobody reads it here.
            damage.flip_byte(file, world.random.uniform(0.02, 0.5) if number else 0.02)
            tables += 1
    world.say(f"a byte in each of {tables} sorted tables of {member.name} is flipped")
    await start_like_a_pod(world, member)
    await world.recovered()
    if not (aside := damage.set_aside(member.data_dir)):
        world.broken.append(f"no damage was found in {tables} files")
    await _end(member)
    rows = await _differences(world, member)
    world.notes.append(f"{len(aside)} tables set aside, {rows:,} rows as in a fresh rebuild")
    member.start()
    await world.all_ready()


async def _differences(world: World, member: Member) -> int:
    """Compare the stores of a stopped worker with their changelogs; returns the rows compared."""
    ready = [line for line in read(world.history.path) if line["k"] == "ready"]
    mine = [line for line in ready if line["w"].startswith(f"{member.name}:")][-1]
    partials = world.settings.internal_topic("partials")
    compared = 0
    for table in ("partial-counts", "combined-counts"):
        combines = table == "combined-counts"
        owned = {partition for topic, partition, _ in mine["at"] if (topic == partials) == combines}
        changelog = world.settings.internal_topic(f"{table}-changelog")
        rebuilt: dict[int, dict[bytes, bytes]] = {partition: {} for partition in owned}
        for record in await read_all(world.settings.brokers, changelog):
            if record.partition in owned:
                rebuilt[record.partition][record.key] = record.value
        for store in damage.stores(member.data_dir):
            name, _, partition = store.stem.rpartition("-")
            if name != table or int(partition) not in owned:
                continue
            found = await asyncio.to_thread(damage.read_all, store)
            for own in CheckedStore.own_keys:
                found.pop(own, None)
            wanted = {key: value for key, value in rebuilt[int(partition)].items() if value is not None}
            if found != wanted:
                odd = sum(found.get(key) != wanted.get(key) for key in found.keys() | wanted.keys())
                world.broken.append(f"{store.name} differs from a fresh rebuild in {odd} rows")
            compared += len(wanted)
    if not compared:
        world.broken.append("no row was compared with a fresh rebuild")
    return compared


@contextlib.asynccontextmanager
async def _on_a_small_disk(world: World) -> AsyncIterator[tuple[Member, small_disk.SmallDisk]]:
    """A worker that was started anew on a small disk; afterwards it is back on its own folder."""
    member = world.random.choice(world.members)
    with contextlib.ExitStack() as stack:
        try:
            disk = stack.enter_context(small_disk.mounted(world.folder / "small-disk", _DISK_BYTES))
        except small_disk.MountRefusedError as reason:
            raise ChaosError(f"The line needs a disk of its own: {reason}.") from reason
        await _end(member)
        world.say(f"{member.name} moves to a small disk")
        member.start(TOCSIN_DATA_DIR=str(disk.path))
        try:
            yield member, disk
        finally:
            disk.make_room()
            await _end(member)
    member.start()
    await world.all_ready()


async def _end(member: Member) -> None:
    member.send(signal.SIGTERM)
    try:
        await member.gone(30)
    except ChaosError:
        await member.kill()
        raise


def _said(world: World, member: Member, words: bytes) -> None:
    """What stopped the worker stands in one line of its log."""
    lines = [line for line in member.text().splitlines() if words in line and b"TOCSIN_DATA_DIR" in line]
    if lines:
        world.say(lines[0].decode(errors="replace"))
    else:
        world.broken.append(f"{member.name} did not say {words.decode()!r}:\n{member.tail()}")


def _nothing_set_aside(world: World, folder: Path) -> None:
    """A sound store must not be taken for a damaged one."""
    if aside := [path.name for path in damage.set_aside(folder)]:
        world.broken.append(f"sound stores were set aside: {aside}")
