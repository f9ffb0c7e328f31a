"""A table whose changelog loses its end under the worker that writes it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from streams.outgoing import Outgoing
from streams.settings import load_settings
from streams.upstream.stores import TablePartition
from tables.durable_table import DurableTable
from tocsin.app import TocsinApp, make_app


class Changelog:
    """The changelog of one partition, and who sends to it."""

    def __init__(self) -> None:
        self.records: list[tuple[bytes | None, bytes | None]] = []

    async def send(self, records: list[Outgoing]) -> list[Any]:
        begin = len(self.records)
        self.records += [(record.key, record.value) for record in records]
        return [SimpleNamespace(offset=begin + index) for index in range(len(records))]

    def rows(self) -> dict[bytes | None, bytes]:
        return {key: value for key, value in dict(self.records).items() if value is not None}


@pytest.fixture
async def app(tmp_path: Any) -> TocsinApp:
    return make_app(load_settings(data_dir=str(tmp_path), partitions=2))


async def test_all_rows_are_written_again_when_the_changelog_goes_back(
    app: TocsinApp, caplog: pytest.LogCaptureFixture
) -> None:
    changelog = Changelog()
    table = app.tables["partial-counts"]
    table.data._db_for_partition(0)
    durable = DurableTable(table, changelog, "writer")  # type: ignore[arg-type]
    rows: dict[bytes, bytes] = {}
    for number in range(600):
        rows[b"k%03d" % number] = b"%d" % number
        await durable.write(0, [(b"k%03d" % number, b"%d" % number)])
    assert durable.written(0) == 599
    del changelog.records[200:]
    rows[b"k700"] = b"last"
    await durable.write(0, [(b"k700", b"last")])
    assert changelog.rows() == rows
    assert caplog.text.count("partition 0, lost its end: all its rows are written again.") == 1
    # The local copy is as of the end of it, and goes on from there.
    store = TablePartition(table, 0)
    assert (store.offset(), durable.written(0)) == (len(changelog.records) - 1,) * 2
    await durable.write(0, [(b"k701", b"more")])
    assert store.offset() == len(changelog.records) - 1
    assert caplog.text.count("lost its end") == 1


async def test_another_assignment_begins_without_what_was_written_in_the_one_before(app: TocsinApp) -> None:
    """Its table was checked against the changelog, whatever that has lost."""
    changelog = Changelog()
    table = app.tables["partial-counts"]
    table.data._db_for_partition(0)
    durable = DurableTable(table, changelog, "writer")  # type: ignore[arg-type]
    await durable.write(0, [(b"a", b"1"), (b"b", b"2")])
    changelog.records.clear()
    durable.rows(0)
    assert durable.written(0) == -1
    await durable.write(0, [(b"c", b"3")])
    assert changelog.rows() == {b"c": b"3"}
