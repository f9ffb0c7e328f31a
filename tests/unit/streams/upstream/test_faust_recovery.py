"""Recovery tells where it began and how far it is."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from faust.tables.recovery import Recovery
from faust.types import TP

from streams.upstream.faust_recovery import ObservedRecovery
from streams.upstream.recovery_progress import TableProgress
from streams.upstream.stores import TablePartition
from tocsin.app import TocsinApp


async def test_recovery_tells_where_it_began_and_how_far_it_is(
    app: TocsinApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    recovery = app.tables.recovery
    assert isinstance(recovery, ObservedRecovery)
    begun: list[bool] = []
    recovery.on_begin = lambda: begun.append(True)
    known: list[int] = []
    recovery.on_known = lambda: known.append(len(recovery.progress()))
    table = app.tables["partial-counts"]
    table.data._db_for_partition(0)
    changelog = table.changelog_topic.get_topic_name()
    places = {TP(changelog, partition) for partition in (0, 1)}
    TablePartition(table, 0).apply([(b"k%d" % number, b"v") for number in range(3)], range(3))
    there: dict[TP, Any] = {TP(changelog, 0): (2, b"k2", b"v")}

    async def records_at(offsets: dict[TP, int]) -> dict[TP, Any]:
        assert offsets == {TP(changelog, 0): 2}
        return there

    monkeypatch.setattr(type(app), "consumer", SimpleNamespace(records_at=records_at))
    app.tables._changelogs[changelog] = table
    monkeypatch.setattr(app.assignor, "assigned_actives", lambda: places)
    monkeypatch.setattr(app.assignor, "assigned_standbys", set)

    async def earliest(*tps: TP) -> dict[TP, int]:
        return dict.fromkeys(tps, 0)

    async def highwaters(*tps: TP) -> dict[TP, int]:
        return dict.fromkeys(tps, 10)

    await recovery.on_rebalance(places, set(), places, app.consumer_generation_id)
    assert begun == [True]
    assert recovery.progress() == []
    consumer = SimpleNamespace(earliest_offsets=earliest, highwaters=highwaters)
    await recovery._build_highwaters(consumer, places, recovery.active_highwaters, "active")
    await recovery._build_offsets(consumer, places, recovery.active_offsets, "active")
    assert known == [2]
    recovery.active_offsets[TP(changelog, 1)] = 4
    assert recovery.progress() == [
        TableProgress("partial-counts", changelog, 0, kept=2, begin=2, at=2, end=9),
        TableProgress("partial-counts", changelog, 1, kept=None, begin=-1, at=4, end=9),
    ]


@pytest.mark.parametrize("found", [None, (2, b"k2", b"other"), (3, b"k2", b"v"), (2, b"k1", b"v")])
async def test_a_copy_of_something_else_is_set_aside_before_recovery(
    app: TocsinApp, monkeypatch: pytest.MonkeyPatch, found: Any, caplog: pytest.LogCaptureFixture
) -> None:
    recovery = app.tables.recovery
    table = app.tables["partial-counts"]
    table.data._db_for_partition(0)
    changelog = table.changelog_topic.get_topic_name()
    place = TP(changelog, 0)
    TablePartition(table, 0).apply([(b"k%d" % number, b"v") for number in range(3)], range(3))
    app.tables._changelogs[changelog] = table
    monkeypatch.setattr(app.assignor, "assigned_actives", lambda: {place})
    monkeypatch.setattr(app.assignor, "assigned_standbys", set)

    async def records_at(_: Any) -> dict[TP, Any]:
        return {place: found}

    monkeypatch.setattr(type(app), "consumer", SimpleNamespace(records_at=records_at))
    await recovery.on_rebalance({place}, set(), {place}, app.consumer_generation_id)
    assert recovery.active_offsets[place] is None
    folders = [
        folder.name for folder in table.data.path.iterdir() if folder.name.startswith("partial-counts-0")
    ]
    assert len(folders) == 2, folders
    assert any(".db.other-" in folder for folder in folders)
    has = "another record" if found else "no record"
    assert f"is no copy of the topic {changelog}, which has {has} at the offset 2" in caplog.text


@pytest.mark.parametrize("when", ["before the changelog is asked", "when the answer is compared"])
async def test_a_copy_in_which_damage_is_met_is_set_aside_before_recovery(
    app: TocsinApp, monkeypatch: pytest.MonkeyPatch, when: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The worker would end, and again after each start, if the damage were not called so."""
    recovery = app.tables.recovery
    table = app.tables["partial-counts"]
    changelog = table.changelog_topic.get_topic_name()
    place = TP(changelog, 0)
    db = table.data._db_for_partition(0)
    TablePartition(table, 0).apply([(b"k0", b"v")], [0])
    app.tables._changelogs[changelog] = table
    monkeypatch.setattr(app.assignor, "assigned_actives", lambda: {place})
    monkeypatch.setattr(app.assignor, "assigned_standbys", set)

    def get(key: bytes) -> Any:
        if when.startswith("before") or key != table.data.offset_key:
            raise Exception("Corruption: block checksum mismatch")  # noqa: TRY002 - as rocksdict does
        return db.get(key)

    monkeypatch.setitem(table.data._dbs, 0, SimpleNamespace(get=get, close=db.close))
    asked: list[dict[TP, int]] = []

    async def records_at(offsets: dict[TP, int]) -> dict[TP, Any]:
        asked.append(offsets)
        return {place: (0, b"k0", b"v")}

    monkeypatch.setattr(type(app), "consumer", SimpleNamespace(records_at=records_at))
    await recovery.on_rebalance({place}, set(), {place}, app.consumer_generation_id)
    assert asked == ([] if when.startswith("before") else [{place: 0}])
    assert recovery.active_offsets[place] is None
    assert "is damaged (table partial-counts, partition 0: Corruption" in caplog.text
    assert len(list(table.data.path.glob("partial-counts-0.db.damaged-*"))) == 1


async def test_recovery_of_faust_calls_what_tells(app: TocsinApp) -> None:
    code = Recovery._restart_recovery
    names = getattr(code, "fun", code).__code__.co_names
    assert {"_build_offsets", "_build_highwaters"} <= set(names)
