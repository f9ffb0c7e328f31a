"""What the API answers and takes, as types: bodies are written from them, and OpenAPI made of them.

A time is RFC 3339 in UTC, or null where there is none.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from streams.settings import ModeName, ProfileName
from tables.views.sources import ProfileSource, StallCause

Time = Annotated[str, msgspec.Meta(extra_json_schema={"format": "date-time"})]


class StateOfCounts(msgspec.Struct, frozen=True):
    """Up to when everything published is in an answer, and whether it is of all partitions."""

    as_of: Time | None
    complete: bool
    missing_partitions: list[int]


class CountItem(msgspec.Struct, frozen=True, gc=False):
    """How many notifications of one event type and priority there are."""

    event_type: str
    priority: str
    count: int
    last_seen: Time | None


class LateItem(msgspec.Struct, frozen=True):
    """Notifications come in that are dated too early for the window; ``hint`` says so in a sentence."""

    priority: str
    behind_s: int
    hint: str


class CountsBody(StateOfCounts, frozen=True):
    """Counts in a window. ``as_of`` is the time up to which everything published is in them."""

    window: str
    items: list[CountItem]
    next: str | None
    late: list[LateItem]


class MatrixItem(msgspec.Struct, frozen=True, gc=False):
    """One event type: its counts by priority, those that are 0 left out, their sum, and how they went lately.

    ``rate`` is notifications a second in the last minute; ``trend`` has the counts of the steps that the
    answer names, the oldest first.
    """

    event_type: str
    counts: dict[str, int]
    total: int
    rate: float
    last_seen: Time | None
    trend: list[int]


class MatrixBody(StateOfCounts, frozen=True):
    """Counts in a window, an item for each event type. ``matched`` is how many there are on all pages."""

    window: str
    trend_from: Time | None
    trend_step_s: int
    matched: int
    items: list[MatrixItem]
    next: str | None
    late: list[LateItem]


class TypeTotalItem(msgspec.Struct, frozen=True):
    """All that was ever counted of an event type in one priority."""

    priority: str
    count: int
    last_seen: Time | None


class BucketItem(msgspec.Struct, frozen=True, gc=False):
    """Notifications in one span of time, by its start."""

    start: Time | None
    count: int


class SeriesItem(msgspec.Struct, frozen=True):
    """The buckets of one priority, and the sum of them."""

    priority: str
    count: int
    buckets: list[BucketItem]


class SeriesBody(StateOfCounts, frozen=True, rename={"start": "from", "end": "to"}):
    """The counts of one event type over time."""

    event_type: str
    resolution_s: int
    start: Time | None
    end: Time | None
    totals: list[TypeTotalItem]
    series: list[SeriesItem]


class RemovedItem(msgspec.Struct, frozen=True):
    """An event type and priority that has no count in the window any more."""

    event_type: str
    priority: str


class SnapshotEvent(StateOfCounts, frozen=True):
    """The data of the event ``snapshot``: all counts that the stream is of."""

    window: str
    items: list[CountItem]
    late: list[LateItem]


class DeltaEvent(StateOfCounts, frozen=True):
    """The data of the event ``delta``: the counts that are other than before, and those that are gone."""

    window: str
    items: list[CountItem]
    removed: list[RemovedItem]
    late: list[LateItem]


class ChangedBody(msgspec.Struct, frozen=True):
    """When weights or mode were changed last, and by what."""

    at: Time | None
    by: ProfileSource


class AgeGuardBody(msgspec.Struct, frozen=True):
    """Service out of turn for records past their age limits, which are in seconds by priority."""

    share: float
    limits: dict[str, float]
    credit_seconds: float
    dispatches: int
    service_seconds: float


class ShareBody(msgspec.Struct, frozen=True):
    """Share of the service time, from 0 to 1: that is due, that was got lately, and in the last minute."""

    configured: float
    achieved: float
    last_minute: float | None


class BufferedBody(msgspec.Struct, frozen=True):
    """What waits in the buffer."""

    records: int
    bytes: int


class LagBody(msgspec.Struct, frozen=True):
    """What was not yet handed to an agent, and the age of the oldest of it."""

    records: int
    seconds: float


class ClassBody(msgspec.Struct, frozen=True):
    """What one priority has and gets on this worker."""

    priority: str
    weight: float
    share: ShareBody
    virtual_time: float
    buffered: BufferedBody
    lag: LagBody
    dispatched: int
    service_seconds: float


class StallBody(msgspec.Struct, frozen=True):
    """A time at which the event loop stood still."""

    at: Time | None
    seconds: float
    cause: StallCause
    where: str | None


class SchedulerBody(msgspec.Struct, frozen=True):
    """What every priority class of this worker has and gets, and by what rules."""

    as_of: Time | None
    scope: str
    pool: str
    mode: ModeName
    profile: ProfileName
    changed: ChangedBody | None
    virtual_time: float
    age_guard: AgeGuardBody | None
    classes: list[ClassBody]
    stalls: list[StallBody]


class ChangeBody(msgspec.Struct, frozen=True):
    """Change of weights, by priority, and of the mode; a profile replaces both. What is left out stays."""

    weights: dict[str, float] = {}
    mode: ModeName | msgspec.UnsetType = msgspec.UNSET
    profile: ProfileName | msgspec.UnsetType = msgspec.UNSET


class DeadLetterSumItem(msgspec.Struct, frozen=True):
    """How many dead letters of one reason and priority are listed, and the bytes of their values."""

    reason: str
    priority: str | None
    count: int
    bytes: int


class DeadLetterItem(msgspec.Struct, frozen=True):
    """A record that could not be read: where it came from, where it lies now, and what became of it.

    ``value`` is its beginning, secrets masked and what cannot be seen escaped; it is null unless payloads may
    be shown, and where a secret in it cannot be masked. ``detail`` is null where ``value`` is, or is masked.
    ``state`` is ``new``, ``replayed`` (and not back), ``bad again`` or ``older``.
    """

    id: str
    reason: str
    priority: str | None
    topic: str
    partition: int
    offset: int
    at: str
    dead_since: Time | None
    bytes: int | None
    truncated: bool
    state: str
    replays: int
    detail: str | None
    value: str | None


class DeadLettersBody(StateOfCounts, frozen=True):
    """The latest dead letters; ``complete`` is whether these are all that lie in their topic.

    ``listed`` is how many dead letters are listed, and ``records`` how many records lie there: dead letters,
    repeats of them, and notes of replays.
    """

    records: int
    listed: int
    sums: list[DeadLetterSumItem]
    items: list[DeadLetterItem]


class ReplayRequestBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which dead letters to replay: those of some ids, of a reason, or all that are listed.

    ``until`` leaves out those that came later. ``again`` sends, of named ones, those too that were replayed
    before, else those that are bad again.
    """

    ids: (
        Annotated[
            list[Annotated[str, msgspec.Meta(min_length=1, max_length=512)]],
            msgspec.Meta(min_length=1, max_length=100),
        ]
        | None
    ) = None
    reason: Annotated[str, msgspec.Meta(min_length=1, max_length=100)] | None = None
    all: bool = False
    until: Time | None = None
    again: bool = False


class ReplayBody(msgspec.Struct, frozen=True):
    """What became of a replay; the sentences say why something failed or was left out."""

    replayed: int
    failed: int
    left_out: int
    sentences: list[str]


class CheckBody(msgspec.Struct, frozen=True):
    """A health check; why it failed, and with the token details."""

    status: str
    reasons: list[str]
    details: dict[str, Any] = {}


class ProblemBody(msgspec.Struct, frozen=True):
    """A problem (RFC 9457); ``detail`` is a sentence that says what to change."""

    type: str
    title: str
    status: int
    detail: str
