"""No silent loss: every record of a batch ends in a count, or in dead letters and their count."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.ingest import Ingest
from streams.notifications import Priority, Rejection
from streams.outgoing import Outgoing
from streams.settings import load_settings
from streams.transport.batch import RecordBatch
from tables.reserved_types import DEAD_LETTERS, OVERFLOW
from tables.rows import VersionedRows
from tables.source_counter import SourceCounter

SETTINGS = load_settings(brokers="127.0.0.1:1")
NOW_MS = 1_700_000_000_000

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
).map(orjson.dumps)
names = st.sampled_from(["a.b", "c", DEAD_LETTERS, OVERFLOW, "x" * 300, "", "tab\there"])
notifications = st.fixed_dictionaries(
    {"event_type": names},
    optional={"priority": st.text(), "timestamp": st.text() | st.integers(-(2**63), 2**64 - 1)},
).map(orjson.dumps)
values = st.lists(st.none() | st.binary(max_size=40) | json_values | notifications, min_size=1, max_size=40)


class Nothing:
    def scan(self, _start: bytes, _end: bytes) -> list[tuple[bytes, bytes]]:
        return []


class Sent:
    """Takes what ingest sends, by the offset that it belongs to."""

    def __init__(self) -> None:
        self.records: dict[str, set[int]] = {}

    def of(self, _: Any) -> Sent:
        return self

    def send_now(self, _tp: Any, offset: int, record: Outgoing, _smaller: Any, *_: Any) -> bool:
        return False if offset % 2 else self._take(offset, record)

    async def send(self, _tp: Any, offset: int, record: Outgoing, _smaller: Any, *_: Any) -> None:
        self._take(offset, record)

    async def send_all(self, _tp: Any, offsets: Any, records: Any, _smaller: Any, *_: Any) -> None:
        for offset, record in zip(offsets, records, strict=True):
            self._take(offset, record)

    def _take(self, offset: int, record: Outgoing) -> bool:
        self.records.setdefault(record.topic, set()).add(offset)
        return True


class Forgetful(Ingest):
    """A broken variant: what cannot be read is just skipped."""

    async def _reject(
        self, reading: Any, why: Rejection, record: Any, batch: RecordBatch, counter: SourceCounter
    ) -> None:
        counter.add(record.offset, DEAD_LETTERS, 0, 0)


class Silent(Ingest):
    """A broken variant: what cannot be read is kept, and nobody hears of it."""

    def _unreadable_of(self, *_: Any) -> Any:
        return SimpleNamespace(alert=lambda *_: Outgoing("nowhere", b"", None, None, []))


def losses(ingest_type: type[Ingest], batch: list[bytes | None]) -> set[int]:
    """Offsets that are not forwarded, or neither counted by name nor dead-lettered and counted as that."""
    sent = Sent()
    ingest = ingest_type(SETTINGS, sent)  # type: ignore[arg-type]
    counter = SourceCounter("s:0", VersionedRows(Nothing(), "w"), max_event_types=10_000, lateness_s=3600)
    records = [
        SimpleNamespace(
            topic="notifications.error",
            partition=0,
            offset=offset,
            value=value,
            timestamp=NOW_MS,
            timestamp_type=1,
            key=None,
            headers=(),
        )
        for offset, value in enumerate(batch)
    ]
    asyncio.run(ingest.handle(RecordBatch(Priority.ERROR, "notifications.error", 0, records, None), counter))
    dead = sent.records.get(SETTINGS.dead_letter_topic, set())
    forwarded = sent.records.get(SETTINGS.alert_topic("error"), set())
    counter.flush(NOW_MS / 1000)
    total = dict(counter.totals.counts)
    assert sum(total.values()) == len(batch)
    assert OVERFLOW not in total
    if ingest_type is Ingest:
        assert total.get(DEAD_LETTERS, 0) == len(dead)
    return set(range(len(batch))) - forwarded


@given(values)
def test_no_silent_loss(batch: list[bytes | None]) -> None:
    assert losses(Ingest, batch) == set()


def test_no_silent_loss_rejects_an_ingest_that_skips() -> None:
    """The control."""
    assert losses(Forgetful, [b"{", b'{"event_type": "a"}', None]) == {0, 2}


def test_no_silent_loss_rejects_an_ingest_that_does_not_ring() -> None:
    """The control."""
    assert losses(Silent, [b"{", b'{"event_type": "a"}', None]) == {0, 2}


@pytest.mark.parametrize("name", [DEAD_LETTERS, OVERFLOW])
def test_a_publisher_cannot_use_the_reserved_names(name: str) -> None:
    assert losses(Ingest, [orjson.dumps({"event_type": name})]) == set()
