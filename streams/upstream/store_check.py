"""Whether a local table still belongs to its changelog. Uses private parts of aiokafka, each with a test.

A local copy remembers the changelog offset that it is as of, and a digest of the record that lies there.
After `tocsin kafka reset`, the power loss of a broker that had the only replica, or an unclean election, the
changelog of the same name is another one, or ends earlier: then another record lies at that offset, or none.
Keys of rows name the process that wrote them, so that no two clusters have the same record.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from typing import Any, Final, cast

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError, NodeNotReadyError, OffsetOutOfRangeError, for_code
from aiokafka.protocol.fetch import FetchRequest
from faust.types import TP

from streams.upstream.clients import ask
from streams.upstream.lenient_records import LenientRecords

#: Key of what a store remembers of the record at its offset; rows begin otherwise.
NOTE_KEY: Final = b"__tocsin_record"
_MOST_WAIT_MS: Final = 1000

#: Offset, key and value of a record.
PlacedKeyAndValue = tuple[int, bytes | None, bytes | None]


def note_of(offset: int, key: bytes | None, value: bytes | None) -> bytes:
    """What a store remembers of the changelog's record at its offset."""
    digest = hashlib.blake2b(digest_size=16)
    for part in (key, value):
        digest.update(b"-" if part is None else b"%d:" % len(part) + part)
    return b"%d %s" % (offset, digest.hexdigest().encode())


def belongs(db: Any, offset: int, found: PlacedKeyAndValue | None) -> bool:
    """Whether a store is a copy of the changelog that has this record at the store's offset.

    A store without a note, or with an older one, was written by an earlier version of Tocsin: it is taken
    for a copy when it holds the very row. Where the record is a deletion there is no telling, so it is not.

    Args:
        db: the open store.
        offset: that its rows are as of.
        found: the changelog's first record at this offset or behind it; None where there is none.
    """
    if found is None or found[0] != offset:
        return False
    _, key, value = found
    note = db.get(NOTE_KEY)
    if note is not None and note.split(b" ")[0] == b"%d" % offset:
        return bool(note == note_of(offset, key, value))
    return key is not None and value is not None and db.get(key) == value


async def records_at(client: Any, places: Mapping[TP, int]) -> dict[TP, PlacedKeyAndValue | None]:
    """The first record at each of these offsets or behind it.

    Args:
        client: the ``AIOKafkaClient`` of a consumer of these topics.
        places: an offset for each partition.

    Returns:
        None where there is no further record, or the offset is none of the log.

    Raises:
        KafkaError: a broker cannot be asked just now.
    """
    found = await asyncio.gather(*(_record_at(client, tp, offset) for tp, offset in places.items()))
    return dict(zip(places, found, strict=True))


async def _record_at(client: Any, tp: TP, offset: int) -> PlacedKeyAndValue | None:
    while True:
        data = await _fetched(client, tp, offset)
        begun = offset
        batches = LenientRecords(data or b"")
        while batches.has_next():
            batch = batches.next_batch()
            if not batch.is_control_batch:
                for record in batch:
                    if record.offset >= offset:
                        return record.offset, record.key, record.value
            begun = batch.next_offset
        if begun <= offset:
            return None
        offset = begun


async def _fetched(client: Any, tp: TP, offset: int) -> bytes | None:
    """What lies at an offset: the whole of the first batch, at least; None when it is none of the log."""
    leader = client.cluster.leader_for_partition(TopicPartition(*tp))
    if leader is None or leader < 0:
        raise NodeNotReadyError(f"no leader of {tp.topic}, partition {tp.partition}, is known")
    request = FetchRequest(_MOST_WAIT_MS, 0, 1, 0, [(tp.topic, [(tp.partition, offset, 1)])])
    answer = await ask(client, leader, request)
    for _, parts in answer.topics:
        for _, code, *_, records in parts:
            if code == OffsetOutOfRangeError.errno:
                return None
            if code:
                raise cast("type[KafkaError]", for_code(code))(f"{tp.topic}, partition {tp.partition}")
            return bytes(records or b"")
    return None
