"""One fixed life of a source and a combiner, and every byte that they write in it.

What it wrote when it was recorded is in ``recorded_bytes.json``: rows of the two tables, messages of the
partials topic and rows of the public topic. Workers of two releases share them, so they must not change.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

from tables.buckets import HOUR
from tables.combined_counter import CombinedCounter
from tables.partials import cut, decode, encode, make_slicer
from tables.public_rows import encode_key, encode_value
from tables.rows import Change, VersionedRows
from tables.source_counter import SourceCounter
from tests.property.counting_model import Store

RECORDED = Path(__file__).with_name("recorded_bytes.json")
LATENESS_S = 3600
SOURCE = "topic-id:3"
START_S = 1_700_000_000 - 1_700_000_000 % HOUR

#: Where bytes went, their key, and their value.
Written = tuple[str, bytes | None, bytes | None]

#: Event type, seconds after the start; names that JSON must escape are among them.
FIRST = [("a.b", 0), ('quo"te\\', 0), ("größe.\u2028end", 12), ("(probes)", 12), ("beyond.the.cap", 15)]
AGAIN = [("a.b", 15), ("beyond.the.cap", 75), ("a.b", 80)]
LATER = [("a.b", 4000), ("a.b", 90), ("a.b", 30_000)]


class Life:
    """A source and the combiner of its only slice; ``written`` is what they wrote so far."""

    def __init__(self) -> None:
        self.written: list[Written] = []
        self.partial_counts = Store()
        self.combined_counts = Store()
        self.writers = 0
        self.messages = 0
        self.combiner = CombinedCounter(VersionedRows(self.combined_counts, "c"), lateness_s=LATENESS_S)

    def source(self, committed: int) -> SourceCounter:
        """A new holder of the source."""
        self.writers += 1
        rows = VersionedRows(self.partial_counts, f"w{self.writers}")
        counter = SourceCounter(SOURCE, rows, max_event_types=3, lateness_s=LATENESS_S)
        counter.processed = committed - 1
        return counter

    def count(self, counter: SourceCounter, first: int, records: list[tuple[str, int]]) -> None:
        """Count records from offset ``first`` on."""
        for offset, (event_type, second) in enumerate(records, start=first):
            time_ms = (START_S + second) * 1000 + 250
            counter.add(offset, event_type, START_S + second - second % 10, time_ms)
            counter.watermark_ms = max(counter.watermark_ms, time_ms)

    def flush(self, counter: SourceCounter, now_s: float, stop_before: str = "") -> None:
        """Flush the source, then the combiner; ``stop_before`` a step to die there."""
        flush = counter.flush(now_s)
        if flush is None:
            return
        self._write("partial-counts", self.partial_counts, [*flush.first, *flush.then])
        if stop_before == "sending":
            return
        for part in cut("INFO", SOURCE, flush.emission, make_slicer(1)).values():
            for message in encode([part]):
                self.written.append(("partials", None, message))
                self.combiner.reach(int(now_s * 1000))
                for p in decode(message):
                    self.combiner.merge(self.messages, p.priority, p.source, p.buckets, p.totals, now_s)
                self.messages += 1
        counter.flushed(flush)
        self._write("partial-counts", self.partial_counts, flush.cleanup)
        self._combine(now_s)

    def _combine(self, now_s: float) -> None:
        flush = self.combiner.flush(now_s)
        if flush is None:
            return
        self._write("combined-counts", self.combined_counts, [*flush.first, *flush.then])
        for row in flush.public:
            key = encode_key(row.priority, row.resolution_s, row.bucket, 0)
            self.written.append(("event-counts", key, encode_value(row, int(now_s * 1000))))
        for priority, resolution, bucket, part in flush.expired_public:
            self.written.append(("event-counts", encode_key(priority, resolution, bucket, 0, part), None))
        self.combiner.flushed(flush, now_s)
        self._write("combined-counts", self.combined_counts, flush.cleanup)

    def _write(self, table: str, store: Store, changes: list[Change]) -> None:
        for key, value in changes:
            self.written.append((table, key, value))
        if changes:
            store.apply(changes, range(store.position, store.position + len(changes)))


def live() -> Life:
    """Count, die between writing and sending, count some again, close buckets, let them expire."""
    life = Life()
    counter = life.source(0)
    life.count(counter, 0, FIRST)
    life.flush(counter, START_S + 20.0)
    life.count(counter, 5, AGAIN)
    life.flush(counter, START_S + 85.0, stop_before="sending")
    counter = life.source(5)
    life.count(counter, 5, AGAIN[:1])
    life.flush(counter, START_S + 90.0)
    life.count(counter, 6, AGAIN[1:])
    life.flush(counter, START_S + 200.0)
    for number, second in enumerate((300, 9000, 9100, 9200)):
        life.count(counter, 8 + number, LATER[number : number + 1])
        life.flush(counter, START_S + float(second))
    for second in range(31_000, 31_600, 61):
        life.flush(counter, START_S + float(second))
    return life


def recorded() -> list[Written]:
    """What was recorded."""
    return [tuple(map(_bytes, entry)) for entry in json.loads(RECORDED.read_text("ascii"))]  # type: ignore[misc]


def _bytes(text: Any) -> Any:
    return base64.b64decode(text[4:]) if isinstance(text, str) and text.startswith("b64:") else text


def _text(value: Any) -> Any:
    return "b64:" + base64.b64encode(value).decode() if isinstance(value, bytes) else value


def record() -> None:
    """Record anew. Only for a change of the bytes that workers of the last release can read."""
    lines = ",\n".join(json.dumps([_text(each) for each in entry]) for entry in live().written)
    RECORDED.write_text(f"[\n{lines}\n]\n", encoding="ascii")
