"""No zombie: a worker that was paused past its session and wakes up cannot overwrite newer rows.

The same on a whole simulated cluster, with pauses at every step, is in ``test_exact_counts``.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tables.row_bodies import read_coarse
from tables.rows import VersionedRows, bucket_name

NAME = bucket_name("source:0", 10, 1_700_000_000)

#: What arrives in the changelog: (which worker wrote it, the offset that the row is as of).
writes = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 1000)), min_size=1, max_size=30)


class Changelog:
    """A compacted changelog and the store that is recovered from it: the last value of each key."""

    def __init__(self) -> None:
        self.rows: dict[bytes, bytes] = {}

    def scan(self, start: bytes, end: bytes) -> list[tuple[bytes, bytes]]:
        return [(key, self.rows[key]) for key in sorted(self.rows) if start <= key < end]


def recovered(arrivals: list[tuple[int, int]], *, fenced: bool) -> int:
    """The offset of the row that a new owner recovers."""
    log = Changelog()
    for worker, offset in arrivals:
        rows = VersionedRows(log, f"writer{worker}" if fenced else "writer")
        key, value = rows.encode(NAME, offset, {"a": offset})
        log.rows[key] = value
    row = VersionedRows(log, "new").load(NAME, read_coarse)
    assert row is not None
    assert row.body == {"a": row.offset}
    return row.offset


def as_each_worker_counts(arrivals: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The same arrivals, with the rows of each worker as of rising offsets."""
    rising = {w: iter(sorted(offset for other, offset in arrivals if other == w)) for w, _ in arrivals}
    return [(worker, next(rising[worker])) for worker, _ in arrivals]


@given(writes)
def test_no_zombie(arrivals: list[tuple[int, int]]) -> None:
    arrivals = as_each_worker_counts(arrivals)
    assert recovered(arrivals, fenced=True) == max(offset for _, offset in arrivals)


def test_no_zombie_rejects_one_key_for_all_writers() -> None:
    """The control: with one key the paused worker's old row is all that compaction leaves."""
    arrivals = [(0, 10), (1, 20), (0, 15)]
    assert recovered(arrivals, fenced=True) == 20
    assert recovered(arrivals, fenced=False) == 15
