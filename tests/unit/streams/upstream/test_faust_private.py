"""Each use of a private part of Faust, so that a new version of Faust that differs fails here first."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import faust
import pytest
from faust.tables.recovery import Recovery
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from streams.notifications import Priority
from streams.settings import load_settings
from streams.transport.batch import RecordBatch
from streams.upstream.faust_app import member_alive
from streams.upstream.faust_consumer import Consumer, PausingListener
from streams.upstream.faust_messages import BatchSchema, batch_message, deliver
from streams.upstream.faust_recovery import ObservedRecovery
from streams.upstream.recovery_progress import TableProgress
from streams.upstream.store_faults import quarantine_damaged
from streams.upstream.stores import (
    DamagedStoreError,
    PartitionGoneError,
    TablePartition,
    store_folders,
)
from tocsin.app import TocsinApp, make_app

MANAGED = TP("notifications.debug", 3)
OTHER = TP("elsewhere", 0)


class FakeCoordinator:
    """A coordinator that manages the notification topics and records what it is asked."""

    def __init__(self) -> None:
        self.offsets: dict[TP, int] = {}
        self.calls: list[str] = []

    def fetches(self, topic: str) -> bool:
        return topic.startswith("notifications.")

    manages = fetches

    def committable(self) -> dict[TP, int]:
        return self.offsets

    async def drain(self) -> None:
        self.calls.append("drain")


@pytest.fixture
async def app(tmp_path: Path) -> TocsinApp:
    """The real app, connected to nothing."""
    made = make_app(load_settings(data_dir=tmp_path / "data", brokers="127.0.0.1:1"))
    made.coordinator = FakeCoordinator()
    return made


async def test_the_app_uses_our_consumer(app: TocsinApp) -> None:
    assert isinstance(app.consumer, Consumer)
    assert isinstance(app.consumer._thread, driver.AIOKafkaConsumerThread)


async def test_managed_offsets_are_committed_from_what_is_durable_not_from_acks(app: TocsinApp) -> None:
    consumer = app.consumer
    consumer._acked[MANAGED].extend([5, 6, 7])
    consumer._acked_index[MANAGED].update([5, 6, 7])
    consumer._acked[OTHER].extend([0, 1])
    app.coordinator.offsets = {MANAGED: 6}
    pending = list(consumer._filter_tps_with_pending_acks())
    assert pending == [OTHER]
    assert consumer._filter_committable_offsets(pending) == {MANAGED: 6, OTHER: 2}
    assert not consumer._acked[MANAGED]
    assert not consumer._acked_index[MANAGED]


async def test_stock_faust_would_have_committed_the_acks(app: TocsinApp) -> None:
    """The control: without our override the acked offset is offered, durable or not."""
    consumer = app.consumer
    consumer._acked[MANAGED].extend([5, 6, 7])
    consumer._acked_index[MANAGED].update([5, 6, 7])
    assert driver.Consumer._filter_committable_offsets(consumer, [MANAGED]) == {MANAGED: 8}


async def test_an_offset_that_is_committed_is_not_offered_again(app: TocsinApp) -> None:
    app.consumer._committed_offset[MANAGED] = 6
    app.coordinator.offsets = {MANAGED: 6}
    assert app.consumer._filter_committable_offsets([]) == {}


async def test_gaps_are_not_tracked_for_managed_topics(app: TocsinApp) -> None:
    await app.consumer._add_gap(MANAGED, 1, 1000)
    await app.consumer._add_gap(OTHER, 1, 3)
    assert not app.consumer._gap[MANAGED]
    assert app.consumer._gap[OTHER]


async def test_waiting_for_agents_drains_then_commits(
    app: TocsinApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def commit(**_kwargs: Any) -> bool:
        app.coordinator.calls.append("commit")
        return True

    monkeypatch.setattr(app.consumer, "commit", commit)
    message = batch_message(app, b"", "notifications.debug", 3, 9, 0)
    app.consumer._unacked_messages.add(message)
    await app.consumer.wait_empty()
    assert app.coordinator.calls == ["drain", "commit"]
    assert not app.consumer.unacked


async def test_faust_waits_for_agents_through_wait_empty(app: TocsinApp) -> None:
    assert app.conf.stream_wait_empty
    assert "wait_empty" in faust.App._consumer_wait_empty.__code__.co_names


async def test_lane_topics_are_paused_in_the_group_consumer(monkeypatch: pytest.MonkeyPatch) -> None:
    paused: list[Any] = []
    order: list[str] = []

    async def assigned(_self: Any, _assigned: Any) -> None:
        order.append("assigned")

    async def given_up() -> None:
        order.append("give up fetches")

    monkeypatch.setattr(driver.ConsumerRebalanceListener, "on_partitions_assigned", assigned)
    consumer = SimpleNamespace(pause=lambda *tps: (paused.extend(tps), order.append("pause")))
    thread = SimpleNamespace(
        app=SimpleNamespace(coordinator=FakeCoordinator()),
        _ensure_consumer=lambda: consumer,
        give_up_fetches=given_up,
    )
    await PausingListener(thread).on_partitions_assigned([MANAGED, OTHER])
    assert paused == [MANAGED]
    assert order == ["give up fetches", "pause", "assigned"]


async def test_the_group_consumer_does_not_wait_long_for_idle_partitions(app: TocsinApp) -> None:
    made = app.consumer._thread._create_worker_consumer(app.transport)
    assert made._fetch_max_wait_ms == 200


async def test_a_batch_reaches_the_agent_as_it_is(app: TocsinApp) -> None:
    batch = RecordBatch(Priority.DEBUG, "notifications.debug", 3, [object()], None)
    message = batch_message(app, batch, "notifications.debug", 3, 41, 1_700_000_000_000)
    assert (message.tp, message.offset, message.timestamp) == (MANAGED, 41, 1_700_000_000.0)
    assert message.generation_id == app.consumer_generation_id
    topic = app.topic("notifications.debug", schema=BatchSchema(key_type=bytes, value_type=bytes))
    event = await topic.decode(message)
    assert event.value is batch


async def test_nothing_is_delivered_for_a_partition_without_an_agent(app: TocsinApp) -> None:
    message = batch_message(app, b"", "notifications.debug", 3, 0, 0)
    app.flow_control.resume()
    assert not await deliver(app, message)


async def test_nothing_is_delivered_while_flow_is_suspended(app: TocsinApp) -> None:
    app.topics._tp_index[MANAGED].add(app.topic("notifications.debug"))
    app.flow_control.suspend()
    assert not await deliver(app, batch_message(app, b"", "notifications.debug", 3, 0, 0))


async def test_member_alive_sees_a_dead_coordinator_task(app: TocsinApp) -> None:
    assert member_alive(app)
    state = SimpleNamespace(done=lambda: False)
    app.consumer._thread._consumer = SimpleNamespace(_coordinator=SimpleNamespace(_coordination_task=state))
    assert member_alive(app)
    state.done = lambda: True
    assert not member_alive(app)


# ------------------------------------------------------------------ tables


def changes(count: int, size: int = 10) -> list[tuple[bytes, bytes | None]]:
    return [(b"k%05d" % index, b"v" * size) for index in range(count)]


async def opened(app: TocsinApp, partition: int = 0) -> Any:
    table = app.tables["partial-counts"]
    table.data._db_for_partition(partition)
    return table


async def test_rows_are_written_with_their_changelog_offset(app: TocsinApp) -> None:
    table = await opened(app)
    store = TablePartition(table, 0)
    store.apply(changes(3), [0, 1, 2])
    store.apply([(b"k00001", None)], [3])
    assert [key for key, _ in store.scan(b"k", b"l")] == [b"k00000", b"k00002"]
    assert list(store.scan(b"k00002", b"k00002")) == []
    assert table.persisted_offset(TP(table.changelog_topic.get_topic_name(), 0)) == 3


async def test_recovery_begins_before_rows_of_others_that_were_not_read(app: TocsinApp) -> None:
    """While this worker was paused, another one wrote to the changelog at the offsets that are left out."""
    table = await opened(app)
    store = TablePartition(table, 0)
    changelog = TP(table.changelog_topic.get_topic_name(), 0)
    store.apply(changes(1), [0])
    store.apply(changes(2), [2, 3])
    assert table.persisted_offset(changelog) == 0
    store.apply(changes(3), [1, 2, 4])
    assert table.persisted_offset(changelog) == 0
    store.apply(changes(1), [5])
    assert table.persisted_offset(changelog) == 0
    assert [key for key, _ in store.scan(b"k", b"l")] == [b"k00000", b"k00001", b"k00002"]


async def test_recovery_of_faust_writes_what_we_read(app: TocsinApp) -> None:
    table = await opened(app)
    tp = TP(table.changelog_topic.get_topic_name(), 0)
    event = SimpleNamespace(message=SimpleNamespace(tp=tp, offset=5, partition=0, key=b"k1", value=b"v1"))
    table.data.apply_changelog_batch([event], bytes, bytes)
    assert list(TablePartition(table, 0).scan(b"k", b"l")) == [(b"k1", b"v1")]


async def test_a_revoked_partition_is_not_opened_again(app: TocsinApp) -> None:
    table = await opened(app)
    store = TablePartition(table, 0)
    table.data._dbs.clear()
    with pytest.raises(PartitionGoneError):
        list(store.scan(b"", b"z"))
    with pytest.raises(PartitionGoneError):
        store.apply(changes(1), [0])
    assert not table.data._dbs


async def with_rows(app: TocsinApp) -> Path:
    """The folder of a closed table partition with 20,000 rows in it."""
    table = await opened(app)
    TablePartition(table, 0).apply(changes(20_000, 100), range(20_000))
    table.data._dbs[0].flush()
    table.data._dbs.pop(0).close()
    return Path(table.data.partition_path(0))


def flip_bytes(folder: Path) -> None:
    for file in folder.glob("*.sst"):
        content = bytearray(file.read_bytes())
        for index in range(len(content) // 2, len(content) // 2 + 4000):
            content[index] ^= 0xFF
        file.write_bytes(content)


async def test_damage_is_noticed_when_a_table_is_read(app: TocsinApp) -> None:
    """Iteration of RocksDB just ends early at a damaged block; the control shows that it does."""
    flip_bytes(await with_rows(app))
    table = await opened(app)
    with pytest.raises(DamagedStoreError):
        list(TablePartition(table, 0).scan(b"k", b"l"))
    unchecked = list(table.data._dbs[0].items())
    assert len(unchecked) < 20_000


async def test_a_table_found_damaged_when_read_is_kept_aside(app: TocsinApp) -> None:
    folder = await with_rows(app)
    flip_bytes(folder)
    table = await opened(app)
    with pytest.raises(DamagedStoreError) as raised:
        list(TablePartition(table, 0).scan(b"k", b"l"))
    aside = raised.value.damaged.quarantine(raised.value)
    assert aside.is_dir()
    assert not folder.exists()


@pytest.mark.parametrize("victim", ["CURRENT", "MANIFEST-*"])
async def test_a_table_that_cannot_be_opened_is_kept_aside_at_start(app: TocsinApp, victim: str) -> None:
    folder = await with_rows(app)
    for file in folder.glob(victim):
        file.unlink()
    (aside,) = quarantine_damaged(store_folders(app))
    assert aside.name.startswith(f"{folder.name}.damaged-")
    assert not folder.exists()


async def test_a_sound_table_and_one_in_use_are_left_alone(app: TocsinApp) -> None:
    folder = await with_rows(app)
    assert quarantine_damaged(store_folders(app)) == []
    table = await opened(app)
    assert quarantine_damaged(store_folders(app)) == []
    assert folder.exists()
    assert len(list(TablePartition(table, 0).scan(b"k", b"l"))) == 20_000


# ------------------------------------------------------------------ recovery


async def test_recovery_tells_where_it_began_and_how_far_it_is(
    app: TocsinApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    recovery = app.tables.recovery
    assert isinstance(recovery, ObservedRecovery)
    begun: list[bool] = []
    recovery.on_begin = lambda: begun.append(True)
    known: list[int] = []
    recovery.on_known = lambda: known.append(len(recovery.progress()))
    table = await opened(app)
    changelog = table.changelog_topic.get_topic_name()
    places = {TP(changelog, partition) for partition in (0, 1)}
    TablePartition(table, 0).apply(changes(3), range(3))
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


async def test_recovery_of_faust_calls_what_tells(app: TocsinApp) -> None:
    code = Recovery._restart_recovery
    names = getattr(code, "fun", code).__code__.co_names
    assert {"_build_offsets", "_build_highwaters"} <= set(names)
