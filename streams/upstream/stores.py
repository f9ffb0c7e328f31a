"""The RocksDB stores of Faust's tables. Uses private parts of Faust, each with a test.

Rows are written by partition, and reach RocksDB only when the changelog has them. Every error is told apart:
damage sets a store aside, to be rebuilt from the changelog; a full disk or a held lock does not.
"""

from __future__ import annotations

import contextlib
import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import rocksdict
from faust.stores import rocksdb
from faust.types import TP

from streams.upstream.store_check import NOTE_KEY, PlacedKeyAndValue, belongs, note_of
from streams.upstream.store_faults import (
    LocalStateError,
    StoreInUseError,
    disk_error,
    quarantine,
    set_aside,
)

log = logging.getLogger(__name__)

#: What each store may take for RocksDB's own log, and for its list of files.
_OWN_LOG_BYTES = 64 * 1024
_OWN_LOGS = 2
_MANIFEST_BYTES = 64 * 1024


class DamagedStoreError(Exception):
    """A local table is damaged and must be rebuilt from its changelog."""

    def __init__(self, partition: TablePartition, reason: object) -> None:
        super().__init__(f"table {partition.name}, partition {partition.partition}: {reason}")
        self.damaged = partition


def store_folders(app: Any) -> list[Path]:
    """The folders of the local tables that there are."""
    stores = [table.data for table in app.tables.values()]
    return [folder for store in stores for folder in sorted(store.path.glob(f"{store.basename}-*.db"))]


class _BoundedOptions(rocksdb.RocksDBOptions):
    """Faust's options, and a bound to what RocksDB writes about itself while it is open.

    By default its log is never cut, and its list of files not below 1 GiB.
    """

    def as_options(self) -> Any:
        """As rocksdict takes them."""
        options = super().as_options()
        options.set_max_log_file_size(_OWN_LOG_BYTES)
        options.set_keep_log_file_num(_OWN_LOGS)
        options.set_max_manifest_file_size(_MANIFEST_BYTES)
        return options


class CheckedStore(rocksdb.Store):
    """Faust's store, which calls damage damage, and sets it aside where nothing was read of it yet.

    Attributes:
        own_keys: of what it keeps beside the rows.
    """

    own_keys = frozenset({rocksdb.Store.offset_key, NOTE_KEY})

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        bounded: Any = _BoundedOptions()
        bounded.__dict__.update(cast("Any", self).rocksdb_options.__dict__)
        self.rocksdb_options = bounded

    def _open_for_partition(self, partition: int) -> Any:
        folder = Path(self.partition_path(partition))
        try:
            return super()._open_for_partition(partition)
        except Exception as error:
            if (refused := disk_error(folder, error)) is not None:
                raise refused from error
            quarantine(folder, error)
            return super()._open_for_partition(partition)

    async def _try_open_db_for_partition(
        self, partition: int, max_retries: int = 30, retry_delay: float = 1.0, generation_id: int = 0
    ) -> Any:
        # Faust takes every error for a lock that has these four letters in it, such as that of a bad block.
        for left in reversed(range(max_retries)):
            try:
                return self._db_for_partition(partition)
            except StoreInUseError as error:
                if not left:
                    raise
                log.warning("%s Trying again.", error)
            if generation_id != self.app.consumer_generation_id:
                return None
            await self.sleep(retry_delay)
        return None

    def persisted_offset(self, tp: TP) -> int | None:
        """The changelog offset that the rows are as of; None, and an empty store, where it cannot be read."""
        copy = TablePartition(self.table, tp.partition)
        try:
            with copy.told_apart():
                return cast("int | None", super().persisted_offset(tp))
        except DamagedStoreError as error:
            copy.quarantine(error)
            return cast("int | None", super().persisted_offset(tp))

    def apply_changelog_batch(self, batch: Iterable[Any], *args: Any, **options: Any) -> None:
        """Write what recovery has read."""
        parts: dict[int, list[Any]] = defaultdict(list)
        for event in batch:
            parts[event.message.partition].append(event)
        for partition, events in parts.items():
            with TablePartition(self.table, partition).told_apart():
                super().apply_changelog_batch(events, *args, **options)
                last = max((event.message for event in events), key=lambda message: message.offset)
                self._db_for_partition(partition).put(NOTE_KEY, note_of(last.offset, last.key, last.value))

    def _visible_items(self, db: Any) -> Iterator[tuple[bytes, bytes]]:
        # Faust's own ends early at a damaged block, and says nothing.
        rows = db.iter()
        rows.seek_to_first()
        while rows.valid():
            if (key := rows.key()) not in self.own_keys:
                yield key, rows.value()
            rows.next()
        rows.status()

    def _visible_keys(self, db: Any) -> Iterator[bytes]:
        return (key for key, _ in self._visible_items(db))


class TablePartition:
    """The local RocksDB copy of one partition of a Faust table."""

    def __init__(self, table: Any, partition: int) -> None:
        self._table = table
        self.name: str = table.name
        self.partition = partition
        self._changelog = TP(table.changelog_topic.get_topic_name(), partition)

    def _db(self) -> Any:
        # Not _db_for_partition: it would open the folder again after the partition was revoked.
        try:
            return self._table.data._dbs[self.partition]
        except KeyError:
            raise PartitionGoneError(f"partition {self.partition} is not assigned") from None

    def scan(self, start: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Keys and values with ``start <= key < end``, in order.

        Raises:
            DamagedStoreError: RocksDB found damage; without this check it would just end early.
            PartitionGoneError: the partition is no longer ours.
        """
        rows = self._db().iter()
        rows.seek(start)
        while rows.valid():
            key = rows.key()
            if key >= end:
                return
            yield key, rows.value()
            rows.next()
        with self.told_apart():
            rows.status()

    def quarantine(self, reason: object) -> Path:
        """Move the local copy out of the way, because it is damaged.

        The worker must end after this, but for recovery, which has read nothing of the copy yet.
        """
        store = self._table.data
        db = store._dbs.pop(self.partition, None)
        if db is not None:
            with contextlib.suppress(Exception):
                db.close()
        return quarantine(Path(store.partition_path(self.partition)), reason)

    @contextlib.contextmanager
    def told_apart(self) -> Iterator[None]:
        """Raise an error of RocksDB as what it means; every read and write of a store is done in this block.

        Raises:
            DamagedStoreError: the store is damaged.
            LocalStateError: the disk refuses.
        """
        try:
            yield
        except (DamagedStoreError, LocalStateError, PartitionGoneError):
            raise
        except Exception as error:
            refused = disk_error(Path(self._table.data.partition_path(self.partition)), error)
            raise (DamagedStoreError(self, error) if refused is None else refused) from error

    def offset(self) -> int | None:
        """The changelog offset that the rows are as of; None for a store that has none, or is not open.

        Raises:
            DamagedStoreError: RocksDB found damage.
            LocalStateError: the disk refuses.
        """
        db = self._table.data._dbs.get(self.partition)
        with self.told_apart():
            offset = None if db is None else db.get(self._table.data.offset_key)
            return None if offset is None else int(offset)

    def rows(self) -> Iterator[tuple[bytes, bytes]]:
        """All rows.

        Raises:
            DamagedStoreError: RocksDB found damage.
            PartitionGoneError: the partition is no longer ours.
        """
        return (row for row in self.scan(b"", b"\xff") if row[0] not in CheckedStore.own_keys)

    def holds(self, last: tuple[bytes, bytes | None], changelog_offset: int) -> None:
        """The store holds all that the changelog has, up to the record ``last`` at this offset.

        Raises:
            PartitionGoneError: the partition is no longer ours.
            DamagedStoreError: RocksDB found damage.
            LocalStateError: the disk refuses.
        """
        batch = rocksdict.WriteBatch(raw_mode=True)
        batch.put(self._table.data.offset_key, str(changelog_offset).encode())
        batch.put(NOTE_KEY, note_of(changelog_offset, *last))
        db = self._db()
        with self.told_apart():
            db.write(batch)

    def check(self, found: PlacedKeyAndValue | None) -> None:
        """Set the local copy aside when it is not one of its changelog, so that it is rebuilt from there.

        Args:
            found: the changelog's first record at the offset that the rows are as of, or behind it; None
                where there is none.

        Raises:
            DamagedStoreError: RocksDB found damage.
            LocalStateError: the disk refuses.
        """
        store = self._table.data
        offset = self.offset()
        with self.told_apart():
            if offset is None or belongs(store._dbs[self.partition], offset, found):
                return
        store._dbs.pop(self.partition).close()
        has = "no record" if found is None else "another record"
        set_aside(Path(store.partition_path(self.partition)), self._changelog.topic, offset, has)

    def apply(self, changes: Sequence[tuple[bytes, bytes | None]], changelog_offsets: Sequence[int]) -> None:
        """Write changes that the changelog holds at ``changelog_offsets``.

        Recovery begins behind the offset that is kept with the rows. So that one goes on only when nothing
        lies between: a worker that was paused while another had the partition writes behind rows that it has
        not seen, and would never read them if the partition came back to it.

        Raises:
            PartitionGoneError: the partition is no longer ours.
            DamagedStoreError: RocksDB found damage.
            LocalStateError: the disk refuses.
        """
        db = self._db()
        batch = rocksdict.WriteBatch(raw_mode=True)
        for key, value in changes:
            if value is None:
                batch.delete(key)
            else:
                batch.put(key, value)
        offset_key = self._table.data.offset_key
        with self.told_apart():
            known = int(db.get(offset_key) or -1)
            last = max(changelog_offsets)
            if last - known == len(changelog_offsets) and min(changelog_offsets) == known + 1:
                batch.put(offset_key, str(last).encode())
                batch.put(NOTE_KEY, note_of(last, *changes[changelog_offsets.index(last)]))
            db.write(batch)


class PartitionGoneError(Exception):
    """The partition was revoked from this worker."""
