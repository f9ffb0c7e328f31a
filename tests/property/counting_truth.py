"""What must come out of counting, and checks that compare it with what did; each names what is wrong.

The truth is computed from the input alone, record by record, and knows nothing of flushes or workers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from tables.buckets import FINE, HOUR, MINUTE, RESOLUTIONS, parent, retention_s
from tables.combined_counter import CombinedCounter
from tables.partials import Partial
from tables.reserved_types import OVERFLOW, PROBES, RESERVED
from tables.row_bodies import counts_in, read_coarse, read_fine
from tables.rows import VersionedRows, bucket_name
from tables.source_counter import SourceCounter
from tables.totals import Totals

LATENESS_S = 3600
PRIORITY = "INFO"
NO_CAP = 10_000


@dataclass(frozen=True, slots=True)
class Record:
    """A notification as ingest counts it; times in seconds."""

    event_type: str
    bucket: int
    broker_s: int


@dataclass(frozen=True, slots=True)
class Cap:
    """Limits of what is counted by name: event types, their bytes in the totals, and those of guests.

    ``forget_s`` is how long one may be unseen before it loses its place, 0 for any time.
    """

    types: int
    type_bytes: int = 10**9
    guest_bytes: int = 10**9
    forget_s: int = 0

    @property
    def options(self) -> dict[str, int]:
        """Of a ``SourceCounter``."""
        return {
            "max_event_types": self.types,
            "max_type_bytes": self.type_bytes,
            "max_guest_bytes": self.guest_bytes,
            "forget_s": self.forget_s,
        }


def size_of(event_type: str) -> int:
    """Bytes that an event type takes: those of its name in quotes, and 64."""
    escaped = event_type.replace("\\", "\\\\").replace('"', '\\"')
    return 0 if event_type in (OVERFLOW, PROBES) else len(escaped.encode()) + 2 + 64


#: Offset and record, in order.
Input = Sequence[tuple[int, Record]]


@dataclass(slots=True)
class Truth:
    """Counts that must come out; where records came too late to be kept, only bounds."""

    totals: Counter[str] = field(default_factory=Counter)
    #: (resolution, bucket) -> event type -> count
    rows: dict[tuple[int, int], Counter[str]] = field(default_factory=dict)
    #: (resolution, bucket) -> at least so many, for buckets that late records hit
    late: dict[tuple[int, int], int] = field(default_factory=dict)
    #: Records of event types that lost their places, counted by name until then.
    forgotten: Counter[str] = field(default_factory=Counter)
    #: How often one did.
    times: int = 0


def truth_of(records: Input, cap: Cap, before: float = float("inf")) -> Truth:
    """Every record below offset ``before`` counted once, in order."""
    truth = Truth()
    watermark_s = 0
    late: set[int] = set()
    in_time: Counter[tuple[int, int]] = Counter()
    last_s: dict[str, int] = {}
    hour = 0
    guests_of: dict[int, set[str]] = {}
    for offset, record in records:
        if offset >= before:
            break
        totals = truth.totals
        if cap.forget_s and record.broker_s // 3600 > hour:
            hour = record.broker_s // 3600
            used = sum(map(size_of, totals))
            if len(totals) * 10 >= cap.types * 9 or used * 10 >= cap.type_bytes * 9:
                old = [t for t in totals if t not in RESERVED and last_s[t] < hour * 3600 - cap.forget_s]
                truth.times += bool(old)
                for each in old:
                    truth.forgotten[each] += totals.pop(each)
        totals[_named(record.event_type, totals, cap.types, sum(map(size_of, totals)), cap.type_bytes)] += 1
        if record.event_type in totals:
            last_s[record.event_type] = max(record.bucket, last_s.get(record.event_type, 0))
        row = truth.rows.setdefault((FINE, record.bucket), Counter())
        guests = guests_of.setdefault(record.bucket, set())
        used = 0 if record.event_type in totals else sum(map(size_of, guests))
        most = cap.type_bytes if record.event_type in totals else cap.guest_bytes
        if _named(record.event_type, row, cap.types, used, most) != OVERFLOW:
            guests |= {record.event_type} - totals.keys() - row.keys()
        row[_named(record.event_type, row, cap.types, used, most)] += 1
        if record.bucket < watermark_s - retention_s(FINE, LATENESS_S):
            late.add(record.bucket)
        else:
            in_time.update((r, parent(record.bucket, r)) for r in RESOLUTIONS)
        watermark_s = max(watermark_s, record.broker_s)
    for (_, bucket), counts in list(truth.rows.items()):
        for resolution in (MINUTE, HOUR):
            truth.rows.setdefault((resolution, parent(bucket, resolution)), Counter()).update(counts)
    truth.late = {(r, parent(b, r)): in_time[r, parent(b, r)] for b in late for r in RESOLUTIONS}
    return truth


def _named(event_type: str, known: Counter[str], most: int, used_bytes: int, most_bytes: int) -> str:
    if event_type in known or event_type == PROBES:
        return event_type
    named = len(known.keys() - {PROBES, OVERFLOW})
    return event_type if named < most and used_bytes + size_of(event_type) <= most_bytes else OVERFLOW


def sum_of(truths: Sequence[Truth]) -> Truth:
    """The truth of several sources together."""
    combined = Truth()
    late = {name for truth in truths for name in truth.late}
    for truth in truths:
        combined.totals.update(truth.totals)
        for name, counts in truth.rows.items():
            combined.rows.setdefault(name, Counter()).update(counts)
            if name in late:
                combined.late[name] = combined.late.get(name, 0) + truth.late.get(name, counts.total())
    return combined


def check_source(source: str, rows: VersionedRows, records: Input, now_s: float, cap: Cap) -> Iterator[str]:
    """Totals and rows of one source, as a fresh counter finds them."""
    truth = truth_of(records, cap)
    counter = SourceCounter(source, rows, lateness_s=LATENESS_S, **cap.options)
    yield from _differ(f"{source}: totals", counter.totals.counts, truth.totals)
    newest_s = min(now_s, max((record.broker_s for _, record in records), default=0))
    for (resolution, bucket), counts in truth.rows.items():
        if bucket >= newest_s - retention_s(resolution, LATENESS_S):
            found = _source_row(rows, source, resolution, bucket)
            late = truth.late.get((resolution, bucket))
            yield from _differ(f"{source}: {resolution} s at {bucket}", found, counts, late)


def _source_row(rows: VersionedRows, source: str, resolution: int, bucket: int) -> dict[str, int]:
    name = bucket_name(source, resolution, bucket)
    if resolution == FINE:
        loaded = rows.load(name, read_fine)
        return {} if loaded is None else counts_in(loaded.body)
    counts: Counter[str] = Counter()
    for version in rows.versions(name, read_coarse):
        counts |= Counter(version.body)  # the larger of both
    return counts


def check_combined(slices: Sequence[CombinedCounter], truth: Truth, now_s: float) -> Iterator[str]:
    """Totals and rows of all slices together."""
    totals = {
        event_type: sum(each.total for each in by_source.values())
        for slice_ in slices
        for event_type, by_source in slice_.totals.get(PRIORITY, {}).items()
    }
    yield from _differ("combined: totals", totals, truth.totals)
    for (resolution, bucket), counts in truth.rows.items():
        if bucket >= now_s - retention_s(resolution, LATENESS_S):
            found: dict[str, int] = {}
            for each in slices:
                row = each._row(PRIORITY, resolution, bucket)
                found |= {t: sum(by_source.values()) for t, by_source in row.counts.items()}
            late = truth.late.get((resolution, bucket))
            yield from _differ(f"combined: {resolution} s at {bucket}", found, counts, late)


def check_public(who: str, reader: Totals, truth: Truth, now_s: float) -> Iterator[str]:
    """What a reader of the public topic answers."""
    found = {count.event_type: count.count for some in reader.since_ever_in_steps(PRIORITY) for count in some}
    yield from _differ(f"{who}: totals", found, truth.totals)
    for (resolution, bucket), counts in truth.rows.items():
        if bucket >= now_s - retention_s(resolution, LATENESS_S):
            row = {
                event_type: count
                for event_type in counts
                for _, count in reader.series(event_type, PRIORITY, resolution, bucket, bucket + 1)
            }
            late = truth.late.get((resolution, bucket))
            yield from _differ(f"{who}: {resolution} s at {bucket}", row, counts, late)


def _differ(
    what: str, found: Mapping[str, int], truth: Counter[str], at_least: int | None = None
) -> Iterator[str]:
    if at_least is not None:
        if not at_least <= sum(found.values()) <= truth.total():
            yield f"{what}: {found} is not {at_least} to {truth.total()}"
    elif found != truth:
        yield f"{what}: {found} is not {dict(truth)}"


def check_source_commit(
    source: str, rows: VersionedRows, sent: Iterable[Partial], records: Input, committed: int, cap: Cap
) -> Iterator[str]:
    """No record below the committed offset is missing in durable rows, or in what was sent on."""
    durable = SourceCounter(source, rows, lateness_s=LATENESS_S, **cap.options).totals.counts
    known: Counter[str] = Counter()
    for part in sent:
        if part.source == source:
            known |= Counter({event_type: each.total for event_type, each in part.totals.items()})
    for event_type, count in truth_of(records, cap, committed).totals.items():
        if durable.get(event_type, 0) < count:
            yield f"{source}, committed {committed}: {event_type} is not in durable rows"
        if known[event_type] < count:
            yield f"{source}, committed {committed}: {event_type} was not sent on"


def check_slice_commit(rows: VersionedRows, taken_in: Iterable[Partial], committed: int) -> Iterator[str]:
    """No message below the committed offset is missing in durable totals."""
    durable = CombinedCounter(rows, lateness_s=LATENESS_S).totals.get(PRIORITY, {})
    for part in taken_in:
        for event_type, sent in part.totals.items():
            held = durable.get(event_type, {}).get(part.source)
            if held is None or held.total < sent.total:
                yield f"slice, committed {committed}: {event_type} of {part.source} is not in durable rows"
