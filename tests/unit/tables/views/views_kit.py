"""Stand-ins for what the web views read, around a real Totals."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Generator, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import aiohttp
from prometheus_client import CollectorRegistry

from agents.latencies import Latencies
from agents.skew import Skew
from streams.dead_letters.letters import DeadLetter
from streams.dead_letters.memory import Latest, LetterMemory
from streams.dead_letters.reading import LettersUnavailableError, Replayed, Wanted
from streams.dead_letters.topic import Found
from streams.notifications.notification import Reason, Repair
from streams.notifications.priority import DEFAULT_PRIORITIES, Priority
from streams.notifications.record_time import RecordTime
from streams.scheduling.age_guard import AgeGuard
from streams.settings import load_settings
from streams.transport.class_traffic import ClassTraffic
from streams.upstream.store_sizes import StoreSize
from tables.buckets import RESOLUTIONS, RETENTION_S, parent
from tables.feeds import PingResult
from tables.fleet.memory import Fleet, FleetMemory
from tables.fleet.state import WorkerState, encode_state
from tables.public_rows import PublicRow, encode_key, encode_value
from tables.recent_alerts import Alert, AlertMemory, Place
from tables.row_bodies import TypeTotal
from tables.totals import Totals
from tables.views.server import ViewServer
from tables.views.sources import Check
from tocsin.live_profile import LiveProfile
from tocsin.stalls import StallLog

#: 2026-11-01T12:00:00Z, which begins an hour.
NOW_S = 1_793_534_400
SLICES = 3

FORWARDED = (Priority.CRITICAL, Priority.ERROR)

#: (priority, event type) -> time in seconds -> count
Counts = Mapping[tuple[str, str], Mapping[int, int]]


def fill(totals: Totals, counts: Counts, offset: int = 1, *, now_s: int = NOW_S, grace_s: int = 150) -> None:
    """Publish ``counts`` as combiners would: open coarse buckets are not there yet."""
    rows: dict[tuple[str, int, int, int], dict[str, int]] = defaultdict(dict)
    sums: dict[tuple[str, int], dict[str, TypeTotal]] = defaultdict(dict)
    for (priority, event_type), times in counts.items():
        place = len(event_type) % SLICES
        sums[priority, place][event_type] = TypeTotal(sum(times.values()), max(times) * 1000 + 123)
        for time_s, count in times.items():
            for resolution in RESOLUTIONS:
                bucket = parent(time_s, resolution)
                closed = resolution == RESOLUTIONS[0] or bucket + resolution + grace_s <= now_s
                if closed and bucket > now_s - RETENTION_S[resolution]:
                    row = rows[priority, resolution, bucket, place]
                    row[event_type] = row.get(event_type, 0) + count
    for (priority, resolution, bucket, place), row in rows.items():
        public = PublicRow(priority, resolution, bucket, offset, row, None)
        totals.apply(encode_key(priority, resolution, bucket, place), encode_value(public, 0))
    for (priority, place), known in sums.items():
        public = PublicRow(priority, None, None, offset, None, known)
        totals.apply(encode_key(priority, None, None, place), encode_value(public, 0))


class FakeAlerts:
    """Alerts of a real memory, to be filled at will."""

    def __init__(self, *patterns: str, most: int = 500) -> None:
        self.most = most
        self.complete = True
        self.trouble: str | None = None
        self.as_of = NOW_S + 0.5
        self.missing: list[Place] = []
        topics = {f"alerts.{each.value.lower()}": each for each in (Priority.CRITICAL, Priority.ERROR)}
        self.memory = AlertMemory(topics, dict.fromkeys(topics, SLICES), most, patterns)

    @property
    def changes(self) -> int:
        return self.memory.changes

    async def newest(
        self, *, priority: Priority | None = None, event_type: str | None = None, most: int | None = None
    ) -> list[Alert]:
        """Alerts, newest first."""
        return run(self.memory.newest(priority=priority, event_type=event_type, most=most))

    async def at(self, topic: str, partition: int, offset: int) -> Alert | None:
        """The alert at one place."""
        return run(self.memory.at((topic, partition), offset))


Ended = TypeVar("Ended")


class FakeFleet:
    """States of workers in a real memory, to be filled at will."""

    def __init__(self) -> None:
        self.memory = FleetMemory("tocsin")
        self.complete = True
        self.missing: set[int] = set()
        self.trouble: str | None = None
        self.as_of = NOW_S - 0.5
        #: Whether they are read by a worker of the main pool.
        self.combines = True

    def write(self, worker: str, state: WorkerState, ago_s: float = 1.0) -> None:
        """A row that a worker wrote so long ago."""
        self.memory.take(worker.encode(), encode_state(state), NOW_S - ago_s, -ago_s, live=True)

    @property
    def silent_s(self) -> float:
        """Seconds for which none was heard from."""
        return self.memory.silent_s(0.0, NOW_S)

    @property
    def combiners_silent_s(self) -> float:
        """Seconds for which none of the main pool was heard from."""
        return 0.0 if self.combines else self.memory.combiners_silent_s(0.0, NOW_S)

    def moment(self) -> object:
        """Something that is equal for as long as all workers are as they were."""
        return self.memory.moment(0.0, NOW_S)

    def looking(self) -> Generator[None, None, Fleet]:
        """All workers, in steps."""
        return self.memory.looking(0.0, NOW_S)


def run(steps: Generator[None, None, Ended]) -> Ended:
    """Take all steps, and return what they end in."""
    while True:
        try:
            next(steps)
        except StopIteration as ended:
            found: Ended = ended.value
            return found


class FakeDeadLetters:
    """Dead letters of a real memory, to be filled at will; replays are noted, and all sent."""

    def __init__(self) -> None:
        topics = {f"notifications.{each.value.lower()}": each for each in Priority}
        self.memory = LetterMemory(topics, None)
        self.asked: list[Wanted] = []
        self.trouble: str | None = None
        self.failing = 0

    def add(
        self,
        offset: int,
        reason: str = "not-json",
        topic: str = "notifications.error",
        value: bytes = b"x",
        letter_id: str | None = None,
        replays: int = 0,
    ) -> None:
        """A dead letter, written a second after the one before."""
        letter = DeadLetter(
            letter_id or f"source:{offset}",
            reason,
            "why",
            topic,
            2,
            offset,
            0,
            None,
            value,
            (),
            truncated=False,
            replays=replays,
        )
        self.memory.add(Found(letter, 1, 100 + offset, (NOW_S - 100 + offset) * 1000))

    async def look(self) -> Latest:
        """What is there."""
        if self.trouble is not None:
            raise LettersUnavailableError(self.trouble)
        return self.memory.latest(7, NOW_S + 0.5)

    async def replay(self, wanted: Wanted) -> Replayed:
        """Note what is wanted, and say that all of it was sent."""
        if self.trouble is not None:
            raise LettersUnavailableError(self.trouble)
        self.asked.append(wanted)
        letters = [each for each in (await self.look()).letters if wanted.keeps(each)]
        return Replayed(len(letters), self.failing, 1, ["1 left out."])


class FakeSources:
    """Counts, scheduler, health and figures of a worker, to be set at will."""

    def __init__(self) -> None:
        self.totals = Totals()
        self.complete = True
        self.missing: set[int] = set()
        self.as_of = NOW_S + 0.5
        self.failing: set[str] = set()
        self.scheduler_error: Exception | None = None
        self.classes = {
            priority: ClassTraffic(2.0 ** (4 - priority.rank), 0.25, 0.5, 10, 2048, 70, 9.5, 1000, 1.5)
            for priority in reversed(DEFAULT_PRIORITIES)
        }
        self.counted = Counter({Priority.ERROR: 7})
        self.forwarded = Counter({Priority.ERROR: 6})
        self.dead_letters = Counter({(Priority.ERROR, Reason.NOT_JSON): 2})
        self.dead_letter_bytes = Counter({(Priority.ERROR, Reason.NOT_JSON): 1234})
        self.repairs = Counter({Repair.DOUBLE_ENCODED: 3})
        self.counted_latencies = {priority: Latencies() for priority in DEFAULT_PRIORITIES}
        self.alerted_latencies = {priority: Latencies() for priority in FORWARDED}
        self.never_read = {Priority.INFO: 70}
        self.counted_lost = {Priority.INFO: 30}
        self.time_replaced = 4
        self.clock_ahead_s = 90.0
        self.record_times = {(Priority.WARN, RecordTime.SECONDS): 6}
        self.late = {Priority.WARN: 8}
        self.skew = {Priority.WARN: Skew(3000.0, 20.0)}
        self.flush_seconds = 0.25
        self.flushes = 5
        self.event_types = 6
        self.producer_retries = 7
        self.rebalances = 8
        self.commits = 9
        self.commit_seconds = 0.125
        self.recovery_seconds = 1.5
        self.recovery_left = 11
        self.profile: LiveProfile | None = None
        self.virtual_time = 2.5
        self.guard: AgeGuard[Priority, int] | None = None
        self.stalls = StallLog()
        self.alerts = FakeAlerts()
        self.fleet = FakeFleet()
        self.letters = FakeDeadLetters()
        self.results: Counter[PingResult] = Counter({"accepted": 9, "failed": 2})
        self.untold_s = 3.5

    def stores(self) -> Mapping[str, StoreSize]:
        """One table."""
        return {"partial-counts": StoreSize(4, 5000, 600, 70)}

    def snapshot(self) -> Mapping[Priority, ClassTraffic]:
        """The classes."""
        if self.scheduler_error is not None:
            raise self.scheduler_error
        return self.classes

    def _check(self, name: str) -> Check:
        if "raise" in self.failing:
            raise ValueError(name)
        failed = name in self.failing
        return Check(not failed, [f"not {name}"] if failed else [], {"n": 1})

    def live(self) -> Check:
        """Whether it lives."""
        return self._check("live")

    def ready(self) -> Check:
        """Whether it is ready."""
        return self._check("ready")

    def started(self) -> Check:
        """Whether it has started."""
        return self._check("started")

    def server(
        self, registry: CollectorRegistry | None = None, *, of_worker: bool = True, **settings: Any
    ) -> ViewServer:
        """A server of these sources, on a free port, whose clock stands still."""
        return ViewServer(
            load_settings(**{"web_port": 0} | settings),
            self,
            self,
            self,
            self,
            self.stalls,
            self.alerts,
            self,
            self.letters,
            fleet=self.fleet,
            registry=registry,
            of_worker=of_worker,
            clock=lambda: NOW_S + 1.0,
        )


def sample() -> FakeSources:
    """Sources with some counts."""
    fake = FakeSources()
    fill(
        fake.totals,
        {
            ("ERROR", "compute.instance.create.error"): {NOW_S - 20: 12},
            ("INFO", "compute.instance.create.start"): {NOW_S - 20: 30, NOW_S - 1800: 5, NOW_S - 40_000: 7},
            ("INFO", "volume.create.end"): {NOW_S - 200: 4},
            ("CRITICAL", "compute.instance.create.error"): {NOW_S - 4000: 1},
        },
    )
    return fake


@asynccontextmanager
async def served(fake: FakeSources, **settings: Any) -> AsyncIterator[aiohttp.ClientSession]:
    """A client of a running server."""
    server = fake.server(**settings)
    await server.start()
    try:
        async with aiohttp.ClientSession(server.address) as client:
            yield client
    finally:
        await server.stop()


async def get(client: aiohttp.ClientSession, path: str, status: int = 200, **parameters: Any) -> Any:
    """The JSON at a path."""
    async with client.get(path, params=parameters) as answer:
        body = await answer.json(content_type=None)
        assert answer.status == status, body
        if status >= 400:
            assert answer.content_type == "application/problem+json"
            assert body["status"] == status
            assert set(body) == {"type", "title", "status", "detail"}
        return body
