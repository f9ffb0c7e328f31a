"""The sizes of a table's local copies."""

from __future__ import annotations

from typing import Any

from streams.settings import load_settings
from streams.upstream.store_sizes import StoreSize, store_size
from streams.upstream.stores import TablePartition
from tocsin.app import make_app


async def test_rows_count_in_memory_and_then_in_files(tmp_path: Any) -> None:
    app = make_app(load_settings(data_dir=str(tmp_path), partitions=2))
    table = app.tables["partial-counts"]
    assert store_size(table) == StoreSize(0, 0, 0, 0)
    for partition in (0, 1):
        table.data._db_for_partition(partition)
        rows = [(b"k%04d" % number, b"v" * 100) for number in range(1000)]
        TablePartition(table, partition).apply(rows, range(1000))
    size = store_size(table)
    assert (size.partitions, size.file_bytes) == (2, 0)
    assert size.memory_bytes > 2 * 1000 * 100
    assert 2000 <= size.rows <= 2010
    for store in table.data._dbs.values():
        store.flush()
    assert store_size(table).file_bytes > 0
