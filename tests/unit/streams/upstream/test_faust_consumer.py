"""The member of the group: what it fetches, and that it commits what is durable."""

from __future__ import annotations

import asyncio
import gc
from functools import partial
from types import SimpleNamespace
from typing import Any

import aiokafka
import faust
import pytest
from aiokafka.client import AIOKafkaClient
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.errors import (
    KafkaConnectionError,
    KafkaError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
)
from aiokafka.structs import OffsetAndMetadata
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from streams.cancellation import end
from streams.upstream import connections
from streams.upstream import faust_consumer_thread as module
from streams.upstream.faust_consumer import Consumer
from streams.upstream.faust_consumer_thread import ConsumerThread, PausingListener, TopicGoneError
from streams.upstream.faust_messages import batch_message
from streams.upstream.topic_ids import TopicDescription
from tests.unit.streams.upstream.stand_ins import MANAGED, OTHER, FakeCoordinator
from tocsin.app import TocsinApp


async def turns() -> None:
    """Let everything else come as far as it can."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_the_app_uses_our_consumer(app: TocsinApp) -> None:
    assert isinstance(app.consumer, Consumer)
    assert isinstance(app.consumer._thread, ConsumerThread)


@pytest.mark.parametrize(
    ("verify", "waits"),
    [(Consumer.verify_all_partitions_active, 0), (driver.Consumer.verify_all_partitions_active, 2)],
    ids=["ours", "control"],
)
async def test_an_idle_worker_is_not_woken_for_each_partition(
    app: TocsinApp, monkeypatch: pytest.MonkeyPatch, verify: Any, waits: int
) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(app.consumer._thread, "assignment", lambda: {MANAGED, OTHER})
    monkeypatch.setattr(app.consumer, "sleep", sleep)
    await verify(app.consumer)
    assert len(slept) == waits


async def test_nothing_was_given_before_the_group_was_joined(app: TocsinApp) -> None:
    consumer = app.consumer
    assert consumer.given() == frozenset()
    consumer._thread.assignment = lambda: {MANAGED, OTHER}
    assert consumer.given() == {MANAGED, OTHER}


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


class _NeverConfirmed:
    """Commits that a broker which has gone never answers."""

    def __init__(self) -> None:
        self.begun = 0

    async def force_commit(self, *_arguments: Any, **_options: Any) -> bool:
        self.begun += 1
        await asyncio.Event().wait()
        return True


async def _two_commits(consumer: Any, monkeypatch: pytest.MonkeyPatch) -> tuple[int, bool]:
    """Let a commit wait for another, and cancel it once: commits that were begun, whether it has ended."""
    broker = _NeverConfirmed()
    monkeypatch.setattr(consumer, "force_commit", broker.force_commit)
    first, second = (asyncio.create_task(consumer.commit()) for _ in range(2))
    await turns()
    second.cancel()
    await turns()
    ended = second.done()
    await end(first, second)
    return broker.begun, ended


async def test_who_waits_for_a_commit_can_be_cancelled(
    app: TocsinApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or a worker that stops while a commit hangs, for its broker is away, would never end."""
    assert await _two_commits(app.consumer, monkeypatch) == (1, True)


async def test_stock_faust_would_begin_another_commit(
    app: TocsinApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: the cancellation is taken for one of the commit that is waited for."""
    stock = driver.Consumer.maybe_wait_for_commit_to_finish
    monkeypatch.setattr(Consumer, "maybe_wait_for_commit_to_finish", stock)
    assert await _two_commits(app.consumer, monkeypatch) == (2, False)


async def test_who_waits_for_a_commit_is_told_that_it_has_ended(
    app: TocsinApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered = asyncio.Event()

    async def force_commit(*_arguments: Any, **_options: Any) -> bool:
        await answered.wait()
        return True

    monkeypatch.setattr(app.consumer, "force_commit", force_commit)
    commits = [asyncio.create_task(app.consumer.commit()) for _ in range(2)]
    await turns()
    answered.set()
    assert await asyncio.gather(*commits) == [True, False]


@pytest.mark.parametrize("waits", [True, False])
async def test_the_last_commit_is_not_left_to_one_that_began_before_the_drain(
    app: TocsinApp, monkeypatch: pytest.MonkeyPatch, waits: bool
) -> None:
    """Without waiting for it, the control, Faust takes the earlier one for enough."""
    begun, answered = [], asyncio.Event()

    async def force_commit(*_arguments: Any, **_options: Any) -> bool:
        begun.append(list(app.coordinator.calls))
        await answered.wait()
        return True

    monkeypatch.setattr(app.consumer, "force_commit", force_commit)
    earlier = asyncio.create_task(app.consumer.commit())
    await turns()
    if waits:
        last = asyncio.create_task(app.consumer.wait_empty())
    else:
        last = asyncio.create_task(app.consumer.commit())  # as Faust's own does
    await turns()
    answered.set()
    await asyncio.gather(earlier, last)
    assert begun == ([[], ["drain"]] if waits else [[]])


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


class Closable(SimpleNamespace):
    """As a real one, it can be a weak key."""

    __hash__ = object.__hash__


async def test_a_broker_that_knows_of_no_broker_is_asked_again(
    app: TocsinApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[set[str]] = [set(), {"one"}]
    closed: list[Any] = []

    async def started(thread: Any) -> None:
        brokers = told.pop(0)
        client = SimpleNamespace(cluster=SimpleNamespace(brokers=lambda: brokers), send=None)

        async def stop() -> None:
            closed.append(brokers)

        coordinator = SimpleNamespace(_do_commit_offsets=None, _on_join_complete=None)
        thread._consumer = Closable(
            _client=client, _coordinator=coordinator, _group_instance_id=None, stop=stop
        )

    monkeypatch.setattr(driver.AIOKafkaConsumerThread, "on_start", started)
    monkeypatch.setattr(connections, "_AGAIN_S", 0)
    thread = app.consumer._thread
    await thread.on_start()
    assert (told, closed) == ([], [set()])
    assert thread._consumer._client.cluster.brokers() == {"one"}


async def test_aiokafka_gives_up_a_group_when_it_knows_of_no_broker() -> None:
    """The control: if this fails, aiokafka asks again by itself, and the one above may go."""
    with pytest.raises(AssertionError, match="bootstrap"):
        await AIOKafkaClient().coordinator_lookup(0, "group")


@pytest.mark.parametrize(
    ("option", "stock", "ours"), [("_fetch_max_wait_ms", 1500, 200), ("_consumer_timeout", 0.2, 5.0)]
)
async def test_the_group_consumer_waits_and_looks_as_is_set_here(
    app: TocsinApp, option: str, stock: float, ours: float
) -> None:
    """It does not wait long for idle partitions, and does not look often at them."""
    thread = app.consumer._thread
    made = driver.AIOKafkaConsumerThread._create_worker_consumer(thread, app.transport)
    assert getattr(made, option) == stock
    assert getattr(thread._create_worker_consumer(app.transport), option) == ours
    assert option in aiokafka.AIOKafkaConsumer.start.__code__.co_names


async def test_aiokafka_keeps_the_instance_id_and_the_coordinator_where_they_are_looked_for() -> None:
    made = aiokafka.AIOKafkaConsumer(group_id="g", group_instance_id="i")
    assert made._group_instance_id == "i"
    assert made._coordinator is None


def test_faust_keeps_the_consumer_where_it_is_looked_for() -> None:
    thread = driver.AIOKafkaConsumerThread
    assert "_consumer" in thread.on_start.__code__.co_names
    assert {"_consumer", "_ensure_consumer"} <= set(dir(thread))
    assert "_thread" in driver.ConsumerRebalanceListener.__init__.__code__.co_names


async def test_offsets_are_committed_with_the_id_of_their_topic(app: TocsinApp) -> None:
    """What was right when the offset was chosen, whatever comes between."""
    app.coordinator.offsets = {MANAGED: 6}
    chosen = app.consumer._filter_committable_offsets([])
    app.coordinator.commit_note = lambda _tp, _offset: "another one"
    committed: list[Any] = []

    async def commit(offsets: Any) -> None:
        committed.append(offsets)

    thread = app.consumer._thread
    made = thread._create_worker_consumer(app.transport)
    assert made.commit.func == thread._commit_with_ids
    thread._consumer = SimpleNamespace(
        commit=partial(thread._commit_with_ids, commit), assignment=lambda: {MANAGED, OTHER}
    )
    assert await thread._commit(chosen | {OTHER: 2})
    assert committed == [
        {MANAGED: OffsetAndMetadata(6, f"6 of {MANAGED.topic}"), OTHER: OffsetAndMetadata(2, "")}
    ]


async def test_what_was_committed_of_an_earlier_topic_of_the_name_is_not_taken_for_ours(
    app: TocsinApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh, stale, unmarked = (TP(MANAGED.topic, number) for number in range(3))
    found = {
        fresh: OffsetAndMetadata(5, "n" * 22 + "+70"),
        stale: OffsetAndMetadata(25, "o" * 22),
        unmarked: OffsetAndMetadata(7, ""),
    }

    async def fetch_committed_offsets(_tps: Any) -> Any:
        return found

    async def fetch_topics(_consumer: Any, names: set[str]) -> Any:
        return {name: TopicDescription(name, "n" * 22, 4, 1) for name in names}

    async def seek(_consumer: Any) -> None:
        consumer._committed_offset.update({fresh: 5, stale: 25, unmarked: 7})

    consumer, thread = app.consumer, app.consumer._thread
    monkeypatch.setattr(module, "fetch_topics", fetch_topics)
    monkeypatch.setattr(driver.Consumer, "perform_seek", seek)
    monkeypatch.setattr(consumer, "assignment", lambda: {*found, OTHER})
    monkeypatch.setattr(thread, "call_thread", lambda call, *arguments: call(*arguments))
    coordinator = SimpleNamespace(fetch_committed_offsets=fetch_committed_offsets)
    monkeypatch.setattr(thread, "_consumer", SimpleNamespace(_coordinator=coordinator))
    await consumer.perform_seek()
    assert consumer.topic_ids == {MANAGED.topic: "n" * 22}
    assert consumer.never_read == {fresh: 70}
    assert {tp: consumer._committed_offset[tp] for tp in found} == {fresh: 5, stale: None, unmarked: 7}
    # The control: Faust alone would go on behind what it takes for read, and commit nothing before it.
    await driver.Consumer.perform_seek(consumer)
    assert consumer._committed_offset[stale] == 25


@pytest.mark.parametrize("anew", [False, True])
async def test_the_group_is_joined_again_as_the_same_member_or_as_a_new_one(
    app: TocsinApp, monkeypatch: pytest.MonkeyPatch, anew: bool
) -> None:
    done: list[Any] = []

    async def updated() -> None:
        done.append("metadata")

    async def send(request: Any) -> None:
        done.append(type(request).__name__)

    coordinator = SimpleNamespace(
        _client=SimpleNamespace(force_metadata_update=updated),
        _send_req=send,
        generation=3,
        group_id="g",
        member_id="m",
        reset_generation=lambda: done.append("reset"),
        request_rejoin=lambda: done.append("rejoin"),
    )
    thread = app.consumer._thread
    monkeypatch.setattr(thread, "call_thread", lambda call, *arguments: call(*arguments))
    monkeypatch.setattr(thread, "_consumer", SimpleNamespace(_coordinator=coordinator))
    await app.consumer.rejoin(anew=anew)
    assert done == ["metadata", *(["LeaveGroupRequest", "reset"] if anew else []), "rejoin"]
    assert {"_send_req", "generation", "member_id", "reset_generation"} <= set(
        GroupCoordinator._maybe_leave_group.__code__.co_names
    )
    assert hasattr(GroupCoordinator, "request_rejoin")


@pytest.mark.parametrize("error", [TopicGoneError, TopicAuthorizationFailedError])
async def test_a_commit_that_some_topic_refuses_ends_nothing_and_is_tried_again(
    app: TocsinApp, monkeypatch: pytest.MonkeyPatch, error: type[KafkaError]
) -> None:
    refuses = [True]

    async def commit(_offsets: Any) -> None:
        if refuses[0]:
            raise error(MANAGED.topic)

    async def flush() -> None:
        pass

    consumer, thread = app.consumer, app.consumer._thread
    monkeypatch.setattr(type(app), "producer", SimpleNamespace(flush=flush))
    monkeypatch.setattr(consumer, "assignment", lambda: {MANAGED})
    monkeypatch.setattr(thread, "assignment", lambda: {MANAGED})
    monkeypatch.setattr(thread, "call_thread", lambda call, *arguments: call(*arguments))
    thread._consumer = SimpleNamespace(commit=partial(thread._commit_with_ids, commit))
    app.coordinator.offsets = {MANAGED: 6}
    for refuses[0], committed in ((True, False), (True, False), (False, True)):
        offered = consumer._filter_committable_offsets([])
        assert offered == {MANAGED: 6}
        assert await consumer._commit_offsets(offered) is committed
    assert consumer._filter_committable_offsets([]) == {}
    assert not app.should_stop


async def test_a_commit_for_a_topic_that_is_gone_is_not_tried_for_ever() -> None:
    async def commit(*_arguments: Any) -> None:
        raise UnknownTopicOrPartitionError("g")

    with pytest.raises(TopicGoneError) as caught:
        await module._do_commit_offsets(commit, None, {})
    assert not caught.value.retriable
    # The control: aiokafka tries again as long as an error is said to be retriable, and looks it up there.
    assert UnknownTopicOrPartitionError.retriable
    assert {"_do_commit_offsets", "retriable"} <= set(GroupCoordinator.commit_offsets.__code__.co_names)


@pytest.mark.parametrize("ours", [True, False], ids=["ours", "control"])
async def test_a_commit_that_is_cut_off_at_a_stop_is_logged_as_no_fault(app: TocsinApp, ours: bool) -> None:
    """The control is what aiokafka does: it shields a request, and looks no more when its caller is gone."""
    told: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context["message"]))
    begun, closed = asyncio.Event(), asyncio.Event()

    async def commit(*_arguments: Any) -> None:
        begun.set()
        await closed.wait()
        raise KafkaConnectionError("Connection closed")

    thread = app.consumer._thread
    coordinator = SimpleNamespace(
        _do_commit_offsets=partial(thread._committing, commit) if ours else commit,
        _commit_lock=asyncio.Lock(),
        ensure_coordinator_known=lambda: asyncio.sleep(0),
    )
    waits = asyncio.ensure_future(GroupCoordinator.commit_offsets(coordinator, None, {}))
    await begun.wait()
    waits.cancel()
    await asyncio.wait([waits])
    await thread.on_thread_stop()
    closed.set()
    await turns()
    assert not thread._commits
    del waits
    gc.collect()
    assert bool(told) is not ours, told


@pytest.mark.parametrize("kind", [ConsumerThread, driver.AIOKafkaConsumerThread])
async def test_a_thread_whose_loop_is_closed_can_be_stopped(app: TocsinApp, kind: Any) -> None:
    """It has failed; stock Faust logs a traceback then."""
    thread = kind(app.consumer, loop=asyncio.get_running_loop())
    thread.thread_loop = asyncio.new_event_loop()
    thread.thread_loop.close()
    if kind is ConsumerThread:
        thread._stopped_set()
    else:
        with pytest.raises(RuntimeError, match="closed"):
            thread._stopped_set()
