"""How large the local copies of tables are, as RocksDB says. Uses a private part of Faust, with a test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

_FILES: Final = "rocksdb.total-sst-files-size"
_MEMORY: Final = ("rocksdb.cur-size-all-mem-tables", "rocksdb.block-cache-usage")
_ROWS: Final = "rocksdb.estimate-num-keys"


@dataclass(slots=True, frozen=True)
class StoreSize:
    """All open partitions of one table.

    Attributes:
        partitions: how many.
        file_bytes: of their files.
        memory_bytes: of rows that are in no file yet, and of blocks that were read.
        rows: about how many.
    """

    partitions: int
    file_bytes: int
    memory_bytes: int
    rows: int


def store_size(table: Any) -> StoreSize:
    """The size of a table's local copies on this worker."""
    stores = list(table.data._dbs.values())

    def together(name: str) -> int:
        return sum(store.property_int_value(name) or 0 for store in stores)

    return StoreSize(len(stores), together(_FILES), sum(map(together, _MEMORY)), together(_ROWS))
