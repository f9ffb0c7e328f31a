"""How much memory the local copies of the tables may take: the same for any number of partitions. Pure.

Faust's defaults are for one table on a large machine: 2 GiB of cache for each partition of each table. Each
partition is a RocksDB of its own, so what all may take together is shared out among them.
"""

from __future__ import annotations

from typing import Final

#: Bytes of rows that are in no file yet, and of blocks that were read, over all partitions of all tables.
WRITE_BUFFER_BYTES: Final = 16 * 2**20
BLOCK_CACHE_BYTES: Final = 32 * 2**20
#: Below this a store would write files of a few rows.
LEAST_BYTES: Final = 2**18
_TABLES: Final = 2


def store_options(partitions: int) -> dict[str, int]:
    """RocksDB options of one table partition, for Faust's table.

    Args:
        partitions: of each table, as if this worker had all of them.
    """
    stores = _TABLES * partitions
    return {
        "block_cache_size": max(LEAST_BYTES, BLOCK_CACHE_BYTES // stores),
        "write_buffer_size": max(LEAST_BYTES, WRITE_BUFFER_BYTES // stores),
        "max_write_buffer_number": 2,
        "max_open_files": 64,
    }
