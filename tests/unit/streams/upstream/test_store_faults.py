"""Damaged stores are set aside; a full or read-only disk and a held lock are told, and cost no store."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import rocksdict
from faust.stores.rocksdb import RocksDBOptions
from faust.types import TP

from streams.settings import ConfigurationError, load_settings
from streams.upstream.store_faults import (
    LocalStateError,
    StoreInUseError,
    check_data_dir,
    disk_error,
    quarantine_damaged,
    wait_for_locks,
)
from streams.upstream.stores import CheckedStore, DamagedStoreError, TablePartition, store_folders
from tests.chaos import damage, small_disk
from tests.paths import ROOT
from tocsin.app import TocsinApp, make_app

HOLD = """
import sys
from pathlib import Path
from tests.chaos.damage import held_lock
with held_lock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def store(tmp_path: Path) -> Path:
    path = tmp_path / "store.db"
    database = rocksdict.Rdict(str(path), rocksdict.Options(raw_mode=True))
    for number in range(20_000):
        database[b"k%08d" % number] = b"v" * 100
    database.flush()
    database.close()
    return path


@contextlib.contextmanager
def held_by_another_process(store: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(store)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.wait(10)
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()


@contextlib.contextmanager
def disk_of(path: Path, size: int) -> Iterator[small_disk.SmallDisk]:
    with contextlib.ExitStack() as stack:
        try:
            disk = stack.enter_context(small_disk.mounted(path, size))
        except small_disk.MountRefusedError as reason:
            pytest.skip(str(reason))
        yield disk


def test_a_bad_block_is_damage_though_its_name_has_a_lock_in_it(tmp_path: Path) -> None:
    error = Exception("Corruption: block checksum mismatch in file /data/clock/000009.sst")
    assert disk_error(tmp_path, error) is None
    assert (
        disk_error(tmp_path, Exception("IO error: No such file or directory: While opening a file")) is None
    )


def test_a_store_held_by_another_process_is_waited_for(store: Path) -> None:
    with held_by_another_process(store) as process:
        slept: list[float] = []

        def sleep(seconds: float) -> None:
            slept.append(seconds)
            process.kill()
            process.wait(10)

        wait_for_locks([store], 30, sleep=sleep)
        assert slept
    wait_for_locks([store], 0)


def test_a_store_that_stays_held_is_wrong_configuration_and_no_damage(store: Path) -> None:
    with held_by_another_process(store):
        with pytest.raises(ConfigurationError, match=r"in use by another process.*TOCSIN_DATA_DIR"):
            wait_for_locks([store], 0)
        assert quarantine_damaged([store]) == []
    assert store.exists()


def test_a_store_that_was_never_made_in_full_is_not_set_aside(tmp_path: Path) -> None:
    folder = tmp_path / "new.db"
    folder.mkdir()
    assert quarantine_damaged([folder]) == []
    (folder / "rocksdict-config.json").touch()
    assert quarantine_damaged([folder]) == []
    assert folder.exists()


def test_a_store_with_rows_and_no_current_is_set_aside(store: Path) -> None:
    damage.remove_current(store)
    (aside,) = quarantine_damaged([store])
    assert damage.sst_files(aside)


def test_a_folder_that_cannot_be_written_is_told_at_start(tmp_path: Path) -> None:
    with disk_of(tmp_path / "disk", 2**20) as disk:
        folder = disk.path / "data"
        check_data_dir(folder)
        disk.fill()
        with pytest.raises(LocalStateError, match=r"no room in .*No space left on device"):
            check_data_dir(folder)
        disk.make_room()
        disk.read_only(True)
        with pytest.raises(ConfigurationError, match=r"is not writable \(Read-only file system\)"):
            check_data_dir(folder)
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="is not writable"):
        check_data_dir(tmp_path / "file")


# ------------------------------------------------------------------ Faust's tables


def app_in(folder: Path) -> TocsinApp:
    return make_app(load_settings(data_dir=folder, brokers="127.0.0.1:1"))


def rows_of(app: TocsinApp, number: int = 20_000) -> tuple[Any, TP, Path]:
    """A table, its changelog and the closed folder of its first partition, which has rows in files."""
    table = app.tables["partial-counts"]
    table.data._db_for_partition(0)
    TablePartition(table, 0).apply([(b"k%05d" % n, b"v" * 100) for n in range(number)], range(number))
    table.data._dbs[0].flush()
    table.data._dbs.pop(0).close()
    return table, TP(table.changelog_topic.get_topic_name(), 0), Path(table.data.partition_path(0))


async def test_tables_use_the_checked_store(tmp_path: Path) -> None:
    app = app_in(tmp_path)
    table, tp, folder = rows_of(app)
    assert isinstance(table.data, CheckedStore)
    assert store_folders(app) == [folder]
    assert table.persisted_offset(tp) == 19_999


@pytest.mark.parametrize(("bounded", "most"), [(True, 2**18), (False, 2**20)])
async def test_what_rocksdb_writes_about_itself_is_bounded(tmp_path: Path, bounded: bool, most: int) -> None:
    """The control has Faust's own options: there it grows by 8 kB with each flush."""
    store = rows_of(app_in(tmp_path), 10)[0].data
    if not bounded:
        store.rocksdb_options = RocksDBOptions(write_buffer_size=2**18)
    database = store._db_for_partition(0)
    for number in range(150):
        database[b"k%d" % (number % 7)] = b"v" * 500
        database.flush()
    folder = Path(store.partition_path(0))
    own = sum(path.stat().st_size for path in folder.iterdir() if path.name.startswith(("LOG", "MANIFEST")))
    database.close()
    assert (own < most) is bounded


async def test_a_table_that_cannot_be_opened_is_set_aside_and_begun_anew(tmp_path: Path) -> None:
    table, tp, folder = rows_of(app_in(tmp_path))
    damage.remove_manifests(folder)
    assert await table.data._try_open_db_for_partition(0) is not None
    assert table.persisted_offset(tp) is None
    assert list(folder.parent.glob(f"{folder.name}.damaged-*"))


async def test_a_table_whose_offset_cannot_be_read_is_set_aside_and_begun_anew(tmp_path: Path) -> None:
    """Every block of the file is bad, so that the first look at a row meets one."""
    table, tp, folder = rows_of(app_in(tmp_path))
    for file in damage.sst_files(folder):
        for part in range(300):
            damage.flip_byte(file, part / 320)
    await table.data._try_open_db_for_partition(0)
    assert table.persisted_offset(tp) is None
    assert list(folder.parent.glob(f"{folder.name}.damaged-*"))
    assert list(TablePartition(table, 0).scan(b"k", b"l")) == []


async def test_reading_a_whole_table_through_faust_is_checked_too(tmp_path: Path) -> None:
    table, _, folder = rows_of(app_in(tmp_path))
    damage.flip_byte(damage.sst_files(folder)[0])
    database = await table.data._try_open_db_for_partition(0)
    for read in (table.data._visible_keys, table.data._visible_items, table.data._visible_values):
        with pytest.raises(Exception, match="Corruption"):
            list(read(database))


async def test_a_table_in_use_is_waited_for_and_not_set_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table, tp, folder = rows_of(app_in(tmp_path))
    with held_by_another_process(folder) as process:
        with pytest.raises(StoreInUseError):
            await table.data._try_open_db_for_partition(0, max_retries=1, retry_delay=0)

        async def sleep(_seconds: float) -> None:
            await asyncio.to_thread(process.kill)
            await asyncio.to_thread(process.wait, 10)

        monkeypatch.setattr(table.data, "sleep", sleep)
        await table.data._try_open_db_for_partition(0, generation_id=table.app.consumer_generation_id)
    assert table.persisted_offset(tp) == 19_999
    assert not list(folder.parent.glob("*.damaged-*"))


async def test_a_full_disk_is_told_and_no_damage(tmp_path: Path) -> None:
    with disk_of(tmp_path / "disk", 3 * 2**20) as disk:
        app = app_in(disk.path)
        table, tp, _ = rows_of(app, 100)
        await table.data._try_open_db_for_partition(0)
        disk.fill()
        rows = [(b"l%05d" % n, b"v" * 500) for n in range(10_000)]
        with pytest.raises(LocalStateError, match="No space left on device"):
            TablePartition(table, 0).apply(rows, range(100, 10_100))
        events = [
            SimpleNamespace(message=SimpleNamespace(tp=tp, offset=n, partition=0, key=key, value=value))
            for n, (key, value) in enumerate(rows, 100)
        ]
        with pytest.raises(LocalStateError, match="No space left on device"):
            table.data.apply_changelog_batch(events, bytes, bytes)
        table.data._dbs.clear()
        disk.make_room()
        assert quarantine_damaged(store_folders(app)) == []
        await table.data._try_open_db_for_partition(0)
        assert table.persisted_offset(tp) == 99
        table.data._dbs.clear()


async def test_the_app_sets_aside_what_crashes_it_wherever_it_was_found(tmp_path: Path) -> None:
    """Faust's own services crash the app past ``fail``."""
    app = app_in(tmp_path)
    table, _, folder = rows_of(app)
    await table.data._try_open_db_for_partition(0)
    app._crash(DamagedStoreError(TablePartition(table, 0), "bad block"))
    assert isinstance(app.health.error, DamagedStoreError)
    assert not folder.exists()
    assert list(folder.parent.glob(f"{folder.name}.damaged-*"))


async def test_the_app_says_once_what_to_do_about_the_disk(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    app = app_in(tmp_path)
    for _ in range(2):
        app._crash(LocalStateError("Make room."))
    assert [record.getMessage() for record in caplog.records if record.levelname == "CRITICAL"] == [
        "Make room."
    ]
