"""Reads the public topic of counts into memory, on every worker."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import aiokafka
from aiokafka import TopicPartition

from streams.log_lines import BOUNDED
from streams.notifications.visible import visible
from streams.records import PlacedRecord
from streams.retries import Backoff
from streams.upstream.corrupt_batches import Corrupt
from tables.again import AskAgain, decode_question, is_question
from tables.following import Follower, SeenEnds, follower_options
from tables.public_rows import PublicKey, decode_key
from tables.totals import ForeignRowError, Totals

log = logging.getLogger(__name__)

_RETRY = Backoff(1.0)
_EXPIRE_INTERVAL_S = 60.0
#: Seconds for which a row of another app makes this worker not ready.
_FOREIGN_S = 600.0


class TotalsReader(Follower):
    """Follows all partitions of ``event-counts``, without a consumer group.

    Args:
        topic: the public topic.
        options: of the aiokafka client.
        app: ``TOCSIN_APP_ID``, whose rows are taken in.
        on_outdated: called with the key of a row that is older than what is known. A worker that lost
            its partitions wrote it late, and the owner must write the newer one again. Also called for rows
            of another app that were there at start; for later ones it would never end.
        on_question: called with the slice and the question of a combiner that has missed messages.
        on_busy: called with the seconds that it took to take in rows, once those of the start are in.
        clock: the time in seconds since 1970.
        steady: seconds, only for differences.
    """

    def __init__(
        self,
        topic: str,
        options: dict[str, Any],
        *,
        app: str | None = None,
        on_outdated: Callable[[PublicKey], None] | None = None,
        on_question: Callable[[int, AskAgain], None] = lambda *_: None,
        on_busy: Callable[[float], None] | None = None,
        clock: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(follower_options(options, self._left_out), _RETRY, steady)
        self._topic = topic
        self._on_outdated = on_outdated
        self._on_question = on_question
        self._on_busy = on_busy
        self._clock = clock
        self._ends = SeenEnds(clock, steady)
        self.totals = Totals(app)
        #: App -> rows left out because it is another.
        self.foreign: Counter[str] = Counter()
        self._foreign_at = -math.inf
        self._foreign_app = ""

    @property
    def as_of(self) -> float:
        """Time, in seconds since 1970, up to which all that was published is taken in; 0 before all was."""
        return self._ends.as_of

    @property
    def missing(self) -> set[int]:
        """Partitions that were not seen to their end in the last 10 s, or never."""
        return self._ends.missing

    @property
    def complete(self) -> bool:
        """Whether all that was published is taken in, but for that of the last seconds."""
        return self._ends.complete

    def foreign_app(self) -> str | None:
        """Another app that has written rows here since this worker read what was there, and lately."""
        return self._foreign_app if time.monotonic() - self._foreign_at < _FOREIGN_S else None

    async def start(self, partitions: int) -> None:
        """Start reading the topic's ``partitions`` in the background."""
        self._ends.partitions = partitions
        self._begin("totals-reader")

    def _ended(self, error: Exception) -> bool:
        log.warning("Reading %s failed (%r); trying again.", self._topic, error)
        return False

    async def _read(self, consumer: aiokafka.AIOKafkaConsumer) -> NoReturn:
        partitions = [TopicPartition(self._topic, partition) for partition in range(self._ends.partitions)]
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        progress = self._ends.watch(consumer)
        expire_at = time.monotonic() + _EXPIRE_INTERVAL_S
        while True:
            fetched = await consumer.getmany(*partitions, timeout_ms=500, max_records=500)
            began = time.perf_counter()
            for tp, records in fetched.items():
                self._take(records)
                progress.taken(tp.partition, records[-1].offset + 1)
            if fetched and self._on_busy is not None and self.complete:
                self._on_busy(time.perf_counter() - began)
            if time.monotonic() > expire_at:
                expire_at = time.monotonic() + _EXPIRE_INTERVAL_S
                self.totals.expire(self._clock())
            await asyncio.sleep(0)

    def _left_out(self, tp: TopicPartition, corrupt: Corrupt) -> None:
        log.error(
            "%s. Counts may be too low for what lay there, until they change.",
            corrupt.sentence(tp),
            extra=BOUNDED,
        )

    def _take(self, records: Sequence[PlacedRecord]) -> None:
        is_current = self.complete
        for record in records:
            self.totals.reach(record.timestamp or 0)
            written_s = (record.timestamp or 0) / 1000 if is_current else 0.0
            try:
                if is_question(record.key) and record.value is not None:
                    self._on_question(*decode_question(record.key or b"", record.value))
                    continue
                newer = self.totals.apply(record.key or b"", record.value, written_s)
            except ForeignRowError as error:
                newer = self._found_foreign(record, error.app)
            except (ValueError, KeyError, TypeError) as error:
                log.warning("Left out %s/%d/%d: %s", self._topic, record.partition, record.offset, error)
                continue
            if not newer and self._on_outdated is not None:
                self._on_outdated(decode_key(record.key or b""))

    def _found_foreign(self, record: PlacedRecord, app: str) -> bool:
        """Note a row of another app; return False where our own is to be written over it."""
        if not self.foreign[app]:
            log.error(
                "The topic %s holds rows of the app %s, which are left out: set TOCSIN_EVENT_COUNTS_TOPIC of "
                "one of the two apps to another topic, and restart this one.",
                self._topic,
                visible(app),
            )
        self.foreign[app] += 1
        if record.partition not in self._ends.seen:
            return False  # once at each start, and not in turn with another that lives
        self._foreign_at, self._foreign_app = time.monotonic(), app
        return True
