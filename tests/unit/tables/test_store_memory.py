"""The memory of the local tables is bounded whatever the number of partitions."""

from __future__ import annotations

import pytest

from tables.store_memory import BLOCK_CACHE_BYTES, LEAST_BYTES, WRITE_BUFFER_BYTES, store_options


@pytest.mark.parametrize("partitions", [1, 4, 8, 32])
def test_all_partitions_together_take_no_more_than_the_bound(partitions: int) -> None:
    options = store_options(partitions)
    assert 2 * partitions * options["write_buffer_size"] <= WRITE_BUFFER_BYTES
    assert 2 * partitions * options["block_cache_size"] <= BLOCK_CACHE_BYTES


def test_very_many_partitions_still_have_some() -> None:
    assert store_options(1000)["write_buffer_size"] == LEAST_BYTES
