"""Traffic through a worker: rebalances, the drain, live weights. Lanes and Faust are stand-ins here."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from aiokafka.errors import KafkaConnectionError
from faust.types import TP

from streams.notifications import Priority
from streams.settings import Settings, load_settings
from streams.transport import traffic as module
from streams.transport import turns as turns_module
from streams.transport.traffic import Traffic
from streams.upstream import connections

DEBUG = TP("notifications.debug", 0)
#: Service time that batches are cut to.
FULL_BATCH_S = 0.002


class Lane:
    """A lane that fetches nothing, and can be held up while it connects."""

    hold: asyncio.Event | None = None
    #: How often no broker is there when a lane connects.
    away = 0

    def __init__(self, priority: Priority, topic: str, scheduler: Any, _options: Any, **_kwargs: Any) -> None:
        self.priority, self.topic, self.scheduler = priority, topic, scheduler
        self.positions: dict[int, int] = {}

    async def assign(self, offsets: Mapping[int, int | None], _topic_id: str | None, *_: object) -> None:
        if Lane.hold is not None:
            await Lane.hold.wait()
        if Lane.away > 0:
            Lane.away -= 1
            raise KafkaConnectionError("no broker")
        self.scheduler.assign(self.priority, offsets)
        self.positions = {partition: offset or 0 for partition, offset in offsets.items()}

    async def revoke(self) -> None:
        self.scheduler.revoke(self.priority, list(self.positions))
        self.positions = {}

    def has_room(self) -> None:
        pass

    #: Priorities of which something may have come.
    arrivals: ClassVar[dict[Priority, bool]] = {}

    def has_arrivals(self) -> bool:
        return self.arrivals.get(self.priority, False)

    def end_offset(self, partition: int) -> int | None:
        return 10 if partition in self.positions else None

    #: Partition -> from where to before where transactions have left nothing to read.
    markers: ClassVar[dict[int, tuple[int, int]]] = {}

    def with_markers(self) -> list[int]:
        return list(self.markers)

    def past_markers(self, partition: int, offset: int) -> int:
        first, end = self.markers.get(partition, (0, 0))
        return end if first == offset else offset

    def started_at(self, partition: int) -> int | None:
        return self.positions.get(partition)


class Work:
    """Work that only says what it was told."""

    def __init__(self) -> None:
        self.calls: list[Any] = []

    def open(self, assigned: set[TP], _committed: Any, _topic_ids: Any) -> None:
        self.calls.append(("open", assigned))

    async def finish(self, deadline_s: float) -> None:
        self.calls.append(("finish", deadline_s > 0))

    def close(self) -> None:
        self.calls.append("close")


class Harness:
    """A traffic between stand-ins."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
        Lane.hold = None
        Lane.away = 0
        self.delivered: list[Any] = []
        self.app = SimpleNamespace(consumer_generation_id=1, rebalancing=False, should_stop=False)
        self.work = Work()
        monkeypatch.setattr(module, "FetchLane", Lane)
        monkeypatch.setattr(module, "batch_message", lambda _app, batch, *_rest: batch)
        monkeypatch.setattr(module, "deliver", self.deliver)
        self.traffic = Traffic(self.app, settings, self.work, {}, followed=["partials"])  # type: ignore[arg-type]
        self.accepts = True

    async def deliver(self, _app: Any, batch: Any) -> bool:
        if self.accepts:
            self.delivered.append(batch)
        return self.accepts

    def fetched(self, count: int, priority: Priority = Priority.DEBUG, partition: int = 0) -> None:
        records = [
            SimpleNamespace(offset=n, timestamp=1, timestamp_type=1, value=b"{}") for n in range(count)
        ]
        self.traffic.scheduler.add(priority, partition, records, 100 * count)
        self.traffic._wake()

    async def turns_to_the_next(self, service_s: float) -> int:
        """Turns of the event loop from the end of the latest batch to the dispatch of the next."""
        before = len(self.delivered)
        self.traffic.done(self.delivered[-1], service_s)
        turns = 0
        while len(self.delivered) == before:
            assert turns < 100, "nothing is dispatched"
            await asyncio.sleep(0)
            turns += 1
        return turns


@pytest.fixture
async def harness(monkeypatch: pytest.MonkeyPatch) -> Any:
    made = Harness(monkeypatch, load_settings(drain_deadline_s=1.0))
    await made.traffic.start()
    yield made
    await made.traffic.stop()


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_nothing_is_dispatched_before_the_assignment_is_taken_up(harness: Harness) -> None:
    harness.traffic.scheduler.assign(Priority.DEBUG, [0])
    harness.fetched(3)
    await settle()
    assert harness.delivered == []


async def test_a_batch_is_dispatched_and_the_next_only_when_it_is_done(harness: Harness) -> None:
    await harness.traffic.on_ready({DEBUG}, {DEBUG: 0}, {})
    harness.fetched(1000)
    await settle()
    assert len(harness.delivered) == 1
    harness.traffic.done(harness.delivered[0], 0.001)
    await settle()
    assert len(harness.delivered) == 2
    first, second = harness.delivered
    assert second.records[0].offset == first.records[-1].offset + 1


async def test_while_a_batch_waits_for_confirmations_others_are_served(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And its class is not charged with the outage: else all others had their share of it first."""
    now = 100.0
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now, time=lambda: now))
    critical, error = (TP(f"notifications.{name}", 0) for name in ("critical", "error"))
    await harness.traffic.on_ready({critical, error}, {critical: 0, error: 0}, {})
    harness.fetched(1, Priority.ERROR)
    await settle()
    (waiting,) = harness.delivered
    waiting.taken = True
    harness.fetched(1, Priority.CRITICAL)
    await settle()
    assert len(harness.delivered) == 1
    harness.traffic.waiting(error, True)
    await settle()
    assert [each.priority for each in harness.delivered] == [Priority.ERROR, Priority.CRITICAL]
    harness.traffic.done(harness.delivered[1], FULL_BATCH_S)
    now = 160.0
    harness.traffic.waiting(error, False)
    harness.traffic.waiting(error, False)
    assert waiting.parked_s == 60.0
    harness.traffic.done(waiting, FULL_BATCH_S)
    harness.fetched(1, Priority.ERROR)
    await settle()
    assert len(harness.delivered) == 3
    # Of a batch that was given up there is nothing to say.
    harness.traffic.waiting(critical, True)
    assert harness.traffic.scheduler.in_flight == 1


@pytest.mark.parametrize(("turns", "served_next"), [(None, Priority.CRITICAL), (0, Priority.DEBUG)])
async def test_critical_on_its_way_through_the_client_passes_before_the_next_batch(
    harness: Harness, monkeypatch: pytest.MonkeyPatch, turns: int | None, served_next: Priority
) -> None:
    """The control leaves no turns of the event loop between batches."""
    if turns is not None:
        monkeypatch.setattr(turns_module, "TURNS_BETWEEN", turns)
    critical = TP("notifications.critical", 0)
    await harness.traffic.on_ready({DEBUG, critical}, {DEBUG: 0, critical: 0}, {})
    harness.fetched(1000)
    await settle()

    async def on_its_way() -> None:
        for _ in range(12):  # from the socket to the lane
            await asyncio.sleep(0)
        harness.fetched(1, Priority.CRITICAL)

    way = asyncio.create_task(on_its_way())
    harness.traffic.done(harness.delivered[0], FULL_BATCH_S)
    await way
    await settle()
    assert harness.delivered[1].priority is served_next


#: Turns in which the dispatcher takes notice, whatever else it waits for.
A_FEW = 3


def assign(harness: Harness, *priorities: Priority, partitions: int = 1) -> Any:
    every = {
        TP(f"notifications.{priority.lower()}", number)
        for priority in (*priorities, Priority.DEBUG)
        for number in range(partitions)
    }
    return harness.traffic.on_ready(every, dict.fromkeys(every, 0), {})


@pytest.mark.parametrize(("too_urgent", "fewest", "most"), [(None, 0, A_FEW), (lambda *_: False, 12, 99)])
async def test_critical_of_other_partitions_is_served_with_no_turns_between(
    harness: Harness, monkeypatch: pytest.MonkeyPatch, too_urgent: Any, fewest: int, most: int
) -> None:
    """The control leaves turns after each batch, whoever waits: the last of eight then waited for 128."""
    if too_urgent is not None:
        monkeypatch.setattr(harness.traffic, "_too_urgent", too_urgent)
    await assign(harness, Priority.CRITICAL, partitions=8)
    for partition in range(8):
        harness.fetched(1, Priority.CRITICAL, partition)
    await settle()
    for _ in range(4):
        turns = await harness.turns_to_the_next(FULL_BATCH_S)
        assert fewest <= turns <= most
    assert {batch.priority for batch in harness.delivered} == {Priority.CRITICAL}


async def test_short_batches_follow_each_other_until_they_make_half_a_full_one(harness: Harness) -> None:
    """ERROR with one record a partition: with all turns after each, eight took as long as eight batches."""
    await assign(harness, Priority.ERROR, partitions=8)
    for partition in range(8):
        harness.fetched(1, Priority.ERROR, partition)
    await settle()
    waited = [await harness.turns_to_the_next(FULL_BATCH_S / 10) for _ in range(7)]
    assert [turns > A_FEW for turns in waited] == [False] * 4 + [True] + [False] * 2
    harness.fetched(1000)
    assert await harness.turns_to_the_next(FULL_BATCH_S / 10) >= turns_module.TURNS_BETWEEN
    assert harness.delivered[-1].priority is Priority.DEBUG


async def test_what_comes_meanwhile_and_is_more_urgent_is_served_at_once(harness: Harness) -> None:
    await assign(harness, Priority.ERROR)
    harness.fetched(1000)
    await settle()
    asyncio.get_running_loop().call_soon(harness.fetched, 1, Priority.ERROR)
    assert await harness.turns_to_the_next(FULL_BATCH_S) <= A_FEW
    assert harness.delivered[-1].priority is Priority.ERROR


async def test_what_has_waited_before_leaves_critical_on_its_way_the_turns_it_needs(harness: Harness) -> None:
    """With ERROR backlogged as well, CRITICAL would else meet a batch of DEBUG and of ERROR on its way."""
    await assign(harness, Priority.ERROR)
    harness.fetched(1000, Priority.ERROR)
    harness.fetched(1000)
    await settle()
    while harness.delivered[-1].priority is not Priority.DEBUG:
        await harness.turns_to_the_next(FULL_BATCH_S)
    assert await harness.turns_to_the_next(FULL_BATCH_S) >= turns_module.TURNS_BETWEEN
    assert harness.delivered[-1].priority is Priority.ERROR


async def test_a_rebalance_while_lanes_connect_opens_nothing(harness: Harness) -> None:
    Lane.hold = asyncio.Event()
    ready = asyncio.create_task(harness.traffic.on_ready({DEBUG}, {DEBUG: 0}, {}))
    await settle()
    harness.app.consumer_generation_id = 2
    Lane.hold.set()
    await ready
    harness.fetched(3)
    await settle()
    assert not harness.traffic.ready.is_set()
    assert harness.delivered == []


async def test_stopping_while_lanes_connect_opens_nothing(harness: Harness) -> None:
    Lane.hold = asyncio.Event()
    ready = asyncio.create_task(harness.traffic.on_ready({DEBUG}, {DEBUG: 0}, {}))
    await settle()
    harness.app.should_stop = True
    Lane.hold.set()
    await ready
    assert not harness.traffic.ready.is_set()


async def test_revoking_frees_the_slot_of_a_batch_that_no_agent_will_finish(harness: Harness) -> None:
    await harness.traffic.on_ready({DEBUG}, {DEBUG: 0}, {})
    harness.fetched(10)
    await settle()
    await harness.traffic.on_revoked()
    assert harness.work.calls[-1] == "close"
    assert harness.traffic.scheduler.in_flight == 0
    harness.traffic.done(harness.delivered[0], 0.001)  # the agent comes back after all
    await harness.traffic.on_ready({DEBUG}, {DEBUG: 5}, {})
    harness.fetched(10)
    await settle()
    assert len(harness.delivered) == 2


async def test_the_drain_waits_for_the_batch_in_flight_then_makes_it_durable(harness: Harness) -> None:
    await harness.traffic.on_ready({DEBUG}, {DEBUG: 0}, {})
    harness.fetched(1000)
    await settle()
    harness.delivered[0].taken = True
    drain = asyncio.create_task(harness.traffic.drain())
    await settle()
    assert ("finish", True) not in harness.work.calls
    harness.traffic.done(harness.delivered[0], 0.001)
    await drain
    assert harness.work.calls[-1] == ("finish", True)
    await settle()
    assert len(harness.delivered) == 1


async def test_the_drain_does_not_wait_for_a_batch_that_no_agent_took(harness: Harness) -> None:
    await harness.traffic.on_ready({DEBUG}, {DEBUG: 0}, {})
    harness.fetched(10)
    await settle()
    drain = asyncio.create_task(harness.traffic.drain())
    await settle()
    assert drain.done()
    assert harness.traffic.scheduler.in_flight == 0


async def test_a_hung_agent_does_not_hold_the_drain_past_its_deadline(harness: Harness) -> None:
    await harness.traffic.on_ready({DEBUG}, {DEBUG: 0}, {})
    harness.fetched(10)
    await settle()
    harness.delivered[0].taken = True
    await asyncio.wait_for(harness.traffic.drain(), 30)
    assert harness.work.calls[-1] == ("finish", True)


async def test_a_batch_that_cannot_be_delivered_stops_dispatching(harness: Harness) -> None:
    await harness.traffic.on_ready({DEBUG}, {DEBUG: 0}, {})
    harness.accepts = False
    harness.fetched(10)
    await settle()
    harness.accepts = True
    harness.fetched(10)
    await settle()
    assert harness.delivered == []
    assert harness.traffic.scheduler.in_flight == 0


async def test_when_dispatching_fails_the_worker_is_ended(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed: list[BaseException] = []
    harness.app.fail = failed.append

    async def broken(_app: Any, _batch: Any) -> bool:
        raise RuntimeError("broken")

    monkeypatch.setattr(module, "deliver", broken)
    await harness.traffic.on_ready({DEBUG}, {DEBUG: 0}, {})
    harness.fetched(10)
    await settle()
    assert [str(error) for error in failed] == ["broken"]


async def test_weights_and_mode_change_while_it_runs(harness: Harness) -> None:
    harness.traffic.set_profile(load_settings(profile="strict-with-floor", weights="critical=40"))
    assert harness.traffic.snapshot()[Priority.CRITICAL].weight == 40
    assert harness.traffic.scheduler.mode == "strict-with-floor"


async def test_markers_are_no_lag_and_are_committed_behind_the_last_record(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    traffic = harness.traffic
    await traffic.on_ready({DEBUG}, {DEBUG: 4}, {})
    assert traffic.past_markers({DEBUG: 6}) == {DEBUG: 6}
    monkeypatch.setattr(Lane, "markers", {DEBUG.partition: (4, 9)})
    assert traffic.lag(Priority.DEBUG)[0] == 1
    # Nothing was counted yet, and nothing else lies there; or all before them is; or not.
    assert traffic.past_markers({}) == {DEBUG: 9}
    assert traffic.past_markers({DEBUG: 4}) == {DEBUG: 9}
    assert traffic.past_markers({DEBUG: 3}) == {DEBUG: 3}


async def test_lag_counts_what_is_buffered_and_what_is_not_fetched(harness: Harness) -> None:
    await harness.traffic.on_ready({DEBUG}, {DEBUG: 4}, {})
    assert harness.traffic.lag(Priority.DEBUG) == (6, 0.0)
    assert harness.traffic.lag(Priority.CRITICAL) == (0, 0.0)


async def test_a_buffered_record_without_a_time_has_no_age(harness: Harness) -> None:
    """Of the oldest form of records on a broker, the client says no time."""
    harness.traffic.scheduler.assign(Priority.DEBUG, [0, 1])
    for partition, timestamp in enumerate((None, 1000)):
        record = SimpleNamespace(offset=0, timestamp=timestamp, timestamp_type=1, value=b"{}")
        harness.traffic.scheduler.add(Priority.DEBUG, partition, [record], 100)
    _, age_s = harness.traffic.lag(Priority.DEBUG)
    assert age_s > 1e9


async def test_lanes_fetch_notifications_and_what_is_followed(harness: Harness) -> None:
    assert harness.traffic.fetches("partials")
    assert harness.traffic.fetches("notifications.debug")
    assert not harness.traffic.fetches("other")


async def test_brokers_that_go_while_lanes_connect_are_waited_for(
    harness: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "_AGAIN_S", 0.0)
    Lane.away = 4
    await harness.traffic.on_ready({DEBUG}, {DEBUG: 3}, {})
    assert harness.traffic.ready.is_set()
    assert harness.traffic._lanes[Priority.DEBUG].positions == {0: 3}


@pytest.mark.parametrize("what", ["rebalancing", "should_stop"])
async def test_lanes_are_not_connected_for_an_assignment_that_has_ended(
    harness: Any, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.setattr(connections, "_AGAIN_S", 0.0)
    Lane.away = 10**9
    taking_up = asyncio.create_task(harness.traffic.on_ready({DEBUG}, {DEBUG: 3}, {}))
    for _ in range(20):
        await asyncio.sleep(0)
    assert not taking_up.done()
    setattr(harness.app, what, True)
    await taking_up
    assert not harness.traffic.ready.is_set()
    assert harness.traffic._lanes[Priority.DEBUG].positions == {}
