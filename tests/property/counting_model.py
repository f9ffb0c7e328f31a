"""A cluster in memory: changelogs, local stores, partials, public rows, committed offsets, and workers.

Workers die, pause and wake up again. What is under test is the counting core itself, nothing of it replaced.

Every single change is durable on its own and in order, and a worker may stop for good or for a while between
any two of them. A worker that was replaced while it was paused goes on where it stopped, but cannot commit.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from typing import Any

from tables.buckets import HOUR
from tables.combined_counter import CombinedCounter, CombinedFlush
from tables.flushes import Flush
from tables.partials import Partial, cut, cut_forgetting, decode, encode, make_slicer
from tables.public_rows import decode_key, encode_key, encode_row
from tables.rows import LARGEST_BYTES, Change, VersionedRows
from tables.source_counter import SourceCounter
from tables.totals import Totals
from tests.property.counting_truth import (
    LATENESS_S,
    NO_CAP,
    PRIORITY,
    Cap,
    Input,
    Record,
    check_combined,
    check_public,
    check_slice_commit,
    check_source,
    check_source_commit,
    sum_of,
    truth_of,
)

#: A full hour, so that scenarios can say on which side of an hour's edge they are.
START_S = 1_700_000_000 - 1_700_000_000 % HOUR
SLICES = 2
ALL = 10_000


class Log:
    """One partition of a compacted topic."""

    def __init__(self) -> None:
        self.entries: list[tuple[int, bytes, bytes | None]] = []
        self.end = 0

    def append(self, key: bytes, value: bytes | None) -> None:
        self.entries.append((self.end, key, value))
        self.end += 1

    def since(self, position: int) -> list[tuple[bytes, bytes | None]]:
        first = bisect_left(self.entries, position, key=lambda entry: entry[0])
        return [(key, value) for _, key, value in self.entries[first:]]

    def compact(self) -> None:
        """Keep the last value of each key, and no deletions, as a broker does in the end."""
        last = {key: offset for offset, key, _ in self.entries}
        self.entries = [e for e in self.entries if last[e[1]] == e[0] and e[2] is not None]


class Store:
    """A local copy of one partition of a table."""

    def __init__(self) -> None:
        self.rows: dict[bytes, bytes] = {}
        self.position = 0
        self._keys: list[bytes] | None = None

    def scan(self, start: bytes, end: bytes) -> list[tuple[bytes, bytes]]:
        if self._keys is None:
            self._keys = sorted(self.rows)
        found = self._keys[bisect_left(self._keys, start) : bisect_left(self._keys, end)]
        return [(key, self.rows[key]) for key in found]

    def apply(self, changes: Iterable[Change], offsets: Sequence[int]) -> None:
        """Take in changes that the log holds at ``offsets``, as ``TablePartition.apply`` does."""
        self._take(changes)
        self.position = self.reached(offsets)

    def reached(self, offsets: Sequence[int]) -> int:
        """Where to read on: not behind what others appended meanwhile."""
        consecutive = list(offsets) == list(range(self.position, self.position + len(offsets)))
        return offsets[-1] + 1 if consecutive else self.position

    def _take(self, changes: Iterable[Change]) -> None:
        for key, value in changes:
            if value is None:
                self.rows.pop(key, None)
            else:
                self.rows[key] = value
        self._keys = None

    def catch_up(self, log: Log) -> Store:
        self._take(log.since(self.position))
        self.position = log.end
        return self


class Worker:
    """The holder of one source or of one slice."""

    counter: Any

    def __init__(self, cluster: Cluster, log: Log, store: Store, position: int) -> None:
        self.cluster = cluster
        self.log = log
        self.store = store.catch_up(log)
        self.position = position
        self.durable: int | None = None
        self.under_way: Generator[None, None, bool] | None = None
        self.rows = cluster.versioned_rows(store, cluster.next_writer(), largest_bytes=cluster.row_bytes)

    def read(self, count: int = ALL) -> None:
        """Take in the next ``count`` records."""
        raise NotImplementedError

    def flush(self, steps: int = ALL) -> bool:
        """Go on with the flush under way, or plan one, and make so many changes; whether there was one."""
        if self.under_way is None:
            self.under_way = self._flush()
        for _ in range(steps + 1):
            try:
                next(self.under_way)
            except StopIteration as end:
                self.under_way = None
                return bool(end.value)
        return True

    def _flush(self) -> Generator[None, None, bool]:
        """Plan a flush, and stop before each change; return whether there was one."""
        raise NotImplementedError

    def _write(self, changes: Sequence[Change]) -> Iterator[None]:
        offsets = []
        for key, value in changes:
            offsets.append(self.log.end)
            self.log.append(key, value)
            yield
        if changes:
            self.store.apply(changes, offsets)


class SourceWorker(Worker):
    """Reads one source; the flush is in the order of ``agents.counting``."""

    def __init__(self, cluster: Cluster, source: int, store: Store, position: int) -> None:
        super().__init__(cluster, cluster.partial_log, store, position)
        self.source = source
        self.counter: SourceCounter = cluster.source_counter(
            f"s{source}", self.rows, lateness_s=LATENESS_S, **cluster.cap.options
        )
        self.counter.processed = position - 1

    def read(self, count: int = ALL) -> None:
        batch = [entry for entry in self.cluster.inputs[self.source] if entry[0] >= self.position][:count]
        new = [(offset, record) for offset, record in batch if offset > self.counter.processed]
        # As ingest does: at once where that may be done, and one by one otherwise.
        start = 0
        for index, (_, record) in enumerate(new):
            if record.broker_s * 1000 >= self.counter.due_ms:
                self._add(new[start:index])
                self.counter.reach(record.broker_s * 1000)
                start = index
        self._add(new[start:])
        if batch:
            self.position = batch[-1][0] + 1
            self.counter.watermark_ms = max(self.counter.watermark_ms, batch[-1][1].broker_s * 1000)

    def _add(self, new: Sequence[tuple[int, Record]]) -> None:
        if new and (new[0][0] % 3 == 1 or not self._add_run(new)):
            for offset, record in new:
                self.counter.add(offset, record.event_type, record.bucket, record.bucket * 1000)

    def _add_run(self, batch: Sequence[tuple[int, Record]]) -> bool:
        types: dict[int, list[str]] = {}
        seen: dict[str, int] = {}
        for _, record in batch:
            types.setdefault(record.bucket, []).append(record.event_type)
            seen[record.event_type] = max(seen.get(record.event_type, -1), record.bucket * 1000)
        return self.counter.add_run(batch[0][0], batch[-1][0], types, seen)

    def order(self, flush: Flush) -> tuple[list[Change], list[Change]]:
        return flush.first, flush.then

    def _flush(self) -> Generator[None, None, bool]:
        flush = self.counter.flush(self.cluster.now_s)
        if flush is None:
            return False
        yield
        for changes in self.order(flush):
            yield from self._write(changes)
        sent = cut(PRIORITY, self.counter.source, flush.emission, self.cluster.slice_of)
        for partition, part in sent.items():
            for message in encode([part], self.cluster.largest_bytes):
                self.cluster.partials[partition].append(message)
                yield
        forgetting = cut_forgetting(PRIORITY, self.counter.source, flush.emission, self.cluster.slice_of)
        for partition, part in forgetting:
            for message in encode([part], self.cluster.largest_bytes):
                self.cluster.partials[partition].append(message)
                yield
        self.counter.flushed(flush)
        if flush.offset >= 0:
            self.durable = flush.offset + 1
        yield from self._write(flush.cleanup)
        return True


class SliceWorker(Worker):
    """Combines one slice of the event types."""

    def __init__(self, cluster: Cluster, partition: int, store: Store, position: int) -> None:
        super().__init__(cluster, cluster.combined_logs[partition], store, position)
        self.partition = partition
        self.counter: CombinedCounter = cluster.combined_counter(self.rows, lateness_s=LATENESS_S)

    def read(self, count: int = ALL) -> None:
        messages = self.cluster.partials[self.partition]
        for offset in range(self.position, min(len(messages), self.position + count)):
            self.counter.reach(int(self.cluster.now_s * 1000))
            for p in decode(messages[offset]):
                later = {"forgotten": p.forgotten, "gone": p.gone} if p.forgotten else {}
                self.counter.merge(
                    offset, p.priority, p.source, p.buckets, p.totals, self.cluster.now_s, **later
                )
            self.counter.processed = max(self.counter.processed, offset)
            self.position = offset + 1

    def _flush(self) -> Generator[None, None, bool]:
        now_s = self.cluster.now_s
        flush: CombinedFlush | None = self.counter.flush(now_s)
        if flush is None:
            return False
        yield
        yield from self._write(flush.first)
        yield from self._write(flush.then)
        for row in flush.public:
            for key, value in encode_row(row, self.partition, int(now_s * 1000), self.cluster.largest_bytes):
                self.cluster.publish(key, value)
                yield
        for priority, resolution, bucket, part in flush.expired_public:
            self.cluster.publish(encode_key(priority, resolution, bucket, self.partition, part), None)
            yield
        self.counter.flushed(flush, now_s)
        if flush.processed >= 0:
            self.durable = flush.processed + 1
        yield from self._write(flush.cleanup)
        return True


class Cluster:
    """Topics, and one worker for each source and each slice; a role is the number of one of them.

    Args:
        inputs: for each source, its records with their offsets.
        cap: event types per bucket and in the totals, as in the settings.
        rising: whether names of later writers sort behind earlier ones; decides where versions tie.
    """

    source_counter: type[SourceCounter] = SourceCounter
    combined_counter: type[CombinedCounter] = CombinedCounter
    source_worker: type[SourceWorker] = SourceWorker
    slice_worker: type[SliceWorker] = SliceWorker
    versioned_rows: type[VersionedRows] = VersionedRows
    store: type[Store] = Store
    #: Of a record of a table, and of one of a topic of counts.
    row_bytes = LARGEST_BYTES
    largest_bytes = LARGEST_BYTES

    def __init__(self, inputs: Sequence[Input], cap: int | Cap = NO_CAP, *, rising: bool = True) -> None:
        self.inputs = inputs
        self.cap = cap if isinstance(cap, Cap) else Cap(cap)
        self.now_s = float(START_S)
        self.slice_of: Callable[[str], int] = make_slicer(SLICES)
        self.partial_log = Log()
        self.combined_logs = [Log() for _ in range(SLICES)]
        self.partials: list[list[bytes]] = [[] for _ in range(SLICES)]
        self.public = Log()
        self.reader = Totals()
        self.violations: list[str] = []
        self.zombies: list[Worker] = []
        self._zombie_roles: list[int] = []
        #: Keys whose last public row is outdated, until their owner heals them.
        self.outdated: set[bytes] = set()
        #: Keys that were outdated when their owner went: only who reads the topic afresh finds them wrong.
        self.not_healed: set[bytes] = set()
        self._rising = rising
        self._writers = 0
        self._idle_stores: dict[int, list[Store]] = {}
        self.roles = range(len(inputs) + SLICES)
        self.committed = [0 for _ in self.roles]
        self.workers = [self._worker(role, self.store()) for role in self.roles]

    # ---------------------------------------------------------------- what may happen

    def next_writer(self) -> str:
        """A name that no writer had before."""
        self._writers += 1
        return f"{self._writers if self._rising else 999_999 - self._writers:06d}"

    def _worker(self, role: int, store: Store) -> Worker:
        sources = len(self.inputs)
        if role < sources:
            return self.source_worker(self, role, store, self.committed[role])
        return self.slice_worker(self, role - sources, store, self.committed[role])

    def replace(self, role: int, *, paused: bool = False, kept_store: int | None = None) -> None:
        """The holder dies, or is paused past its session; another takes over.

        Args:
            role: source or slice.
            paused: whether it may wake up later.
            kept_store: which of the stores that dead holders left is taken up; None to rebuild.
        """
        old = self.workers[role]
        idle = self._idle_stores.setdefault(role, [])
        if paused:
            self.zombies.append(old)
            self._zombie_roles.append(role)
        else:
            idle.append(old.store)
        self.not_healed |= {key for key in self.outdated if self._owner(key) == role}
        store = self.store() if kept_store is None or not idle else idle.pop(kept_store % len(idle))
        self.workers[role] = self._worker(role, store)

    def wake(self, which: int, read: int = 0, steps: int = ALL) -> None:
        """A paused worker goes on: it ends its flush or begins one; it may have records left to count."""
        if self.zombies:
            zombie = self.zombies[which % len(self.zombies)]
            zombie.read(read)
            zombie.flush(steps)

    def rejoin(self, which: int) -> None:
        """A paused worker learns that it was replaced; its store may be taken up by the next holder."""
        if self.zombies:
            place = which % len(self.zombies)
            role = self._zombie_roles.pop(place)
            self._idle_stores[role].append(self.zombies.pop(place).store)

    def commit(self, role: int) -> None:
        """Commit what the holder says is durable."""
        durable = self.workers[role].durable
        if durable is None or durable <= self.committed[role]:
            return
        self.committed[role] = durable
        sources = len(self.inputs)
        if role < sources:
            rows = VersionedRows(Store().catch_up(self.partial_log), "check")
            sent = (part for messages in self.partials for part in _decoded(messages))
            self.violations += check_source_commit(
                f"s{role}", rows, sent, self.inputs[role], durable, self.cap
            )
        else:
            rows = VersionedRows(Store().catch_up(self.combined_logs[role - sources]), "check")
            taken_in = _decoded(self.partials[role - sources][:durable])
            self.violations += check_slice_commit(rows, taken_in, durable)

    def publish(self, key: bytes, value: bytes | None) -> None:
        """Append a public row; every worker reads it, and its owner heals what is outdated."""
        self.public.append(key, value)
        if self.reader.apply(key, value):
            self.outdated.discard(key)
            self.not_healed.discard(key)
        else:
            self.outdated.add(key)
            name = decode_key(key)
            counter = self.workers[self._owner(key)].counter
            counter.publish_again(name.priority, name.resolution_s, name.bucket)

    def _owner(self, public_key: bytes) -> int:
        return len(self.inputs) + decode_key(public_key).slice

    def compact(self) -> None:
        """Let the broker compact everything."""
        for log in (self.partial_log, *self.combined_logs, self.public):
            log.compact()

    def turn(self, role: int) -> bool:
        """Read what there is, flush, commit; whether anything was flushed."""
        worker = self.workers[role]
        if worker.under_way is not None:
            worker.flush()
        worker.read()
        flushed = worker.flush()
        self.commit(role)
        return flushed

    # ---------------------------------------------------------------- the end

    def drain(self) -> None:
        """Consume everything, and let time pass until all coarse buckets are written."""
        newest = max((record.bucket for each in self.inputs for _, record in each), default=START_S)
        self.now_s = max(self.now_s, newest + HOUR + 300.0)
        idle = 0
        for _ in range(3000):
            # Once nothing is flushed, a minute and a half passes in few steps: what is due comes in them.
            self.now_s += 11 if idle == 0 else 33
            flushed = [self.turn(role) for role in self.roles]
            idle = 0 if any(flushed) else idle + 1
            if idle > 3:
                return
        self.violations.append("the flushes never came to an end")

    def finish(self) -> list[str]:
        """Drain, let the paused wake up, start afresh from the logs alone, drain; return what is wrong."""
        self.drain()
        for which in range(len(self.zombies)):
            self.wake(which)
        self.drain()
        for role in self.roles:
            self.replace(role)
        self.drain()
        for role in self.roles:
            self.replace(role)
        return self.violations + list(self._wrong())

    def _wrong(self) -> Iterator[str]:
        for source, records in enumerate(self.inputs):
            yield from check_source(f"s{source}", self.workers[source].rows, records, self.now_s, self.cap)
        truth = sum_of([truth_of(records, self.cap) for records in self.inputs])
        slices = [worker.counter for worker in self.workers[len(self.inputs) :]]
        yield from check_combined(slices, truth, self.now_s)
        yield from check_public("reader", self.reader, truth, self.now_s)
        if not self.not_healed:
            fresh = Totals()
            self.public.compact()
            for key, value in self.public.since(0):
                fresh.apply(key, value)
            yield from check_public("new reader", fresh, truth, self.now_s)


def _decoded(messages: Iterable[bytes]) -> Iterator[Partial]:
    for message in messages:
        yield from decode(message)
