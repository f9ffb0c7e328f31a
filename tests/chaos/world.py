"""One line of the suite: topics and workers of its own, a load, a fault, the settling, the verdict."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from streams.settings import Settings, load_settings
from tests.admin import apply_topics
from tests.breakable_kafka import BreakableKafka
from tests.chaos import truth
from tests.chaos.checker import Verdict, check
from tests.chaos.history import History, read
from tests.chaos.load import Load
from tests.chaos.members import ChaosError, Member, clean_environment, until
from tests.chaos.relay import Relay
from tests.integration.reading import committed_offsets, end_offsets, notification_topics

SESSION_S = 6.0
PARTITIONS = 4
_QUIET_S = 4.0


@dataclass(frozen=True)
class Arm:
    """What consumes."""

    name: str
    module: str
    recorded: bool


TOCSIN = Arm("tocsin", "tests.chaos.recorded_worker", True)
STOCK_FAUST = Arm("stock-faust", "tests.chaos.stock_worker", False)
ARMS = {arm.name: arm for arm in (TOCSIN, STOCK_FAUST)}


@dataclass
class Result:
    """What a line of the suite says."""

    fault: str
    arm: str
    seed: int
    verdict: Verdict
    #: Seconds that the fault was at work.
    fault_s: float = 0.0
    #: Seconds from its end until every worker was ready, and all that was published by then was committed.
    recovery_s: float | None = None
    #: Anything else that was to hold and did not.
    broken: list[str] = field(default_factory=list)
    #: Figures of this fault alone.
    notes: list[str] = field(default_factory=list)
    history: Path | None = None

    @property
    def good(self) -> bool:
        """Whether everything held."""
        return self.verdict.good and not self.broken

    def line(self) -> str:
        """The line that is printed."""
        v = self.verdict
        recovery = "never" if self.recovery_s is None else f"{self.recovery_s:.1f} s"
        words = [
            f"{self.fault}: {self.fault_s:.0f} s, published {v.published:,}, counted {v.counted:,}",
            f"lost {v.lost.number:,}, twice {v.twice.number:,}",
            f"alerts lost {v.alerts_lost.number:,}, alert ids with two contents {v.two_contents.number:,}",
            f"out of order {v.out_of_order.number:,}, bad commits {v.bad_commits.number:,}",
            f"counts that went back {v.went_back.number:,}",
        ]
        for finding, name in (
            (v.letters_lost, "dead letters lost"),
            (v.made_up, "made up"),
            (v.disordered, "alerts out of order"),
        ):
            if finding.number:
                words.append(f"{name} {finding.number:,}")
        if v.broker_lost.number:
            words.append(f"lost by the brokers {v.broker_lost.number:,}")
        words.append(f"recovered in {recovery}")
        broken = (f"BROKEN: {each.splitlines()[0]}" for each in self.broken)
        return "; ".join([", ".join(words), *self.notes, *broken])


class World:
    """A deployment under load, with everything that a fault may want to do to it."""

    def __init__(
        self,
        kafka: BreakableKafka,
        folder: Path,
        arm: Arm,
        *,
        seed: int,
        rate: int,
        variant: str | None = None,
        relayed: bool = False,
        bootstrap: Relay | None = None,
        bound_s: float = 60.0,
        **settings: str,
    ) -> None:
        self.kafka = kafka
        self.folder = folder
        self.arm = arm
        self.seed = seed
        self.random = random.Random(seed)
        self.variant = variant
        self.unique = f"c{uuid.uuid4().hex[:10]}"
        self._values: dict[str, str] = {
            "brokers": kafka.bootstrap if bootstrap is None else bootstrap.address,
            "app_id": self.unique,
            "partitions": str(PARTITIONS),
            "session_timeout_s": f"{SESSION_S}",
            "drain_deadline_s": "5",
            "flush_interval_s": "0.5",
            "notification_topic_prefix": f"{self.unique}.in.",
            "alert_topic_prefix": f"{self.unique}.out.",
            "dead_letter_topic": f"{self.unique}.dead",
            "event_counts_topic": f"{self.unique}.counts",
            "web_port": "0",
        } | settings
        #: Worker's name -> what lies between it and the broker; empty when nothing does.
        self.relays: dict[str, Relay] = {}
        self._relayed = relayed
        #: Seconds after which what is waited for will not come.
        self.bound_s = bound_s
        #: What stands for the name of the brokers; None where workers are told their addresses.
        self.bootstrap = bootstrap
        self.settings: Settings = load_settings(**self._values)
        self.history = History(folder / "history.jsonl")
        self.members: list[Member] = []
        self.load = Load(
            kafka.bootstrap,
            {p: self.settings.notification_topic(p) for p in self.settings.priorities},
            PARTITIONS,
            self.history,
            seed=seed,
            rate=rate,
            bad_share=0.01 if arm.recorded else 0.0,
        )
        #: Filled by faults.
        self.broken: list[str] = []
        self.notes: list[str] = []
        self._watcher: asyncio.Task[None] | None = None

    def member(self, name: str | None = None, *, static: bool = True, **settings: str) -> Member:
        """Add a worker, which is not started yet."""
        name = name or f"w{len(self.members)}"
        values = self._values | settings
        if static:
            values["instance_id"] = f"{self.unique}-{name}"
        environment = clean_environment(self.history.path, **values)
        environment["CHAOS_CLOCK"] = str(self.clock_file(name))
        if self.variant is not None:
            environment["CHAOS_VARIANT"] = self.variant
        made = Member(name, self.arm.module, environment, self.folder, probed=self.arm.recorded)
        self.members.append(made)
        return made

    def clock_file(self, name: str) -> Path:
        """Says by how many seconds the clock of a worker is wrong, while it is there."""
        return self.folder / f"{name}.clock"

    def say(self, what: str) -> None:
        """Note in the history what is being done to the cluster."""
        self.history.write("fault", what=what)

    # ---------------------------------------------------------------- waiting

    async def group_is_stable(self) -> bool:
        """Whether every running worker is a member of the group, which is not rebalancing."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self.kafka.bootstrap)
        try:
            await admin.start()
            (answer,) = await admin.describe_consumer_groups([self.settings.app_id])
            ((_, _, state, _, _, members, *_),) = answer.groups
        except (KafkaError, OSError):
            return False
        finally:
            await admin.close()
        return state == "Stable" and len(members) == sum(member.runs for member in self.members)

    async def all_ready(self, timeout_s: float | None = None) -> float:
        """Wait until every running worker is ready; returns the seconds that it took."""

        async def ready() -> bool:
            for member in self.members:
                if not member.runs and member.process is not None and member.exit_code is not None:
                    raise ChaosError(f"{member.name} ended with {member.exit_code}:\n{member.tail()}")
            if not all(await asyncio.gather(*(member.is_ready() for member in self.members))):
                return False
            # The stock worker has no probe: it is taken for ready when the group is at rest.
            return self.arm.recorded or await self.group_is_stable()

        return await until("every worker is ready", ready, timeout_s or self.bound_s)

    async def ends(self) -> dict[Any, int]:
        """Ends of the notification topics."""
        return await end_offsets(self.kafka.bootstrap, *notification_topics(self.settings))

    async def behind(self, goal: dict[Any, int]) -> int | None:
        """Records up to these offsets that the group has not committed; None where nobody says."""
        try:
            committed = await committed_offsets(self.settings)
        except (KafkaError, OSError):
            return None
        return sum(max(0, end - max(0, committed.get(place, 0))) for place, end in goal.items())

    async def committed_past(self, goal: dict[Any, int]) -> bool:
        """Whether the group has committed these offsets."""
        return await self.behind(goal) == 0

    async def caught_up(self, timeout_s: float | None = None) -> float:
        """Wait until all that is published now is committed; returns the seconds that it took.

        A slow machine takes its time for a backlog: it fails where nothing more was committed for
        ``timeout_s``.
        """
        begun, goal = time.monotonic(), await self.ends()
        left: list[int] = []

        async def goes_on() -> bool:
            behind = await self.behind(goal)
            if behind is None or (left and behind >= left[-1]):
                return False
            left.append(behind)
            return True

        while not left or left[-1]:
            await until("what was published is committed", goes_on, timeout_s or self.bound_s)
        return time.monotonic() - begun

    async def recovered(self, timeout_s: float | None = None) -> float:
        """Wait until every worker is ready and has caught up; returns the seconds that it took."""
        begun = time.monotonic()
        await self.all_ready(timeout_s)
        await self.caught_up(timeout_s)
        return time.monotonic() - begun

    # ---------------------------------------------------------------- the run

    async def start(self, workers: int = 3) -> None:
        """Start the workers and the load."""
        await apply_topics(self.settings)
        for _ in range(workers - len(self.members)):
            self.member()
        for number, member in enumerate(self.members):
            if self._relayed:
                relay = Relay(int(self.kafka.bootstrap.rpartition(":")[2]), self.seed + number)
                await relay.start()
                self.relays[member.name] = relay
                member.environment["CHAOS_RELAY"] = f"{relay.target}:{relay.port}"
            member.start()
        await self.all_ready()
        if not self.arm.recorded:
            # It has joined, and may still be recovering: nothing is to happen to it before the fault.
            await asyncio.sleep(SESSION_S)
            await self.all_ready()
        await self.load.start()
        self._watcher = asyncio.create_task(self._watch(), name="watcher")

    async def _watch(self) -> None:
        """Read public counts over and over, as a dashboard does."""
        while True:
            await asyncio.sleep(0.7)
            for member in self.members:
                if self.arm.recorded and (counts := await member.counts()) is not None:
                    self.history.write("seen", who=member.name, c=counts)

    async def settle(self) -> None:
        """End the load, and wait until everything is committed and counts no longer change."""
        await self.load.stop()
        try:
            await self.all_ready(self.bound_s)
            await self.caught_up(self.bound_s)
            await self._counts_at_rest()
        except (ChaosError, AssertionError, KafkaError) as error:
            self.broken.append(f"did not settle: {error}")
            await self._settle_after_a_restart()

    async def _settle_after_a_restart(self) -> None:
        """Tell what is stuck from what is lost: start every worker anew, and look again."""
        try:
            for member in self.members:
                await member.kill()
                member.start()
            await self.all_ready(self.bound_s)
            await self.caught_up(self.bound_s)
            await self._counts_at_rest()
            self.notes.append("was stuck until every worker was started anew")
        except (ChaosError, AssertionError, KafkaError):
            with contextlib.suppress(KafkaError, OSError, AssertionError):
                behind = await self.behind(await self.ends())
                self.notes.append(
                    "brokers do not answer" if behind is None else f"{behind:,} still not committed"
                )

    async def _counts_at_rest(self) -> None:
        topic = (
            self.settings.event_counts_topic
            if self.arm.recorded
            else self.settings.internal_topic("counts-changelog")
        )
        last: dict[Any, int] = {}
        since = time.monotonic()

        async def quiet() -> bool:
            nonlocal last, since
            await asyncio.sleep(0.5)
            now = await end_offsets(self.kafka.bootstrap, topic)
            if now != last:
                last, since = now, time.monotonic()
            return time.monotonic() - since > _QUIET_S / (1 if not self.arm.recorded else 2)

        await until("the counts have come to rest", quiet, self.bound_s)

    async def stop(self) -> None:
        """Stop the workers in good order."""
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.gather(self._watcher, return_exceptions=True)
        for member in self.members:
            member.send(signal.SIGCONT)
            member.send(signal.SIGTERM)
        for member in self.members:
            if member.process is None:
                continue
            try:
                await member.gone(self.bound_s)
            except ChaosError:
                self.broken.append(f"{member.name} did not end within {self.bound_s:.0f} s of SIGTERM")
                await member.kill()
            if member.exit_code:
                self.broken.append(f"{member.name} ended with exit code {member.exit_code}")

    async def write_truth(self) -> None:
        """Read everything back."""
        await truth.write_log(self.settings, self.history)
        await truth.write_effects(self.settings, self.history)
        if self.arm.recorded:
            await truth.write_public_counts(self.settings, self.history)
            await truth.write_rows(self.settings, self.history)
        else:
            await truth.write_stock_counts(self.settings, self.history)

    async def verdict(self) -> Verdict:
        """What the history says."""
        priorities = truth.priorities_of(self.settings)
        recorded = self.arm.recorded
        return await asyncio.to_thread(
            lambda: check(read(self.history.path), priorities, windows=recorded, recorded=recorded)
        )

    def cleanup(self) -> None:
        """Leave no process behind."""
        for member in self.members:
            if member.process is not None and member.runs:
                member.process.kill()
                member.process.wait(10)
        self.history.close()


Fault = Callable[[World], Awaitable[None]]


@asynccontextmanager
async def cleaned(world: World) -> AsyncIterator[World]:
    """A world whose processes are gone afterwards."""
    try:
        yield world
    finally:
        if world._watcher is not None:
            world._watcher.cancel()
        with contextlib.suppress(TimeoutError, KafkaError, OSError):
            async with asyncio.timeout(20):
                await world.load.stop()
        world.cleanup()
        for relay in world.relays.values():
            await relay.stop()


async def run(world: World, name: str, fault: Fault, *, workers: int = 3) -> Result:
    """Carry out one line of the suite."""
    async with cleaned(world):
        await world.start(workers)
        await asyncio.sleep(2.0)
        begun = time.monotonic()
        recovery: float | None = None
        try:
            await fault(world)
        except ChaosError as error:
            world.broken.append(str(error))
        took = time.monotonic() - begun
        try:
            recovery = await world.recovered()
        except (ChaosError, AssertionError, KafkaError) as error:
            world.broken.append(f"did not recover: {error}")
        await world.settle()
        await world.stop()
        await world.write_truth()
        verdict = await world.verdict()
    return Result(
        fault=name,
        arm=world.arm.name if world.variant is None else f"without {world.variant}",
        seed=world.seed,
        verdict=verdict,
        fault_s=took,
        recovery_s=recovery,
        broken=world.broken,
        notes=world.notes,
        history=world.history.path,
    )
