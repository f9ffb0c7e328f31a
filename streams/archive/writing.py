"""The order of an archive: lines first, on the disk, and only then the commit of their offsets."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

from aiokafka import TopicPartition

from streams.cancellation import look_at
from streams.log_lines import BOUNDED

log = logging.getLogger(__name__)

#: Seconds between two tries to write.
_AGAIN_S: Final = 1.0
#: Seconds that a cancelled write is waited for: the disk cannot be told to stop.
_HUNG_S: Final = 10.0
#: Bytes of lines that are written at once, if so many come within the time that lines wait at most.
_WRITE_BYTES: Final = 4 * 2**20
_WRITE_S: Final = 1.0
#: Bytes of lines that are held at most; then nothing more is taken.
_MOST_BYTES: Final = 16 * 2**20


class Writer(Protocol):
    """Where lines go, as `ArchiveWriter` is; called in a thread."""

    def append(self, lines: bytes | bytearray) -> None:
        """Write lines; when it returns they are durable.

        Raises:
            OSError: nothing of them counts as written; may be tried again.
        """


@dataclass(frozen=True, slots=True)
class Position:
    """Up to where a partition is archived.

    Attributes:
        offset: of the next record.
        topic_id: of its topic.
        leader_epoch: of the record before; -1 where it is not known.
    """

    offset: int
    topic_id: str = ""
    leader_epoch: int = -1


@dataclass(slots=True)
class Pending:
    """Lines that were not written yet.

    Attributes:
        lines: as they will be written.
        records: how many they are.
        positions: behind the last of each partition.
    """

    lines: bytearray = field(default_factory=bytearray)
    records: int = 0
    positions: dict[TopicPartition, Position] = field(default_factory=dict)


class DurableThenCommit:
    """Takes lines, writes them, and commits their positions once they are durable.

    While the disk takes nothing it waits and tries again; what it has taken stays in memory.

    Args:
        writer: of the files.
        commit: of the positions behind the last durable line of each partition.
        again_s: seconds between two tries to write.
        on_fault: called when `fault` has changed.
    """

    def __init__(
        self,
        writer: Writer,
        commit: Callable[[dict[TopicPartition, Position]], Awaitable[None]],
        *,
        again_s: float = _AGAIN_S,
        on_fault: Callable[[], None] = lambda: None,
    ) -> None:
        self._writer = writer
        self._commit = commit
        self._again_s = again_s
        self._on_fault = on_fault
        self._lock = asyncio.Lock()
        self._much, self._room = asyncio.Event(), asyncio.Event()
        #: Counts what was forgotten: what was taken before is not committed any more.
        self._assignment = 0
        self.pending = Pending()
        #: Bytes that are being written.
        self._writing = 0
        #: Why the disk takes nothing; None while it does.
        self.fault: str | None = None
        #: Records that are durable.
        self.records = 0

    @property
    def held_bytes(self) -> int:
        """Bytes of lines that were taken and are not durable."""
        return len(self.pending.lines) + self._writing

    def take(self, tp: TopicPartition, lines: bytes | bytearray, number: int, after: Position) -> None:
        """Take lines of a partition.

        Args:
            tp: the partition.
            lines: whole ones; none where only the position has changed.
            number: of records in them.
            after: the position behind them.
        """
        self.pending.lines += lines
        self.pending.records += number
        self.pending.positions[tp] = after
        if len(self.pending.lines) >= _WRITE_BYTES:
            self._much.set()

    async def room(self) -> None:
        """Wait until there is room for more lines."""
        while len(self.pending.lines) >= _MOST_BYTES:
            self._room.clear()
            await self._room.wait()

    async def write_on(self) -> None:
        """Write what was taken, each second or when it is much, until it is cancelled."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_WRITE_S):
                    await self._much.wait()
            await self.write()

    async def write(self, wanted: Callable[[], bool] = lambda: True) -> bool:
        """Write what was taken, and commit it.

        Where it is cancelled, what was not written is pending again, and comes first.

        Args:
            wanted: asked after each try that failed, whether to try again.

        Returns:
            Whether it is durable; if not it is pending still.
        """
        async with self._lock:
            batch, self.pending = self.pending, Pending()
            self._much.clear()
            self._room.set()
            assignment, durable, cancelled = self._assignment, not batch.lines, False
            self._writing = len(batch.lines)
            try:
                if not durable:
                    durable, cancelled = await self._append(bytes(batch.lines), wanted)
            finally:
                self._writing = 0
                if not durable and assignment == self._assignment:
                    self._put_back(batch)
            if durable:
                self.records += batch.records
                if batch.positions and assignment == self._assignment:
                    await self._commit(batch.positions)
            if cancelled:
                raise asyncio.CancelledError
            return durable

    async def _append(self, lines: bytes, wanted: Callable[[], bool]) -> tuple[bool, bool]:
        """Write lines until they are durable; whether they are, and whether it was cancelled meanwhile."""
        while True:
            writing = asyncio.ensure_future(asyncio.to_thread(self._writer.append, lines))
            try:
                await asyncio.shield(writing)
            except OSError as error:
                self._fault_is(error.strerror or str(error))
            except asyncio.CancelledError:
                # The thread cannot be stopped, and what it writes shall not be written twice.
                writing.add_done_callback(look_at)
                await asyncio.wait([writing], timeout=_HUNG_S)
                if writing.done() and not writing.cancelled() and writing.exception() is None:
                    return True, True
                raise
            else:
                self._fault_is(None)
                return True, False
            if not wanted():
                return False, False
            await asyncio.sleep(self._again_s)

    def forget(self) -> int:
        """Drop what is pending: it was not committed, so whoever has its partitions reads it again.

        Returns:
            The number of records that were pending.
        """
        number = self.pending.records
        self._assignment += 1
        self.pending = Pending()
        self._room.set()
        return number

    def _put_back(self, batch: Pending) -> None:
        later = self.pending
        self.pending = Pending(
            batch.lines + later.lines, batch.records + later.records, batch.positions | later.positions
        )

    def _fault_is(self, fault: str | None) -> None:
        before, self.fault = self.fault, fault
        if fault is not None and before is None:
            log.error(
                "The archive cannot be written (%s): make room. Nothing is lost, and it goes on by itself.",
                fault,
                extra=BOUNDED,
            )
        elif fault is None and before is not None:
            log.warning("The archive can be written again.", extra=BOUNDED)
        if (fault is None) is not (before is None):
            self._on_fault()
