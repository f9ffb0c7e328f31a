"""Rows of the sources, and their records counted once more. Pure."""

from __future__ import annotations

import bisect
import contextlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from tables.buckets import FINE
from tables.replay_rules import RulesSpan
from tables.reserved_types import DEAD_LETTERS
from tables.row_bodies import Counts, counts_in, read_fine
from tables.rows import VersionedRows, bucket_in, bucket_name
from tables.source_lives import SourceLife, life_row, load_life
from tables.source_name import first_life
from tables.verification.budget import Budget
from tables.verification.comparison import Difference, Span, compare
from tables.verification.public_counts import PublicBounds

_ROW_KEY: Final = b"r/"
_BASE_KEY: Final = b"b/"
_OFFSET_BYTES: Final = 8


class _BaseRules(msgspec.Struct):
    """What is read of a base row."""

    rules: list[RulesSpan] | None = None


_read_rules: Final = msgspec.json.Decoder(_BaseRules).decode


@dataclass(slots=True)
class SourceRow:
    """A row of one source and bucket."""

    offset: int
    counts: Counts


class ChangelogRows:
    """The 10 s rows in one partition of the changelog, read in order; deleted ones are gone.

    Args:
        sources: names of the sources that are compared, in their first life.
        known: names of all sources that belong to some topic of today.
        span: which buckets.
        budget: of all that is held.
    """

    def __init__(self, sources: Iterable[str], known: Iterable[str], span: Span, budget: Budget) -> None:
        self._sources = {source.encode() for source in sources}
        self._known = {source.encode() for source in known} | self._sources
        self._span = span
        self._budget = budget
        self._values: dict[bytes, bytes] = {}
        self._sorted: list[bytes] | None = None
        #: Source -> offset that the newest base row is as of, and the settings that it names.
        self._rules: dict[bytes, tuple[int, list[RulesSpan]]] = {}
        #: Sources that no topic of today has.
        self.strange: set[str] = set()
        #: Earlier lives of sources whose log lost its end; what they counted may be in no log.
        self.ended: set[str] = set()
        self._gone: dict[bytes, str] = {}

    @property
    def gone(self) -> set[str]:
        """Sources that have totals, and that no topic of today has."""
        return set(self._gone.values())

    def _apply_base(self, key: bytes, value: bytes | None) -> None:
        source = key.removeprefix(_BASE_KEY).partition(b"@")[0]
        if value is None:
            self._gone.pop(key, None)
        elif first_life(source) not in self._known:
            self._gone[key] = source.decode("utf-8", "backslashreplace")

    def apply(self, key: bytes | None, value: bytes | None) -> None:
        """Take in a record of the changelog; one that is no 10 s row of these buckets may tell settings."""
        if key is not None and key.startswith(_BASE_KEY):
            self._apply_base(key, value)
            if value is not None:
                self._take_rules(key[len(_BASE_KEY) :].partition(b"@")[0], value)
        if key is None:
            return
        if (row := life_row(key)) is not None:
            if row in self._sources:
                self._keep(key, value)
            return
        if not key.startswith(_ROW_KEY):
            return
        try:
            _, source, resolution, _ = key.split(b"/", 3)
            if int(resolution) != FINE or not self._span.holds(bucket_in(key)):
                return
        except ValueError:
            return
        if first_life(source) not in self._sources:
            if first_life(source) not in self._known and value is not None:
                self.strange.add(source.decode("utf-8", "backslashreplace"))
            return
        self._keep(key, value)

    def _keep(self, key: bytes, value: bytes | None) -> None:
        self._sorted = None
        if value is None:
            self._values.pop(key, None)
        else:
            if key not in self._values:
                self._budget.take(1)
            self._values[key] = value

    def _take_rules(self, source: bytes, value: bytes) -> None:
        offset = int.from_bytes(value[:_OFFSET_BYTES], "big", signed=True)
        if first_life(source) not in self._sources or offset < self._rules.get(source, (-2, []))[0]:
            return
        with contextlib.suppress(msgspec.DecodeError):  # a part of a row, or the head of one in parts
            self._rules[source] = offset, _read_rules(value[_OFFSET_BYTES:]).rules or []

    def rules_of(self, source: str) -> list[RulesSpan]:
        """Under which settings a source was counted; empty where that is not known."""
        return self._rules.get(source.encode(), (0, []))[1]

    def scan(self, start: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Keys and values with ``start <= key < end``, in order."""
        if self._sorted is None:
            self._sorted = sorted(self._values)
        for index in range(bisect.bisect_left(self._sorted, start), len(self._sorted)):
            key = self._sorted[index]
            if key >= end:
                return
            yield key, self._values[key]

    def life(self, source: str) -> SourceLife:
        """The present life of a source, by its name in the first; those before have ended."""
        life, _, _ = load_life(source, VersionedRows(self, ""))
        self.ended |= {f"{source}:{name}" if name else source for name in life.earlier}
        return life

    def of(self, source: str) -> dict[int, SourceRow]:
        """Bucket -> the version of its row that holds."""
        rows = VersionedRows(self, "")
        span = self._span
        names = self.scan(bucket_name(source, FINE, span.start_s), bucket_name(source, FINE, span.end_s))
        found = {}
        for bucket in {bucket_in(key) for key, _ in names}:
            loaded = rows.load(bucket_name(source, FINE, bucket), read_fine)
            if loaded is not None:
                found[bucket] = SourceRow(loaded.offset, counts_in(loaded.body))
        return found

    def close(self) -> None:
        """Give the memory back."""
        self._budget.free(len(self._values))
        self._values, self._sorted = {}, None


class SourceRecount:
    """Records of one source, counted once more.

    Args:
        rows: the source's rows.
        committed: offset up to which the group has committed.
        before: records from this offset on were published after the public counts were read.
        span: which buckets.
        bounds: of the public counts of the priority, taken further.
        budget: of all that is held.
    """

    def __init__(
        self,
        rows: Mapping[int, SourceRow],
        committed: int,
        before: int,
        span: Span,
        bounds: PublicBounds,
        budget: Budget,
    ) -> None:
        self.rows = rows
        self._committed = committed
        self._before = before
        self._span = span
        self._bounds = bounds
        self._budget = budget
        self._expected: dict[int, Counts] = {}
        self._cuts = sorted({committed, before, *(row.offset + 1 for row in rows.values())})

    def not_whole(self) -> None:
        """Records of this source are not counted again: older ones, or those that retention has deleted."""
        self._bounds.whole = False

    @property
    def end(self) -> int:
        """Records from this offset on say nothing about rows or public counts."""
        return self._cuts[-1]

    def cut(self, offset: int) -> int:
        """The next offset after ``offset`` that records must not be counted together across."""
        index = bisect.bisect_right(self._cuts, offset)
        return self._cuts[index] if index < len(self._cuts) else offset + 1_000_000_000

    def add(self, counts: Mapping[int, Counts], last: int) -> None:
        """Take in the counts, by bucket, of records that no cut divides, up to offset ``last``."""
        committed, published = last < self._committed, last < self._before
        for bucket, found in counts.items():
            if published:
                self._budget.take(self._bounds.add_totals(found, committed=committed))
            if not self._span.holds(bucket):
                continue
            row = self.rows.get(bucket)
            if committed or (row is not None and last <= row.offset):
                expected = self._expected.setdefault(bucket, {})
                before = len(expected)
                for event_type, number in found.items():
                    expected[event_type] = expected.get(event_type, 0) + number
                self._budget.take(len(expected) - before)
            if published:
                bounds = self._bounds.by_bucket.setdefault(bucket, {})
                before = len(bounds)
                for event_type, number in found.items():
                    pair = bounds.setdefault(event_type, [0, 0])
                    pair[0] += number if committed else 0
                    pair[1] += number
                self._budget.take(len(bounds) - before)

    def differences(
        self, priority: str, where: str, *, kept_from_s: float, covered_from_s: float
    ) -> Iterator[Difference]:
        """How the rows differ from the records.

        Args:
            priority: of the topic.
            where: topic and partition.
            kept_from_s: buckets that start earlier are left out, for their rows may have expired.
            covered_from_s: buckets that start earlier may have lost records to retention, so that there
                only too low a count is a difference.
        """
        for bucket in sorted(self._expected.keys() | self.rows.keys()):
            if bucket < kept_from_s:
                continue
            row = self.rows.get(bucket)
            expected = self._expected.get(bucket, {})
            yield from compare(
                priority,
                where,
                bucket,
                {event_type: (number, number) for event_type, number in expected.items()},
                row.counts if row is not None else {},
                covered=bucket >= covered_from_s,
            )

    @property
    def buckets(self) -> int:
        """How many buckets were compared."""
        return len(self._expected.keys() | self.rows.keys())

    @property
    def records(self) -> int:
        """How many records the rows should count."""
        return sum(sum(counts.values()) for counts in self._expected.values())

    @property
    def dead_letters(self) -> int:
        """How many of these cannot be read."""
        return sum(counts.get(DEAD_LETTERS, 0) for counts in self._expected.values())

    def close(self) -> None:
        """Give the memory back."""
        self._budget.free(sum(map(len, self._expected.values())))
        self._expected = {}
