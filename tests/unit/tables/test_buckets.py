"""Time buckets: where a time falls, and how buckets of different resolutions fit into each other."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tables.buckets import (
    FINE,
    FUTURE_S,
    HOUR,
    MINUTE,
    RESOLUTIONS,
    RETENTION_S,
    WINDOWS,
    bucket_of,
    children,
    parent,
    retention_s,
)

TIMES = st.integers(-(10**12), 10**14)


@pytest.mark.parametrize(
    ("time_ms", "resolution", "bucket"),
    [
        (0, FINE, 0),
        (9_999, FINE, 0),
        (10_000, FINE, 10),
        (59_999, MINUTE, 0),
        (60_000, MINUTE, 60),
        (3_599_999, HOUR, 0),
        (3_600_000, HOUR, 3600),
        (-1, FINE, -10),
    ],
)
def test_bucket_at_edges(time_ms: int, resolution: int, bucket: int) -> None:
    """A bucket holds its start and not its end."""
    assert bucket_of(time_ms, resolution) == bucket


@given(TIMES, st.sampled_from(RESOLUTIONS))
def test_bucket_holds_its_time(time_ms: int, resolution: int) -> None:
    bucket = bucket_of(time_ms, resolution)
    assert bucket % resolution == 0
    assert bucket * 1000 <= time_ms < (bucket + resolution) * 1000


@given(TIMES, st.sampled_from([MINUTE, HOUR]))
def test_parent_of_a_finer_bucket_is_the_bucket_of_its_time(time_ms: int, resolution: int) -> None:
    finer = RESOLUTIONS[RESOLUTIONS.index(resolution) - 1]
    bucket = bucket_of(time_ms, finer)
    assert parent(bucket, resolution) == bucket_of(time_ms, resolution)
    assert bucket in children(parent(bucket, resolution), resolution)


@pytest.mark.parametrize("resolution", [MINUTE, HOUR])
def test_children_cover_a_bucket_without_overlap(resolution: int) -> None:
    found = children(7200, resolution)
    assert [parent(child, resolution) for child in found] == [7200] * len(found)
    assert found[0] == 7200
    assert found[-1] + found.step == 7200 + resolution


def test_retention_reaches_as_far_as_windows_and_lateness_ask() -> None:
    """A window must find its buckets, also those of records that came as late as they may."""
    for resolution, span in ((FINE, WINDOWS["1h"]), (MINUTE, WINDOWS["24h"]), (HOUR, WINDOWS["30d"])):
        assert RETENTION_S[resolution] >= span + resolution
        assert retention_s(resolution, 1800) == RETENTION_S[resolution] + 1800
    assert RETENTION_S[FINE] >= WINDOWS["1h"] + FUTURE_S
