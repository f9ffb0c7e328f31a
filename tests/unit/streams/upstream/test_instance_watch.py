"""A worker notices that another process has its instance id; also the private parts of aiokafka in use."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.cluster import ClusterMetadata
from aiokafka.consumer.group_coordinator import CoordinatorGroupRebalance, GroupCoordinator
from aiokafka.consumer.subscription_state import SubscriptionState
from aiokafka.errors import CommitFailedError, KafkaError, UnknownError, for_code
from aiokafka.protocol.commit import OffsetCommitRequest, OffsetCommitResponse_v3
from aiokafka.protocol.group import (
    HeartbeatRequest,
    HeartbeatResponse_v1,
    JoinGroupRequest,
    JoinGroupResponse_v5,
    SyncGroupRequest,
    SyncGroupResponse_v3,
)
from aiokafka.structs import OffsetAndMetadata, TopicPartition
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from streams.settings import load_settings
from streams.upstream.instance_watch import (
    FENCED_INSTANCE,
    UNKNOWN_MEMBER,
    InstanceWatch,
    StaticHeartbeat,
    watch_instance,
)
from tocsin.app import make_app


class FakeClient:
    """The client inside aiokafka's coordinator: answers by the kind of request."""

    def __init__(self) -> None:
        self.cluster = ClusterMetadata()
        self.answers: dict[type, Callable[[], Any]] = {}
        self.asked: list[type] = []

    async def send(self, _node: int, request: Any, **_options: Any) -> Any:
        self.asked.append(type(request))
        return self.answers[type(request)]()

    def answer(self, heartbeat: int, static: int) -> None:
        self.answers[HeartbeatRequest] = lambda: HeartbeatResponse_v1(0, heartbeat)
        self.answers[StaticHeartbeat] = lambda: (
            StaticHeartbeat("g", 1, "m", "i")
            .prepare({HeartbeatRequest.API_KEY: (0, 4)})
            .RESPONSE_TYPE(0, static)
        )


class Watched:
    """aiokafka's real coordinator, a member of a group, with a watch over its instance id."""

    def __init__(self) -> None:
        self.client = FakeClient()
        self.subscription = SubscriptionState()
        self.subscription.subscribe({"notifications.debug"})
        self.assignor = SimpleNamespace(name="a", metadata=lambda _topics: b"")
        self.coordinator = GroupCoordinator(
            self.client, self.subscription, group_id="g", group_instance_id="i", assignors=(self.assignor,)
        )
        self.coordinator._coordination_task.cancel()
        self.coordinator.coordinator_id = 1
        self.coordinator.generation, self.coordinator.member_id = 7, "m"
        self.told: list[str] = []
        self.watch = InstanceWatch(self.coordinator, lambda: self.told.append("fenced"))

    async def join(self) -> Any:
        """What aiokafka does when it joins."""
        coordinator = self.coordinator
        return await CoordinatorGroupRebalance(
            coordinator, "g", 1, self.subscription.subscription, coordinator._assignors, 6000, 1
        ).perform_group_join()

    async def commit(self) -> None:
        """What aiokafka does when it commits."""
        place = TopicPartition("notifications.debug", 0)
        await self.coordinator.commit_offsets(None, {place: OffsetAndMetadata(5, "")})


@pytest.fixture
async def watched() -> AsyncIterator[Watched]:
    made = Watched()
    yield made
    await asyncio.gather(made.coordinator._coordination_task, return_exceptions=True)


def test_aiokafka_does_not_know_that_an_instance_was_fenced() -> None:
    """When it does, or names the instance id in heartbeats, the watch can go, or must change."""
    assert for_code(FENCED_INSTANCE) is UnknownError
    assert for_code(UNKNOWN_MEMBER).message == "UNKNOWN_MEMBER_ID"
    assert max(each.API_VERSION for each in HeartbeatRequest._CLASSES) < 3
    assert max(each.API_VERSION for each in OffsetCommitRequest._CLASSES) < 7


async def test_a_heartbeat_tells_that_another_one_has_the_instance_id(watched: Watched) -> None:
    watched.client.answer(heartbeat=UNKNOWN_MEMBER, static=FENCED_INSTANCE)
    assert not await watched.coordinator._do_heartbeat()
    assert watched.told == ["fenced"]
    assert watched.client.asked == [HeartbeatRequest, StaticHeartbeat]


async def test_without_the_watch_a_heartbeat_only_leads_to_another_join(watched: Watched) -> None:
    """The control: how two processes came to fight."""
    watched.client.answer(heartbeat=UNKNOWN_MEMBER, static=FENCED_INSTANCE)
    watched.coordinator._send_req = watched.watch._send
    assert not await watched.coordinator._do_heartbeat()
    assert watched.told == []
    assert watched.coordinator.need_rejoin(watched.subscription.subscription)


async def test_a_session_that_ran_out_leads_to_another_join(watched: Watched) -> None:
    watched.client.answer(heartbeat=UNKNOWN_MEMBER, static=UNKNOWN_MEMBER)
    assert not await watched.coordinator._do_heartbeat()
    assert watched.told == []
    assert watched.coordinator.member_id == ""


async def test_a_commit_tells_it(watched: Watched) -> None:
    watched.client.answer(heartbeat=0, static=FENCED_INSTANCE)
    watched.client.answers[OffsetCommitRequest] = lambda: OffsetCommitResponse_v3(
        0, [("notifications.debug", [(0, UNKNOWN_MEMBER)])]
    )
    with pytest.raises(CommitFailedError, match="already rebalanced"):
        await watched.commit()
    assert watched.told == ["fenced"]


@pytest.mark.parametrize("member", ["", "m"])
async def test_a_join_tells_it(watched: Watched, member: str) -> None:
    watched.coordinator.member_id = member
    watched.client.answers[JoinGroupRequest] = lambda: JoinGroupResponse_v5(
        0, FENCED_INSTANCE, 7, "a", "", member, []
    )
    assert await watched.join() is None
    assert watched.told == ["fenced"]


async def test_a_sync_tells_it(watched: Watched) -> None:
    watched.client.answers[JoinGroupRequest] = lambda: JoinGroupResponse_v5(0, 0, 8, "a", "other", "m2", [])
    watched.client.answers[SyncGroupRequest] = lambda: SyncGroupResponse_v3(0, FENCED_INSTANCE, b"")
    assert await watched.join() is None
    assert watched.told == ["fenced"]


async def test_whoever_was_fenced_asks_the_group_for_nothing_more(watched: Watched) -> None:
    watched.client.answer(heartbeat=UNKNOWN_MEMBER, static=FENCED_INSTANCE)
    await watched.coordinator._do_heartbeat()
    asked = len(watched.client.asked)
    join = asyncio.create_task(watched.join())
    for _ in range(100):
        await asyncio.sleep(0)
    assert not join.done()
    watched.coordinator._closing.set_result(None)
    assert await join is None
    assert len(watched.client.asked) == asked
    assert watched.told == ["fenced"]


async def test_a_commit_of_the_fenced_that_was_given_up_is_not_logged_as_an_error(watched: Watched) -> None:
    logged: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: logged.append(context))
    watched.watch.fenced = True
    before = asyncio.all_tasks()
    commit = asyncio.create_task(watched.commit())
    async with asyncio.timeout(20):
        while len(tasks := asyncio.all_tasks() - before) < 2:  # the commit, and what it shields
            await asyncio.sleep(0)
        commit.cancel()
        watched.coordinator._closing.set_result(None)
        await asyncio.wait(tasks)
    assert commit.cancelled()
    tasks.discard(commit)
    (shielded,) = tasks
    assert not shielded.cancelled()
    del tasks, shielded, commit
    gc.collect()
    assert logged == []


async def test_a_join_of_our_own_that_got_lost_is_not_taken_for_another_process(watched: Watched) -> None:
    def lost() -> Any:
        raise KafkaError("the connection was cut")

    watched.coordinator.member_id = ""
    watched.client.answers[JoinGroupRequest] = lost
    assert await watched.join() is None
    watched.coordinator.coordinator_id, watched.coordinator.member_id = 1, "m3"
    watched.client.answer(heartbeat=UNKNOWN_MEMBER, static=FENCED_INSTANCE)
    assert not await watched.coordinator._do_heartbeat()
    assert watched.told == []
    assert watched.coordinator.member_id == ""
    # Once: whoever has it the second time is somebody else.
    watched.coordinator.member_id = "m4"
    assert not await watched.coordinator._do_heartbeat()
    assert watched.told == ["fenced"]


async def test_an_answer_to_who_we_were_before_joining_anew_is_no_sign(watched: Watched) -> None:
    watched.client.answer(heartbeat=UNKNOWN_MEMBER, static=FENCED_INSTANCE)
    answer = watched.client.answers[HeartbeatRequest]

    def late() -> Any:
        watched.coordinator.member_id = "m2"
        return answer()

    watched.client.answers[HeartbeatRequest] = late
    await watched.coordinator._do_heartbeat()
    assert watched.told == []


def test_a_consumer_of_aiokafka_is_watched_over_by_its_coordinator() -> None:
    coordinator = SimpleNamespace(_send_req=None)
    watch_instance(SimpleNamespace(_coordinator=coordinator), lambda: None)
    assert coordinator._send_req.__self__._coordinator is coordinator


async def test_a_worker_with_an_instance_id_is_watched_from_its_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def started(thread: Any) -> None:
        thread._consumer = SimpleNamespace(
            _group_instance_id=thread.app.conf.consumer_group_instance_id,
            _coordinator=SimpleNamespace(_send_req=None, _do_commit_offsets=None, _on_join_complete=None),
            _client=SimpleNamespace(cluster=SimpleNamespace(brokers=lambda: {"one"}), send=None),
        )

    monkeypatch.setattr(driver.AIOKafkaConsumerThread, "on_start", started)
    for instance in (None, "worker-0"):
        app = make_app(load_settings(data_dir=tmp_path / "data", brokers="127.0.0.1:1", instance_id=instance))
        thread = app.consumer._thread
        await thread.on_start()
        assert (thread.instance_watch is not None) == (instance is not None)
        if thread.instance_watch is not None:
            assert thread._consumer._coordinator._send_req == thread.instance_watch.send
            thread.instance_watch.fenced = True
            assert not await thread._commit({TP("notifications.debug", 3): 5})
