"""The order of an archive: lines first, on the disk, and only then the commit of their offsets."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

from aiokafka import TopicPartition

log = logging.getLogger(__name__)

#: Seconds between two tries to write.
_AGAIN_S: Final = 1.0


class Writer(Protocol):
    """Where lines go, as `ArchiveWriter` is; called in a thread."""

    def append(self, lines: bytes | bytearray) -> None:
        """Write lines; when it returns they are durable.

        Raises:
            OSError: nothing of them counts as written; may be tried again.
        """


@dataclass(slots=True)
class Pending:
    """Lines that were not written yet.

    Attributes:
        lines: as they will be written.
        records: how many they are.
        offsets: after the last record of each partition.
    """

    lines: bytearray = field(default_factory=bytearray)
    records: int = 0
    offsets: dict[TopicPartition, int] = field(default_factory=dict)


class DurableThenCommit:
    """Takes lines, writes them, and commits their offsets once they are durable.

    While the disk takes nothing it waits and tries again; what it has taken stays in memory.

    Args:
        writer: of the files.
        commit: of offsets after the last durable record of each partition.
        again_s: seconds between two tries to write.
    """

    def __init__(
        self,
        writer: Writer,
        commit: Callable[[dict[TopicPartition, int]], Awaitable[None]],
        *,
        again_s: float = _AGAIN_S,
    ) -> None:
        self._writer = writer
        self._commit = commit
        self._again_s = again_s
        self._lock = asyncio.Lock()
        self._told = False
        self.pending = Pending()
        #: Records that are durable.
        self.records = 0

    def take(self, tp: TopicPartition, line: bytes, after: int) -> None:
        """Take the line of a record; ``after`` is the offset to go on at."""
        self.pending.lines += line
        self.pending.records += 1
        self.pending.offsets[tp] = after

    async def write(self, wanted: Callable[[], bool] = lambda: True) -> bool:
        """Write what was taken, and commit it.

        Args:
            wanted: asked after each try that failed, whether to try again.

        Returns:
            Whether it is durable; if not it is pending still.
        """
        async with self._lock:
            batch, self.pending = self.pending, Pending()
            if not batch.records:
                return True
            while (error := await self._failed(batch.lines)) is not None:
                self._tell(error)
                if not wanted():
                    self._put_back(batch)
                    return False
                await asyncio.sleep(self._again_s)
            if self._told:
                self._told = False
                log.warning("The archive can be written again.")
            self.records += batch.records
            await self._commit(batch.offsets)
            return True

    async def _failed(self, lines: bytearray) -> OSError | None:
        try:
            await asyncio.to_thread(self._writer.append, lines)
        except OSError as error:
            return error
        return None

    def forget(self) -> None:
        """Drop what is pending: it was not committed, so whoever has its partitions reads it again."""
        self.pending = Pending()

    def _put_back(self, batch: Pending) -> None:
        later = self.pending
        batch.lines += later.lines
        batch.records += later.records
        batch.offsets |= later.offsets
        self.pending = batch

    def _tell(self, error: OSError) -> None:
        if not self._told:
            self._told = True
            log.error(
                "The archive cannot be written (%s): make room. Nothing is lost, and it goes on by itself.",
                error.strerror or error,
            )
