"""Fetched records as lists, straight from the parser. Uses private parts of aiokafka, each with a test.

aiokafka hands out records one at a time through two Python generators and makes a ``ConsumerRecord`` of
each, which costs more than to decode and to count it. A consumer that is given an `AsParsed` for its
``value_deserializer`` gets the parser's own records instead: they have ``offset``, ``timestamp``, ``key``,
``value`` and ``headers``, and neither topic nor partition.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from operator import attrgetter
from typing import Any, Final

from aiokafka.consumer import fetcher
from aiokafka.consumer.fetcher import READ_COMMITTED, FetchResult, PartitionRecords

from streams.log_lines import BOUNDED
from streams.records import Record, UnreadableRecord
from streams.upstream.corrupt_batches import LeavesOut, SoundRecords, judge, stand_ins
from streams.upstream.unpacking import LEAST_LIMIT, UnpackedTooLargeError, limit_for

log = logging.getLogger(__name__)

#: Name of what a partition's state of aiokafka's gets, see `passed_over`.
_PASSED: Final = "tocsin_passed_over"
#: Bytes unpacked after which no further batch is begun at a time.
_ENOUGH_UNPACKED = 2**20
#: Bytes that a record costs besides its key, value and headers, about.
_RECORD_BYTES = 64
#: Name under which an assignment of aiokafka has whom to tell of leader epochs.
_ON_EPOCH: Final = "tocsin_on_epoch"
_value_of = attrgetter("value")
_key_of = attrgetter("key")
_headers_of = attrgetter("headers")


class AsParsed:
    """As ``value_deserializer`` it marks a consumer that gets records as parsed. It changes nothing.

    Args:
        of_corrupt: what comes of records that are corrupt, said in the log behind their place.
    """

    def __init__(self, of_corrupt: str) -> None:
        self.of_corrupt = of_corrupt

    def __call__(self, value: bytes | None) -> bytes | None:
        """Change nothing."""
        return value


#: Of workers.
AS_PARSED: Final = AsParsed("They go to the dead letters.")


def install_bulk_records(largest: int = 0) -> None:
    """Let consumers of this process that ask for it get records as parsed; may be called again.

    Args:
        largest: bytes of the largest record that is wanted; a batch may unpack to twice as much.
    """
    _Unread.limit = max(_Unread.limit, limit_for(largest))
    fetcher.FetchResult = BulkFetchResult


def size_of(records: Sequence[Record]) -> int:
    """Bytes that records as parsed take, about: keys, values, headers and themselves."""
    try:
        size = sum(map(len, map(_value_of, records)))
    except TypeError:  # a record without a value
        size = sum(len(record.value or b"") for record in records)
    if any(map(_key_of, records)):
        size += sum(len(record.key or b"") for record in records)
    if any(map(_headers_of, records)):
        size += sum(len(name) + len(value or b"") for record in records for name, value in record.headers)
    return size + _RECORD_BYTES * len(records)


def held_by(consumer: Any) -> int:
    """Bytes that a consumer has fetched, as they came; all of a partition's until its last is handed out."""
    fetched = consumer._fetcher._records.values()
    return sum(result.nbytes for result in fetched if isinstance(result, BulkFetchResult))


def wait_at_broker(consumer: Any, milliseconds: int) -> None:
    """Change ``fetch_max_wait_ms`` of a consumer that has started."""
    consumer._fetcher._fetch_max_wait_ms = milliseconds


def passed_over(consumer: Any, tp: Any) -> tuple[int, int] | None:
    """From where to before where a consumer passed over what is no record to read, last and in one piece.

    That is markers of transactions, and records of those that were aborted. None when there was nothing yet.
    """
    subscription = consumer._subscription.subscription
    assignment = None if subscription is None else subscription.assignment
    if assignment is None or tp not in assignment.tps:
        return None
    passed: tuple[int, int] | None = vars(assignment.state_value(tp)).get(_PASSED)
    return passed


def tell_epochs(consumer: Any, on_epoch: Callable[[int, int, int], None]) -> None:
    """Have it told of which leader epoch records are, before they are handed out.

    Args:
        consumer: which was just assigned partitions of one topic, and gets records as parsed.
        on_epoch: called with partition, epoch, and offset of the first record of a run of that epoch; may be
            called again for an epoch that is known.
    """
    setattr(consumer._subscription.subscription.assignment, _ON_EPOCH, on_epoch)


class BulkFetchResult(FetchResult):
    """Stands in for aiokafka's ``FetchResult``: what one fetch brought for one partition."""

    def __init__(
        self, tp: Any, *, assignment: Any, partition_records: PartitionRecords, backoff: float
    ) -> None:
        super().__init__(tp, assignment=assignment, partition_records=partition_records, backoff=backoff)
        self._unread: _Unread | None = None
        # Of the answer that brought it; what a broker does not tell is -1 or None.
        told = getattr(assignment.state_value(tp), "highwater", None)
        end_of_log = told if told is not None and told > 0 else None
        #: Bytes fetched.
        self.nbytes: int = partition_records._records.size_in_bytes()
        if isinstance(partition_records._value_deserializer, AsParsed):
            on_epoch = getattr(assignment, _ON_EPOCH, None)
            # Nothing here may refer back to this object, or all that was fetched would be kept until the
            # garbage collector comes.
            passed = partial(_note_passed, assignment, tp)
            self._unread = _Unread(partition_records, end_of_log, passed, on_epoch)
        elif isinstance(leaves_out := partition_records._value_deserializer, LeavesOut):
            partition_records._records = SoundRecords(partition_records, end_of_log, leaves_out)

    def getall(self, max_records: int | None = None) -> list[Record]:
        """The next records."""
        if self._unread is None:
            stock: list[Record] = super().getall(max_records)
            return stock
        if not self.check_assignment(self._topic_partition) or not self.has_more():
            return []
        try:
            taken = self._unread.take(max_records)
        except BaseException:
            # The parser may have gone past good records: what is fetched again begins at the position.
            self._partition_records = None
            raise
        self._update_position()
        if self._unread.exhausted:
            self._partition_records = None
        return taken


def _note_passed(assignment: Any, tp: Any, first: int, end: int) -> None:
    """Note for `passed_over` that there was no record to read from ``first`` to before ``end``."""
    state = assignment.state_value(tp)
    before = vars(state).get(_PASSED)
    setattr(state, _PASSED, (before[0] if before is not None and before[1] == first else first, end))


class _Unread:
    """Reads on through the batches of one fetch, and keeps the position in ``PartitionRecords``.

    Each record of a batch that is corrupt, or unpacks to more than the limit, has a stand-in, for the dead
    letters.
    """

    limit = LEAST_LIMIT

    def __init__(
        self,
        source: PartitionRecords,
        end_of_log: int | None = None,
        passed: Callable[[int, int], None] = lambda *_: None,
        on_epoch: Callable[[int, int, int], None] | None = None,
    ) -> None:
        self._source = source
        self._of_corrupt: str = source._value_deserializer.of_corrupt
        self._passed = passed
        self._committed_only = source._isolation_level == READ_COMMITTED
        self._end_of_log = end_of_log
        self._first = True  # of the answer
        self._on_epoch = on_epoch
        self._epoch = -1
        # The generator that stays unused refers back to its owner, too.
        source._records_iterator = None
        self._batch: Any = None
        self._records: Any = None
        self._count = 0  # records of the batch that were read
        self._unpacked = 0  # bytes that the batches since the last call were unpacked to
        self.exhausted = False

    def take(self, most: int | None) -> list[Record]:
        """The next records, at most ``most``.

        Raises:
            Exception: whatever a record raises that cannot be taken apart.
        """
        source = self._source
        taken: list[Record] = []
        self._unpacked = 0
        while most is None or len(taken) < most:
            if self._batch is None and taken and self._unpacked >= _ENOUGH_UNPACKED:
                break
            if self._batch is None and not self._next_batch():
                self.exhausted = True
                break
            wanted = None if most is None else most - len(taken)
            chunk = self._chunk(wanted)
            ended = wanted is None or len(chunk) < wanted
            if chunk and chunk[0].offset < source.next_fetch_offset:
                # A batch comes as a whole, also when it was asked for from its middle.
                chunk = [record for record in chunk if record.offset >= source.next_fetch_offset]
            if chunk:
                source.next_fetch_offset = chunk[-1].offset + 1
                taken = taken + chunk if taken else chunk
            if ended:
                # The batch's own end, since compaction may have removed its last records.
                source.next_fetch_offset = max(source.next_fetch_offset, self._batch.next_offset)
                self._batch = None
        return taken

    def _next_batch(self) -> bool:
        source = self._source
        while source._records.has_next():
            batch = source._records.next_batch()
            first, self._first = self._first, False
            corrupt = judge(
                batch,
                source.next_fetch_offset,
                self._end_of_log,
                first=first,
                checked=source._check_crcs,
            )
            if corrupt is not None:
                if corrupt.end == corrupt.first:
                    continue
                log.error("%s. %s", corrupt.sentence(source._tp), self._of_corrupt, extra=BOUNDED)
                self._batch, self._count = _Ended(corrupt.end), 0
                self._records = stand_ins(source._tp, corrupt, batch, self.limit)
                source._records.give_up()  # its length may be wrong, too
                return True
            if batch.leader_epoch != self._epoch:
                self._epoch = batch.leader_epoch
                if self._on_epoch is not None and self._epoch >= 0:
                    self._on_epoch(source._tp.partition, self._epoch, batch.base_offset)
            if (self._committed_only and self._aborted(batch)) or batch.is_control_batch:
                self._passed(source.next_fetch_offset, batch.next_offset)
                source.next_fetch_offset = batch.next_offset
                continue
            try:
                records, unpacked = batch.parsed(self.limit)
            except UnpackedTooLargeError as error:
                records, unpacked = _stand_ins(source._tp, batch, str(error)), 0
            self._batch, self._records, self._count = batch, records, 0
            self._unpacked += unpacked
            return True
        return False

    def _aborted(self, batch: Any) -> bool:
        """Whether a batch is of a transaction that was aborted; as in aiokafka's ``PartitionRecords``."""
        source = self._source
        if not (source._aborted_transactions or source._aborted_producers):
            return False  # as in all answers about topics without transactions
        source._consume_aborted_up_to(batch.base_offset)
        if batch.producer_id not in source._aborted_producers:
            return False
        if batch.is_control_batch and source._contains_abort_marker(batch):
            source._aborted_producers.discard(batch.producer_id)
        return bool(batch.is_transactional)

    def _chunk(self, most: int | None) -> list[Record]:
        try:
            chunk: list[Record] = list(islice(self._records, most))
        except UnicodeDecodeError:
            self._records = self._batch.leniently(self._count)
            chunk = list(islice(self._records, most))
        self._count += len(chunk)
        return chunk


@dataclass(frozen=True, slots=True)
class _Ended:
    """Stands for a corrupt batch, of whose header nothing may be believed but what was judged."""

    next_offset: int


def _stand_ins(tp: Any, batch: Any, error: str) -> Iterator[UnreadableRecord]:
    # Brokers see to it that the offsets of a batch have no hole. Of the times only the last is known.
    return (
        UnreadableRecord(tp.topic, tp.partition, offset, error, batch.max_timestamp, batch.timestamp_type)
        for offset in range(batch.base_offset, batch.next_offset)
    )
