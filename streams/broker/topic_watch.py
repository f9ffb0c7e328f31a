"""Watches the topics of a worker while it runs: whether they are there, are the same ones, and may be used.

Kafka tells nobody that a topic was deleted, made again, or may no longer be read: requests fail, or go on in
another topic of the same name. So every few seconds a broker is asked for all topics in one request.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from aiokafka import AIOKafkaClient
from aiokafka.errors import KafkaError

from streams.broker.topic_plan import TopicSpec, access
from streams.broker.topic_problems import topic_fault
from streams.cancellation import cancellable, end
from streams.log_lines import BOUNDED
from streams.upstream.clients import connect_client
from streams.upstream.topic_ids import NOT_AUTHORISED, UNKNOWN_TOPIC, TopicDescription, fetch_topics

log = logging.getLogger(__name__)

_ASK_INTERVAL_S = 2.0
_ANSWER_MS = 5000
#: Brokers learn of topics one after the other, so what is seen counts when it is seen twice in a row.
_LOOKS = 2
#: Seconds after which it is tried again to take a topic up.
_AGAIN_S = 10.0
#: Seconds after which a trouble is said again.
_SAY_AGAIN_S = 60.0


class TopicLostError(Exception):
    """A topic that holds counts was deleted and made again under a running worker."""


@dataclass(frozen=True, slots=True)
class Findings:
    """What looking at the topics has shown.

    Attributes:
        troubles: by topic, one sentence on why it cannot be used.
        reopen: topics that are to be taken up by a new assignment: there, and not worked on as they are.
        lost: topics that held counts and are others now.
    """

    troubles: Mapping[str, str] = field(default_factory=dict)
    reopen: Sequence[str] = field(default_factory=list)
    lost: Sequence[str] = field(default_factory=list)


class TopicStates:
    """Judges what brokers say of topics, one look after the other. Pure.

    Args:
        plan: the topics that the worker uses.
        ids: id of each when the worker started, by name.
    """

    def __init__(self, plan: Iterable[TopicSpec], ids: Mapping[str, str]) -> None:
        self._plan = [spec for spec in plan if (spec.reads or spec.writes) and not spec.optional]
        self._ids = ids
        #: What was seen last of a topic, and how many times in a row.
        self._seen: dict[str, tuple[object, int]] = {}

    def names(self) -> list[str]:
        """The topics to ask for."""
        return [spec.name for spec in self._plan]

    def looked(
        self,
        found: Mapping[str, TopicDescription],
        working: Mapping[str, str] | None,
        unassigned: Collection[str] = (),
    ) -> Findings:
        """Judge a look.

        Args:
            found: as a broker describes the topics.
            working: id by name, of the topics that are worked on; None while there is no assignment.
            unassigned: topics of which some partition is nobody's in the group.
        """
        troubles: dict[str, str] = {}
        reopen: list[str] = []
        lost: list[str] = []
        for spec in self._plan:
            topic = found[spec.name]
            trouble = self._trouble(spec, topic)
            if trouble is not None:
                if self._again(spec.name, trouble):
                    troubles[spec.name] = trouble
                    if spec.notifications and working is not None and working.get(spec.name) and topic.error:
                        reopen.append(spec.name)  # to let it go: nothing more can be read of it
            elif topic.error is not None:
                continue  # no leader yet, or the like: it says nothing new of the topic
            elif self._again(spec.name, (topic.topic_id, spec.name in unassigned)):
                if spec.state and topic.topic_id != self._ids.get(spec.name):
                    lost.append(spec.name)
                elif working is not None and (
                    spec.name in unassigned
                    or (spec.notifications and topic.topic_id != working.get(spec.name))
                ):
                    reopen.append(spec.name)
        return Findings(troubles, reopen, lost)

    def _again(self, name: str, seen: object) -> bool:
        before, times = self._seen.get(name, (None, 0))
        times = times + 1 if before == seen else 1
        self._seen[name] = seen, times
        return times >= _LOOKS

    def _trouble(self, spec: TopicSpec, topic: TopicDescription) -> str | None:
        name = spec.name
        if topic.error == UNKNOWN_TOPIC:
            return f"The topic {name} is gone: make it again with `tocsin topics apply`."
        if topic.error == NOT_AUTHORISED:
            return f"The topic {name} may not be seen by this user: grant {access(spec)} on it."
        if topic.error is not None:
            return None
        return topic_fault(topic, reads=spec.reads, writes=spec.writes)


class Watched(Protocol):
    """The worker, as far as the watch has to do with it."""

    def working_ids(self) -> Mapping[str, str] | None:
        """Id by name, of the topics that are worked on; None while there is no assignment."""

    def unassigned(self) -> Collection[str]:
        """Topics of which some partition is nobody's in the group; none while there is no assignment."""

    async def take_up(self, *, anew: bool) -> None:
        """Get another assignment; ``anew`` as a new member of the group, so that all members get one."""

    def fail(self, error: BaseException) -> None:
        """End the worker."""


class TopicWatch:
    """Asks for the topics every 2 s, over a connection of its own, and lets the worker do what is needed.

    Args:
        options: of the Kafka client.
        clock: seconds, only for differences.
        how: how topics are taken up as they are now, for the log.
    """

    def __init__(
        self,
        options: dict[str, Any],
        clock: Callable[[], float] = time.monotonic,
        *,
        how: str = "the group is joined anew",
    ) -> None:
        self._how = how
        self._options = options | {"request_timeout_ms": _ANSWER_MS}
        self._clock = clock
        self._task: asyncio.Task[None] | None = None
        #: By topic, why it cannot be used; empty while all can.
        self.troubles: Mapping[str, str] = {}
        #: Number of partitions of each topic, as seen last; of one that cannot be seen, as it was before.
        self.counts: Mapping[str, int] = {}
        self._say_at: dict[str, float] = {}
        self._reopen_at = 0.0

    def start(self, states: TopicStates, worker: Watched, counts: Mapping[str, int]) -> None:
        """Watch in the background.

        Args:
            states: judges what is seen.
            worker: does what is needed.
            counts: number of partitions of each topic at the start.
        """
        self.counts = counts
        self._task = asyncio.create_task(self._watch(states, worker), name="topic-watch")

    async def stop(self) -> None:
        """Watch no longer."""
        await end(self._task)

    async def _watch(self, states: TopicStates, worker: Watched) -> None:
        client: AIOKafkaClient | None = None
        names = states.names()
        try:
            while True:
                await asyncio.sleep(_ASK_INTERVAL_S)
                try:
                    if client is None:
                        client = await connect_client(self._options, names[0])
                    found = await fetch_topics(client, names)
                except (KafkaError, OSError, TimeoutError):
                    # Whoever watches the brokers says that they are away. They may come back elsewhere.
                    gone, client = client, None
                    if gone is not None:
                        with cancellable():
                            await gone.close()
                    continue
                self.counts = {**self.counts, **partitions_in(found)}
                await self._act(states.looked(found, worker.working_ids(), worker.unassigned()), worker)
        finally:
            if client is not None:
                await client.close()

    async def _act(self, findings: Findings, worker: Watched) -> None:
        now = self._clock()
        self._say(findings.troubles, now)
        if findings.lost:
            worker.fail(TopicLostError(lost(findings.lost)))
            return
        if not findings.reopen or now < self._reopen_at:
            return
        self._reopen_at = now + _AGAIN_S
        log.warning(
            "Taking up %s as it is now: %s.",
            ", ".join(findings.reopen),
            self._how,
            extra=BOUNDED,
        )
        with contextlib.suppress(KafkaError, TimeoutError):
            await worker.take_up(anew=True)

    def _say(self, troubles: Mapping[str, str], now: float) -> None:
        for name in self.troubles.keys() - troubles.keys():
            self._say_at.pop(name, None)
            log.warning("The topic %s can be used again.", name, extra=BOUNDED)
        for name, trouble in troubles.items():
            if now >= self._say_at.get(name, 0.0):
                self._say_at[name] = now + _SAY_AGAIN_S
                log.warning("%s", trouble, extra=BOUNDED)
        self.troubles = troubles


def partitions_in(found: Mapping[str, TopicDescription]) -> dict[str, int]:
    """Number of partitions of each topic that can be seen and used."""
    return {name: topic.partitions for name, topic in found.items() if topic.error is None}


def lost(topics: Sequence[str]) -> str:
    """The sentence for topics that held counts and are others now."""
    who = f"The topic {topics[0]} was" if len(topics) == 1 else f"The topics {', '.join(topics)} were"
    return (
        f"{who} deleted and made again while this worker ran, and what was counted there is lost: "
        "stop all workers and give them a new TOCSIN_APP_ID and a new TOCSIN_EVENT_COUNTS_TOPIC, which "
        "counts again what retention still holds."
    )
