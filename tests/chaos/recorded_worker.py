"""A worker that records what it does: ``python -m tests.chaos.recorded_worker``.

It is the product's worker with hooks around a few of its methods; the product itself has no switch for this.
The environment says where: ``CHAOS_HISTORY`` (the file), ``CHAOS_NAME`` (of the worker), ``CHAOS_STRIKE`` (a
file that, once it appears, names a place in the worker's life and a signal, which the worker then sends
itself there), ``CHAOS_VARIANT`` (a safeguard to leave out, see ``variants``), ``CHAOS_RETENTION_S`` (how long
rows of 10 s buckets are kept, on disk and in memory, so that a soak sees them go), ``CHAOS_STORE_BYTES``
(bytes of rows in memory, and of blocks that were read, of one partition's store, for the same reason),
``CHAOS_RELAY`` (see ``relay``), ``CHAOS_CLOCK`` (a file that sets its clock wrong, see ``wrong_clock``).
Without ``CHAOS_HISTORY`` nothing is recorded.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, cast

from faust.types import TP

from agents.counting import Counting
from agents.effects import Effects
from agents.ingest import Ingest
from streams.broker.producers.confirmed import ConfirmedProducer
from streams.transport.traffic import Traffic
from streams.upstream.faust_consumer import Consumer
from streams.upstream.faust_consumer_thread import PausingListener
from tables import store_memory, totals
from tables.buckets import FINE, RETENTION_S
from tables.combined_counter import CombinedCounter
from tables.durable_table import DurableTable
from tables.source_counter import SourceCounter
from tests import wrong_clock
from tests.chaos import relay
from tests.chaos.history import History, content_of
from tests.chaos.variants import VARIANTS
from tests.leash import die_with_parent

#: Where a worker may strike itself; in the order in which a record meets them.
PLACES = (
    "assigned",
    "ready",
    "batch",
    "before-rows",
    "after-rows",
    "before-partials",
    "after-partials",
    "before-combined",
    "after-combined",
    "after-public",
    "before-commit",
    "after-commit",
)


class Recorder:
    """Hooks of one worker process."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.history = History(Path(environment["CHAOS_HISTORY"]))
        self.name = environment["CHAOS_NAME"]
        self.worker = f"{self.name}:{os.getpid()}"
        self._strike = environment.get("CHAOS_STRIKE", "")
        self._assignment = 0
        #: Key -> offset that a row is as of, as last confirmed by the brokers.
        self._confirmed: dict[bytes, bytes] = {}
        self._tps: dict[int, tuple[str, int]] = {}

    def write(self, kind: str, **values: Any) -> None:
        """Append a line of this worker."""
        self.history.write(kind, w=self.worker, **values)

    def place(self, name: str) -> None:
        """Strike here, if somebody asked for it."""
        if not self._strike:
            return
        try:
            wanted, with_signal = Path(self._strike).read_text(encoding="ascii").split()
        except (FileNotFoundError, ValueError):
            return
        if wanted == name:
            Path(self._strike).unlink()
            self.write("fault", what=f"{with_signal} at {name}")
            os.kill(os.getpid(), signal.Signals[with_signal])

    # ---------------------------------------------------------------- the hooks

    def install(self) -> None:
        """Put the hooks in place; a method that is no longer there is an error."""
        self.write("start")
        self._hook_traffic()
        self._hook_counting()
        self._hook_sending()
        self._hook_commits()

    def _hook_traffic(self) -> None:
        recorder = self
        handle, on_ready, on_revoked = Ingest.handle, Traffic.on_ready, Traffic.on_revoked
        assigned = PausingListener.on_partitions_assigned

        async def recorded_handle(self: Ingest, batch: Any, counter: SourceCounter) -> None:
            first, last = batch.records[0].offset, batch.records[-1].offset
            again = sum(r.offset <= max(counter.processed, counter.replay_until) for r in batch.records)
            assignment = getattr(counter, "chaos_assignment", 0)
            recorder.place("batch")
            await handle(self, batch, counter)
            recorder.write(
                "batch", t=batch.topic, p=batch.partition, a=first, z=last, again=again, g=assignment
            )

        async def recorded_ready(
            self: Traffic,
            tps: set[TP],
            committed: Mapping[TP, int | None],
            topic_ids: Mapping[str, str],
            epochs: Mapping[TP, int],
        ) -> None:
            await on_ready(self, tps, committed, topic_ids, epochs)
            recorder.place("ready")

        async def recorded_revoked(self: Traffic) -> None:
            await on_revoked(self)
            recorder.write("revoked")

        async def recorded_assigned(self: Any, tps: Any) -> None:
            tps = list(tps)
            recorder.write("assigned", n=len(tps))
            await assigned(self, tps)
            recorder.place("assigned")

        _replace(Ingest, "handle", recorded_handle)
        _replace(Traffic, "on_ready", recorded_ready)
        _replace(Traffic, "on_revoked", recorded_revoked)
        _replace(PausingListener, "on_partitions_assigned", recorded_assigned)

    def _hook_counting(self) -> None:
        recorder = self
        opened, flushed, combined = Counting.open, SourceCounter.flushed, CombinedCounter.flushed

        def recorded_open(
            self: Counting, tps: set[TP], committed: Mapping[TP, int | None], topic_ids: Mapping[str, str]
        ) -> None:
            opened(self, tps, committed, topic_ids)
            recorder._assignment += 1
            recorder._tps = {}
            sources = {}
            for tp, counter in self.sources().items():
                cast(Any, counter).chaos_assignment = recorder._assignment
                recorder._tps[id(counter)] = tp.topic, tp.partition
                sources[counter.source] = [tp.topic, tp.partition]
            for tp in tps - self.sources().keys():
                if (combiner := self.combiner(tp.partition)) is not None:
                    recorder._tps[id(combiner)] = tp.topic, tp.partition
            at = [[tp.topic, tp.partition, committed.get(tp)] for tp in sorted(tps)]
            recorder.write("ready", g=recorder._assignment, at=at, sources=sources)

        def recorded_flushed(self: SourceCounter, flush: Any) -> None:
            recorder._flushed(self, flush, flush.offset)
            flushed(self, flush)

        def recorded_combined(self: CombinedCounter, flush: Any, now_s: float) -> None:
            recorder._flushed(self, flush, flush.processed)
            combined(self, flush, now_s)

        _replace(Counting, "open", recorded_open)
        _replace(SourceCounter, "flushed", recorded_flushed)
        _replace(CombinedCounter, "flushed", recorded_combined)

    def _flushed(self, counter: Any, flush: Any, offset: int) -> None:
        if offset >= 0 and (at := self._tps.get(id(counter))) is not None:
            rows = flush.first + flush.then
            unconfirmed = sum(self._confirmed.get(key) != value[:8] for key, value in rows)
            self.write("flush", t=at[0], p=at[1], o=offset, unconfirmed=unconfirmed)

    def _hook_sending(self) -> None:
        recorder = self
        write, send, ended = DurableTable.write, ConfirmedProducer.send, Effects._ended

        async def recorded_write(self: DurableTable, partition: int, changes: Any) -> None:
            kind = "rows" if "partial" in self.changelog_topic else "combined"
            recorder.place(f"before-{kind}")
            await write(self, partition, changes)
            for key, value in changes:
                if value is None:
                    recorder._confirmed.pop(key, None)
                else:
                    recorder._confirmed[key] = value[:8]
            recorder.write("rows", table=kind, p=partition, n=len(changes))
            recorder.place(f"after-{kind}")

        async def recorded_send(self: ConfirmedProducer, records: Any) -> list[Any]:
            partials = bool(records) and records[0].topic.endswith("-partials")
            public = bool(records) and records[0].key is not None and not partials
            if partials:
                recorder.place("before-partials")
            result = await send(self, records)
            if partials:
                recorder.place("after-partials")
            elif public and not records[0].topic.endswith("-changelog"):
                recorder.place("after-public")
            return result

        def recorded_ended(self: Effects, parcel: Any) -> None:
            for tp, offset, record, _ in parcel:
                recorder.write(
                    "alert",
                    t=tp.topic,
                    p=tp.partition,
                    o=offset,
                    id=_identity(record.headers),
                    h=content_of(record.key, record.value, record.headers),
                )
            ended(self, parcel)

        _replace(DurableTable, "write", recorded_write)
        _replace(ConfirmedProducer, "send", recorded_send)
        _replace(Effects, "_ended", recorded_ended)

    def _hook_commits(self) -> None:
        recorder = self
        commit: Callable[..., Awaitable[bool]] = Consumer._commit

        async def recorded_commit(self: Any, offsets: Mapping[TP, int]) -> bool:
            recorder.place("before-commit")
            # Before it is sent: a worker that dies meanwhile may have committed.
            recorder.write("commit", at=[[tp.topic, tp.partition, offset] for tp, offset in offsets.items()])
            done = await commit(self, offsets)
            recorder.place("after-commit")
            return done

        _replace(Consumer, "_commit", recorded_commit)


def _identity(headers: Any) -> str:
    named = dict(headers)
    return cast(bytes, named.get("ce_id") or named["tocsin-id"]).decode()


def _replace(owner: type, name: str, hook: Any) -> None:
    if not hasattr(owner, name):
        raise AttributeError(f"{owner.__name__} has no {name} any more: change the recorder")
    setattr(owner, name, hook)


def main() -> None:
    """Run the worker."""
    die_with_parent()
    relay.install(os.environ)
    if clock := os.environ.get("CHAOS_CLOCK"):
        wrong_clock.install(Path(clock))
    # The variant first: the hooks then record what it does.
    if variant := os.environ.get("CHAOS_VARIANT"):
        VARIANTS[variant].install()
    if retention := os.environ.get("CHAOS_RETENTION_S"):
        RETENTION_S[FINE] = int(retention)
        vars(totals)["_MARGIN_S"] = 0
    if store_bytes := os.environ.get("CHAOS_STORE_BYTES"):
        store_memory.LEAST_BYTES = int(store_bytes)  # type: ignore[misc]
        store_memory.WRITE_BUFFER_BYTES = store_memory.BLOCK_CACHE_BYTES = 0  # type: ignore[misc]
    if "CHAOS_HISTORY" in os.environ:
        Recorder(os.environ).install()
    from tocsin.cli import main as command

    sys.argv = ["tocsin", "worker"]
    command()


if __name__ == "__main__":
    main()
