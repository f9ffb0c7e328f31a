"""Which record of its changelog a local table remembers, and which is taken for it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import NodeNotReadyError, NotLeaderForPartitionError
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy
from faust.types import TP

from streams.upstream.store_check import NOTE_KEY, belongs, note_of, records_at
from streams.upstream.stores import TablePartition
from tocsin.app import TocsinApp

PLACE = TP("changelog", 0)


@pytest.mark.parametrize("last", [(b"k1", b"v1"), (b"k1", None)])
async def test_the_record_at_the_offset_of_the_rows_is_remembered(app: TocsinApp, last: Any) -> None:
    """Whether this worker wrote it, or recovery read it."""
    table = app.tables["partial-counts"]
    for partition in (0, 1):
        table.data._db_for_partition(partition)
    TablePartition(table, 0).apply([(b"k0", b"v0"), last], [0, 1])
    changelog = table.changelog_topic.get_topic_name()
    table.data.apply_changelog_batch(
        [
            SimpleNamespace(
                message=SimpleNamespace(tp=TP(changelog, 1), offset=offset, partition=1, key=key, value=value)
            )
            for offset, (key, value) in enumerate([(b"k0", b"v0"), last])
        ],
        bytes,
        bytes,
    )
    for partition in (0, 1):
        db = table.data._dbs[partition]
        assert belongs(db, 1, (1, *last))
        for other in (None, (2, *last), (1, b"k2", last[1]), (1, last[0], b"other")):
            assert not belongs(db, 1, other)
        keys = list(table.data._visible_keys(db))
        assert NOTE_KEY not in keys
        assert not any(key.startswith(b"__") for key, _ in TablePartition(table, partition).rows())


def test_a_table_of_an_earlier_version_is_taken_by_the_row_itself() -> None:
    assert belongs({b"k": b"v"}, 7, (7, b"k", b"v"))
    assert not belongs({b"k": b"v"}, 7, (7, b"k", b"w"))
    assert not belongs({b"k": b"v"}, 7, (7, b"other", b"v"))
    # Of a deletion there is no telling; nor of anything by a note that is of another offset.
    assert not belongs({}, 7, (7, b"k", None))
    assert belongs({b"k": b"v", NOTE_KEY: note_of(3, b"x", b"y")}, 7, (7, b"k", b"v"))


def batch(base: int, keys: list[bytes], *, control: bool = False) -> bytes:
    builder = _DefaultRecordBatchBuilderPy(2, 0, int(control), 7 if control else -1, 0, 0, 1 << 20)
    for index, key in enumerate(keys):
        builder.append(index, 1000, key, b"v", [])
    built = bytearray(builder.build())
    built[0:8] = base.to_bytes(8, "big")
    if control:
        built[22] |= 0x20
    return bytes(built)


class Client:
    """A leader that has these batches, and answers one at a time."""

    def __init__(self, *batches: tuple[int, int, bytes], code: int = 0, leader: int | None = 1) -> None:
        self._batches = batches
        self._code = code
        self.cluster = SimpleNamespace(leader_for_partition=lambda _: leader)

    async def send(self, _node: int, request: Any) -> Any:
        ((topic, ((partition, offset, _),)),) = request.topics
        code, data = self._code, b""
        if not code and offset > max((end for _, end, _ in self._batches), default=0):
            code = 1
        for _, end, content in self._batches:
            if not code and offset < end:
                data = content
                break
        return SimpleNamespace(topics=[(topic, [(partition, code, 9, 9, 0, None, -1, data)])])


async def test_the_first_record_at_or_behind_an_offset_is_found() -> None:
    client = Client(
        (0, 2, batch(0, [b"a", b"b"])),
        (2, 3, batch(2, [b"\0\0\0\1"], control=True)),
        (3, 4, batch(3, [b"c"])),
    )
    expected = {
        0: (0, b"a", b"v"),
        1: (1, b"b", b"v"),
        2: (3, b"c", b"v"),
        3: (3, b"c", b"v"),
        4: None,
        5: None,
    }
    for offset, found in expected.items():
        assert await records_at(client, {PLACE: offset}) == {PLACE: found}


async def test_a_leader_that_is_not_known_or_refuses_is_an_error() -> None:
    with pytest.raises(NodeNotReadyError):
        await records_at(Client(leader=None), {PLACE: 0})
    with pytest.raises(NotLeaderForPartitionError):
        await records_at(Client(code=6), {PLACE: 0})
