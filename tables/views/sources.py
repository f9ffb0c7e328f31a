"""What the web views read. The composition root passes objects that fit; the views know nothing else."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Generator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

from streams.notifications.priority import Priority
from streams.scheduling.age_guard import AgeGuard
from streams.settings import ModeName, ProfileName, Settings
from tables.feeds import PingResult
from tables.fleet.memory import Fleet, NoFleet
from tables.recent_alerts import Alert, Place
from tables.totals import Totals
from tables.views.worker_stats import WorkerStats

if TYPE_CHECKING:  # Faust would come with it
    from streams.dead_letters.memory import Latest
    from streams.dead_letters.reading import Replayed, Wanted
    from streams.transport.class_traffic import ClassTraffic


class CountsSource(Protocol):
    """Counts of the whole cluster: ``tables.totals_reader.TotalsReader``."""

    @property
    def totals(self) -> Totals:
        """The counts."""

    @property
    def complete(self) -> bool:
        """Whether everything published is taken in, but for that of the last seconds."""

    @property
    def missing(self) -> AbstractSet[int]:
        """Partitions that are not, or of which it cannot be told."""

    @property
    def as_of(self) -> float:
        """Time, in seconds since 1970, up to which everything published is taken in; 0 before that."""


class AlertsSource(Protocol):
    """The last alerts, the same ones on every worker: ``tables.alerts_reader.AlertsReader``."""

    @property
    def most(self) -> int:
        """Alerts of a feed; 0 where none are kept."""

    @property
    def complete(self) -> bool:
        """Whether what was there at the start is read."""

    @property
    def trouble(self) -> str | None:
        """Why they cannot be read, one sentence; None while they can."""

    @property
    def as_of(self) -> float:
        """Time, in seconds since 1970, up to which all alerts are taken in; 0 before all were."""

    @property
    def missing(self) -> Collection[Place]:
        """Partitions that are not up to date, or of which it cannot be told."""

    @property
    def changes(self) -> int:
        """A number that is another whenever there are other alerts."""

    async def at(self, topic: str, partition: int, offset: int) -> Alert | None:
        """The alert at one place of its topic; None where it is not kept."""

    async def newest(
        self, *, priority: Priority | None = None, event_type: str | None = None, most: int | None = None
    ) -> list[Alert]:
        """Alerts, newest first, each id once.

        Args:
            priority: only those of it; None for all.
            event_type: a pattern with ``*`` and ``?``; None for all.
            most: how many; the number that is kept of a feed when None.
        """


#: Where a change of weights or mode came from: the start of the worker, SIGHUP, or a call of the API.
ProfileSource = Literal["start", "settings", "call"]


class ChangeRefusedError(ValueError):
    """A change that cannot be; the message is one sentence that says what to change."""


class Profile(Protocol):
    """Weights and mode as they are now, and the way to change them: ``tocsin.live_profile.LiveProfile``.

    Attributes:
        settings: with the weights and the mode that hold now.
        since: seconds since 1970 of the last change.
        source: where that came from.
        changes: how many there were since the start, by where they came from.
    """

    settings: Settings
    since: float
    source: ProfileSource
    changes: dict[ProfileSource, int]

    def change(
        self,
        *,
        profile: ProfileName | None = None,
        mode: ModeName | None = None,
        weights: Mapping[Priority, float] | None = None,
    ) -> None:
        """Take over what is given.

        Raises:
            ChangeRefusedError: it cannot be; nothing changes.
        """


#: Why the event loop stood still: no processor was free, Python collected garbage, or something took long.
StallCause = Literal["processor", "collection", "work"]
STALL_CAUSES: Final[tuple[StallCause, ...]] = ("processor", "collection", "work")


@dataclass(slots=True, frozen=True)
class Stall:
    """A time at which the event loop of this worker stood still.

    Attributes:
        at: its end, in seconds since 1970.
        seconds: how long it was.
        cause: of most of it.
        where: the function that took so long; "" when that is not known.
    """

    at: float
    seconds: float
    cause: StallCause
    where: str


class Stalls(Protocol):
    """Stalls of this worker: ``tocsin.stalls.StallLog``."""

    @property
    def last(self) -> Collection[Stall]:
        """The latest ones, newest last."""

    @property
    def counts(self) -> Mapping[StallCause, int]:
        """How many there were since the start."""

    @property
    def seconds(self) -> Mapping[StallCause, float]:
        """How long they took together."""

    @property
    def lag_s(self) -> float:
        """The longest that something had to wait for the event loop in the last ten to twenty seconds."""


class SchedulerSource(Protocol):
    """What every class has and gets: ``tocsin.figures.SchedulerFigures``."""

    def snapshot(self) -> Mapping[Priority, ClassTraffic]:
        """State of every class now."""

    @property
    def profile(self) -> Profile | None:
        """Weights and mode as they are now, and the way to change them; None before the start."""

    @property
    def virtual_time(self) -> float:
        """Seconds of service per unit of weight that the fair queue has come to."""

    @property
    def guard(self) -> AgeGuard[Priority, int] | None:
        """The age guard; None when there is none."""


@dataclass(slots=True, frozen=True)
class Check:
    """Answer of a health check.

    Attributes:
        ok: whether it passed.
        reasons: why not, one sentence each.
        details: values that help to understand it; JSON types only.
    """

    ok: bool
    reasons: list[str] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)


class Health(Protocol):
    """The meanings of the three health checks. They are asked often and must answer at once."""

    def live(self) -> Check:
        """False only when a restart is the cure: nothing moves although there is work."""

    def ready(self) -> Check:
        """False while recovering, rebalancing or draining."""

    def started(self) -> Check:
        """False until the worker has recovered its state and been ready for the first time."""


class WebStats(Protocol):
    """What readers of the web views had, for the metrics: ``tables.views.metrics.WebStats``."""

    @property
    def live_clients(self) -> int:
        """Readers of the live stream, and pages that are open."""

    @property
    def live_dropped(self) -> int:
        """Those that were dropped because they were slow."""

    @property
    def live_refused(self) -> int:
        """Those that were refused because there were too many."""

    @property
    def answers_made(self) -> int:
        """Answers of the counts that were made."""

    @property
    def answers_used_again(self) -> int:
        """Answers of the counts that were there already."""

    @property
    def changes(self) -> Mapping[tuple[str, str], int]:
        """Changes that were asked for, by what and by what became of them."""

    @property
    def replayed(self) -> Mapping[str, int]:
        """Dead letters that were to be replayed, by what became of them."""


class DeadLettersSource(Protocol):
    """The latest dead letters, and their replay: ``streams.dead_letters.latest.LatestDeadLetters``."""

    async def look(self) -> Latest:
        """The latest ones.

        Raises:
            LettersUnavailableError: they cannot be read.
        """

    async def replay(self, wanted: Wanted) -> Replayed:
        """Replay some of them.

        Raises:
            LettersUnavailableError: nothing can be replayed, or it was stopped.
        """


class HubStats(Protocol):
    """What became of the pings of a WebSub hub: ``agents.deliveries.hub_pings.HubPings``."""

    @property
    def results(self) -> Mapping[PingResult, int]:
        """Pings by what became of them."""

    @property
    def untold_s(self) -> float:
        """Seconds for which the hub has not been told of an entry that there is; 0 while it knows all."""


class FleetSource(Protocol):
    """All workers, as each says of itself: ``tables.fleet.reader.FleetReader``."""

    @property
    def complete(self) -> bool:
        """Whether what they say was read to its end within the last seconds."""

    @property
    def missing(self) -> AbstractSet[int]:
        """Partitions of the status topic of which that is not so."""

    @property
    def trouble(self) -> str | None:
        """Why it cannot be read, one sentence; None while it can."""

    @property
    def as_of(self) -> float:
        """Time, in seconds since 1970, up to which it was read; 0 before it was."""

    @property
    def silent_s(self) -> float:
        """Seconds up to ``as_of`` for which no worker was heard from; infinite where none ever was."""

    @property
    def combiners_silent_s(self) -> float:
        """The same of those that combine counts: the workers of the main pool."""

    def moment(self) -> object:
        """Something that is equal for as long as all workers are as they were."""

    def looking(self) -> Generator[None, None, Fleet]:
        """All workers, found in short steps; the same object for as long as nothing is other."""


@dataclass(slots=True)
class Sources:
    """Everything that handlers read, at each request anew.

    Attributes:
        scheduler: of a worker that starts, other than of one that works; so are ``stats``.
        stalls: of the event loop.
        clock: the time in seconds since 1970.
        fleet: all workers.
        web: of the readers; set by the server that has them.
    """

    settings: Settings
    counts: CountsSource
    scheduler: SchedulerSource
    health: Health
    stats: WorkerStats
    stalls: Stalls
    alerts: AlertsSource
    hub: HubStats
    dead_letters: DeadLettersSource
    clock: Callable[[], float] = time.time
    fleet: FleetSource = field(default_factory=NoFleet)
    web: WebStats | None = None
