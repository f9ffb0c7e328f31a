"""Whether a local table still belongs to its changelog. Uses private parts of aiokafka, each with a test.

A local copy remembers the changelog offset that it is as of, and a digest of the record that lies there. After
`tocsin kafka reset`, the power loss of a broker that had the only replica, or an unclean election, the
changelog of the same name is another one, or ends earlier: then another record lies at that offset, or none.
Keys of rows name the process that wrote them, so that no two clusters have the same record.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any, Final, cast

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError, NodeNotReadyError, OffsetOutOfRangeError, for_code
from aiokafka.protocol.fetch import FetchRequest
from faust.types import TP

from streams.upstream.lenient_records import LenientRecords

#: Key of what a store remembers of the record at its offset; rows begin otherwise.
NOTE_KEY: Final = b"__tocsin_record"
_MOST_WAIT_MS: Final = 1000

#: Key and value of a record; None for one that is not there.
KeyAndValue = tuple[bytes | None, bytes | None]


def note_of(offset: int, key: bytes | None, value: bytes | None) -> bytes:
    """What a store remembers of the changelog's record at its offset."""
    digest = hashlib.blake2b(digest_size=16)
    for part in (key, value):
        digest.update(b"-" if part is None else b"%d:" % len(part) + part)
    return b"%d %s" % (offset, digest.hexdigest().encode())


def belongs(db: Any, offset: int, found: KeyAndValue | None) -> bool:
    """Whether a store is a copy of the changelog that has this record at the store's offset.

    A store without a note, or with an older one, was written by an earlier version of Tocsin: it is taken
    for a copy when it holds the very row. Where the record is a deletion there is no telling, so it is not.

    Args:
        db: the open store.
        offset: that its rows are as of.
        found: the changelog's record at this offset; None where there is none.
    """
    if found is None:
        return False
    note = db.get(NOTE_KEY)
    if note is not None and note.split(b" ")[0] == b"%d" % offset:
        return bool(note == note_of(offset, *found))
    key, value = found
    return key is not None and value is not None and db.get(key) == value


async def records_at(client: Any, places: Mapping[TP, int]) -> dict[TP, KeyAndValue | None]:
    """The records that lie at these offsets; None where there is none.

    Args:
        client: the ``AIOKafkaClient`` of a consumer of these topics.
        places: an offset for each partition.

    Raises:
        KafkaError: a broker cannot be asked just now.
    """
    return {tp: await _record_at(client, tp, offset) for tp, offset in places.items()}


async def _record_at(client: Any, tp: TP, offset: int) -> KeyAndValue | None:
    leader = client.cluster.leader_for_partition(TopicPartition(*tp))
    if leader is None or leader < 0:
        raise NodeNotReadyError(f"no leader of {tp.topic}, partition {tp.partition}, is known")
    # However few bytes are asked for, the whole of the first batch comes.
    request = FetchRequest(_MOST_WAIT_MS, 0, 1, 0, [(tp.topic, [(tp.partition, offset, 1)])])
    answer = await client.send(leader, request)
    for _, parts in answer.topics:
        for _, code, *_, records in parts:
            if code == OffsetOutOfRangeError.errno:
                return None
            if code:
                raise cast("type[KafkaError]", for_code(code))(f"{tp.topic}, partition {tp.partition}")
            for record in _records_in(records or b""):
                if record.offset >= offset:
                    return (record.key, record.value) if record.offset == offset else None
    return None


def _records_in(data: bytes) -> Iterator[Any]:
    batches = LenientRecords(data)
    while batches.has_next():
        yield from batches.next_batch()
