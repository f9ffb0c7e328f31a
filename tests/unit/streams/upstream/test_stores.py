"""The stores of tables: rows with their changelog offset, and damage that is noticed."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import rocksdict
from faust.types import TP

from streams.upstream import store_faults
from streams.upstream.store_faults import LocalStateError, quarantine_damaged, wait_for_locks
from streams.upstream.stores import (
    DamagedStoreError,
    PartitionGoneError,
    TablePartition,
    store_folders,
)
from tocsin.app import TocsinApp


def changes(count: int, size: int = 10) -> list[tuple[bytes, bytes | None]]:
    return [(b"k%05d" % index, b"v" * size) for index in range(count)]


async def opened(app: TocsinApp, partition: int = 0) -> Any:
    table = app.tables["partial-counts"]
    table.data._db_for_partition(partition)
    return table


async def test_rows_are_written_with_their_changelog_offset(app: TocsinApp) -> None:
    table = await opened(app)
    store = TablePartition(table, 0)
    store.apply(changes(3), [0, 1, 2])
    store.apply([(b"k00001", None)], [3])
    assert [key for key, _ in store.scan(b"k", b"l")] == [b"k00000", b"k00002"]
    assert list(store.scan(b"k00002", b"k00002")) == []
    assert table.persisted_offset(TP(table.changelog_topic.get_topic_name(), 0)) == 3


async def test_recovery_begins_before_rows_of_others_that_were_not_read(app: TocsinApp) -> None:
    """While this worker was paused, another one wrote to the changelog at the offsets that are left out."""
    table = await opened(app)
    store = TablePartition(table, 0)
    changelog = TP(table.changelog_topic.get_topic_name(), 0)
    store.apply(changes(1), [0])
    store.apply(changes(2), [2, 3])
    assert table.persisted_offset(changelog) == 0
    store.apply(changes(3), [1, 2, 4])
    assert table.persisted_offset(changelog) == 0
    store.apply(changes(1), [5])
    assert table.persisted_offset(changelog) == 0
    assert [key for key, _ in store.scan(b"k", b"l")] == [b"k00000", b"k00001", b"k00002"]


async def test_recovery_of_faust_writes_what_we_read(app: TocsinApp) -> None:
    table = await opened(app)
    tp = TP(table.changelog_topic.get_topic_name(), 0)
    event = SimpleNamespace(message=SimpleNamespace(tp=tp, offset=5, partition=0, key=b"k1", value=b"v1"))
    table.data.apply_changelog_batch([event], bytes, bytes)
    assert list(TablePartition(table, 0).scan(b"k", b"l")) == [(b"k1", b"v1")]


async def test_a_revoked_partition_is_not_opened_again(app: TocsinApp) -> None:
    table = await opened(app)
    store = TablePartition(table, 0)
    table.data._dbs.clear()
    with pytest.raises(PartitionGoneError):
        list(store.scan(b"", b"z"))
    with pytest.raises(PartitionGoneError):
        store.apply(changes(1), [0])
    assert not table.data._dbs


async def with_rows(app: TocsinApp) -> Path:
    """The folder of a closed table partition with 20,000 rows in it."""
    table = await opened(app)
    TablePartition(table, 0).apply(changes(20_000, 100), range(20_000))
    table.data._dbs[0].flush()
    table.data._dbs.pop(0).close()
    return Path(table.data.partition_path(0))


def flip_bytes(folder: Path) -> None:
    for file in folder.glob("*.sst"):
        content = bytearray(file.read_bytes())
        for index in range(len(content) // 2, len(content) // 2 + 4000):
            content[index] ^= 0xFF
        file.write_bytes(content)


async def with_few_rows(app: TocsinApp) -> Path:
    """The folder of a closed table partition with three rows in it."""
    table = await opened(app)
    TablePartition(table, 0).apply(changes(3), range(3))
    table.data._dbs[0].flush()
    table.data._dbs.pop(0).close()
    return Path(table.data.partition_path(0))


def damage_all(folder: Path) -> None:
    """Flip the first byte of each sorted table, which is in the block with its first rows."""
    for file in folder.glob("*.sst"):
        content = bytearray(file.read_bytes())
        content[5] ^= 0xFF
        file.write_bytes(content)


async def test_damage_is_noticed_when_a_table_is_read(app: TocsinApp) -> None:
    """Iteration of RocksDB just ends early at a damaged block; the control shows that it does."""
    flip_bytes(await with_rows(app))
    table = await opened(app)
    with pytest.raises(DamagedStoreError):
        list(TablePartition(table, 0).scan(b"k", b"l"))
    unchecked = list(table.data._dbs[0].items())
    assert len(unchecked) < 20_000


async def test_a_table_found_damaged_when_read_is_kept_aside(app: TocsinApp) -> None:
    folder = await with_rows(app)
    flip_bytes(folder)
    table = await opened(app)
    with pytest.raises(DamagedStoreError) as raised:
        list(TablePartition(table, 0).scan(b"k", b"l"))
    aside = raised.value.damaged.quarantine(raised.value)
    assert aside.is_dir()
    assert not folder.exists()


def tried(copy: TablePartition, what: str) -> None:
    """Do something with a table partition that reads what it has."""
    match what:
        case "offset":
            copy.offset()
        case "check":
            copy.check(None)
        case "apply":
            copy.apply(changes(1), [3])
        case "scan":
            list(copy.rows())


class Unchecked(TablePartition):
    """The control: errors as RocksDB raises them."""

    @contextlib.contextmanager
    def told_apart(self) -> Iterator[None]:
        yield


@pytest.mark.parametrize("what", ["offset", "check", "apply", "scan"])
async def test_damage_is_called_so_whatever_meets_it(app: TocsinApp, what: str) -> None:
    """All of a small store is in one block, what recovery begins with among it."""
    damage_all(await with_few_rows(app))
    table = await opened(app)
    with pytest.raises(DamagedStoreError, match=r"table partial-counts, partition 0: .*[Cc]hecksum"):
        tried(TablePartition(table, 0), what)
    with pytest.raises(Exception, match="checksum") as raised:
        tried(Unchecked(table, 0), what)
    assert not isinstance(raised.value, DamagedStoreError)


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("IO error: While open a file: x.sst: Too many open files", LocalStateError),
        ("odd", DamagedStoreError),
    ],
)
async def test_a_disk_that_refuses_is_no_damage(
    app: TocsinApp, monkeypatch: pytest.MonkeyPatch, words: str, kind: type[Exception]
) -> None:
    """A sound store is not thrown away because no further file can be opened."""
    folder = await with_few_rows(app)
    table = await opened(app)

    def get(_: bytes) -> bytes:
        raise Exception(words)  # noqa: TRY002 - as rocksdict does

    db = table.data._dbs[0]
    monkeypatch.setitem(table.data._dbs, 0, SimpleNamespace(get=get, close=db.close))
    copy = TablePartition(table, 0)
    with pytest.raises(kind):
        copy.offset()
    with pytest.raises(LocalStateError) if kind is LocalStateError else contextlib.nullcontext():
        assert table.persisted_offset(copy._changelog) is None
    assert any(folder.parent.glob(f"{folder.name}.damaged-*")) == (kind is DamagedStoreError)


@pytest.mark.parametrize("victim", ["CURRENT", "MANIFEST-*"])
async def test_a_table_that_cannot_be_opened_is_kept_aside_at_start(app: TocsinApp, victim: str) -> None:
    folder = await with_rows(app)
    for file in folder.glob(victim):
        file.unlink()
    (aside,) = quarantine_damaged(store_folders(app))
    assert aside.name.startswith(f"{folder.name}.damaged-")
    assert not folder.exists()


async def test_damaged_rows_are_found_at_start(app: TocsinApp) -> None:
    """Opening does not read them; met later, they would end the worker."""
    folder = await with_rows(app)
    flip_bytes(folder)
    rocksdict.Rdict(str(folder), rocksdict.Options(raw_mode=True)).close()  # the control
    (aside,) = quarantine_damaged(store_folders(app))
    assert aside.name.startswith(f"{folder.name}.damaged-")


async def test_a_file_in_place_of_a_table_is_kept_aside_at_start(app: TocsinApp) -> None:
    folder = await with_few_rows(app)
    shutil.rmtree(folder)
    folder.write_bytes(b"odd")
    wait_for_locks(store_folders(app), 0)
    (aside,) = quarantine_damaged(store_folders(app))
    assert aside.read_bytes() == b"odd"


def in_all(folder: Path) -> int:
    """How many rows a store gives that can be opened; -1 where it cannot."""
    try:
        store = rocksdict.Rdict(str(folder), rocksdict.Options(raw_mode=True))
    except Exception:
        return -1
    found = len(list(store.keys()))
    store.close()
    return found


@pytest.mark.parametrize("damage", ["cut", "flipped"])
async def test_a_damaged_list_of_files_never_loses_rows(
    app: TocsinApp, tmp_path: Path, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever it is damaged, the table is set aside or has all rows: three, their offset and its note.

    The control does not compare it with the files.
    """
    for number in range(3):
        table = await opened(app)
        TablePartition(table, 0).apply([(b"k%d" % number, b"v")], [number])
        table.data._dbs.pop(0).close()
    folder = Path(table.data.partition_path(0))
    (listing,) = folder.glob("MANIFEST-*")
    content = listing.read_bytes()
    check = store_faults._check_files
    incomplete = {True: 0, False: 0}
    for checked in (True, False):
        monkeypatch.setattr(store_faults, "_check_files", check if checked else lambda *_: None)
        for place in range(0, len(content), 1 if damage == "flipped" else 5):
            copy = tmp_path / f"{damage}-{checked}-{place}.db"
            shutil.copytree(folder, copy)
            bad = content[:place] + bytes([content[place] ^ 0x40]) + content[place + 1 :]
            (copy / listing.name).write_bytes(bad if damage == "flipped" else content[:place])
            if not quarantine_damaged([copy]):
                incomplete[checked] += in_all(copy) != 5
            shutil.rmtree(copy, ignore_errors=True)
    assert incomplete[True] == 0
    assert incomplete[False] > 0


async def test_a_sound_table_and_one_in_use_are_left_alone(app: TocsinApp) -> None:
    folder = await with_rows(app)
    assert quarantine_damaged(store_folders(app)) == []
    table = await opened(app)
    assert quarantine_damaged(store_folders(app)) == []
    assert folder.exists()
    assert len(list(TablePartition(table, 0).scan(b"k", b"l"))) == 20_000
