"""The row that a worker writes of itself into the status topic, and its reading. Pure.

A row is a JSON object; its key is the worker's id. Members that are not known are passed over, so that a
newer worker can add some; one that changes what a member means writes another ``v``, whose rows are left out.
"""

from __future__ import annotations

import socket
from hashlib import blake2b
from typing import Annotated, Any, Final, Literal

import msgspec

from streams.notifications.visible import visible
from streams.quantities import quantity
from streams.settings import Settings

#: Version of the rows that are written and read.
VERSION: Final = 1
#: Bytes of a row, and of its key.
MOST_BYTES: Final = 64 * 2**10
MOST_KEY_BYTES: Final = 512
#: Partitions that a row lists, and reasons that it gives.
MOST_PARTITIONS: Final = 2000
MOST_REASONS: Final = 20
_MOST_REASON: Final = 500

_Text = Annotated[str, msgspec.Meta(max_length=1000)]
_Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
_Amount = Annotated[float, msgspec.Meta(ge=0, le=1e15)]
_Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
_Number = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]

#: What a worker does with a partition: it counts it; its state is being recovered; its topic cannot be used;
#: or nobody in the group was given it.
WORKING: Final = "working"
RECOVERING: Final = "recovering"
GONE: Final = "gone"
UNASSIGNED: Final = "unassigned"

#: Why a row is left out.
LeftOut = Literal["foreign", "newer", "unreadable", "too-many"]


class LeftOutError(ValueError):
    """A row that is no state of one of our workers."""

    def __init__(self, why: LeftOut, detail: str) -> None:
        super().__init__(detail)
        self.why: LeftOut = why


class ClassState(msgspec.Struct, frozen=True):
    """What a priority has and gets on a worker.

    Attributes:
        weight: of the fair queue.
        configured_share: of the service time, that is due to it.
        achieved_share: that it got in the latest 10 s of service.
        lag_records: not yet handed to agents.
        oldest_age_s: age of the oldest buffered record.
        counted: records since the worker started, and so ``forwarded``.
        counted_per_s: records a second, lately, and so ``forwarded_per_s``.
        service_per_s: seconds of service a second, lately.
    """

    weight: _Amount
    configured_share: _Share
    achieved_share: _Share
    lag_records: _Count
    oldest_age_s: _Amount
    buffered_records: _Count
    buffered_bytes: _Count
    counted: _Count
    forwarded: _Count
    counted_per_s: _Amount
    forwarded_per_s: _Amount
    service_per_s: _Amount


class Partitions(msgspec.Struct, frozen=True):
    """Partitions of one topic that are in one state.

    Attributes:
        topic: Kafka topic.
        priority: of its notifications; None for a topic of counts.
        state: one of those above; a newer worker may know more.
        numbers: of the partitions.
        more: partitions that are not listed.
    """

    topic: _Text
    state: Annotated[str, msgspec.Meta(max_length=50)]
    numbers: Annotated[list[_Number], msgspec.Meta(max_length=MOST_PARTITIONS)]
    priority: Annotated[str, msgspec.Meta(max_length=50)] | None = None
    more: _Count = 0


class DeadLetters(msgspec.Struct, frozen=True):
    """Dead letters that a worker has made since it started, of one priority and reason.

    Attributes:
        bytes: of their values; None where an older worker does not say it.
    """

    priority: Annotated[str, msgspec.Meta(max_length=50)]
    reason: Annotated[str, msgspec.Meta(max_length=100)]
    count: _Count
    bytes: _Count | None = None


class WorkerState(msgspec.Struct, frozen=True, kw_only=True):
    """A worker, as it says of itself.

    Attributes:
        v: version of the row.
        app: ``TOCSIN_APP_ID``.
        run: another for each process.
        version: of Tocsin.
        host: name of its machine.
        pool: empty for the main pool.
        since_s: when it started, and ``written_s`` when the row was made, in seconds since 1970 by its clock.
        ready: whether it works on its share; ``reasons`` say why not.
        loop_lag_s: how late its event loop came by at most, lately.
        clock_ahead_s: its clock against the brokers'; 0 while they agree.
        flush_s: seconds of its last flush of counts.
        event_types: that it combines.
        classes: by priority.
        repairs: of untidy records since it started, by name.
    """

    v: int = VERSION
    app: _Text
    run: Annotated[str, msgspec.Meta(max_length=64)]
    version: Annotated[str, msgspec.Meta(max_length=64)]
    host: _Text
    pool: _Text
    since_s: _Amount
    written_s: _Amount
    ready: bool
    reasons: Annotated[list[_Text], msgspec.Meta(max_length=MOST_REASONS)]
    mode: Annotated[str, msgspec.Meta(max_length=50)]
    profile: Annotated[str, msgspec.Meta(max_length=50)]
    loop_lag_s: _Amount
    clock_ahead_s: Annotated[float, msgspec.Meta(ge=-1e15, le=1e15)]
    flush_s: _Amount
    event_types: _Count
    rebalances: _Count
    classes: Annotated[
        dict[Annotated[str, msgspec.Meta(max_length=50)], ClassState], msgspec.Meta(max_length=32)
    ]
    partitions: Annotated[list[Partitions], msgspec.Meta(max_length=256)] = []
    dead_letters: Annotated[list[DeadLetters], msgspec.Meta(max_length=512)] = []
    repairs: Annotated[
        dict[Annotated[str, msgspec.Meta(max_length=100)], _Count], msgspec.Meta(max_length=128)
    ] = {}


class _Envelope(msgspec.Struct):
    v: int
    app: str = ""


_encode: Final = msgspec.json.Encoder().encode
_decode_envelope: Final = msgspec.json.Decoder(_Envelope).decode
_decode: Final = msgspec.json.Decoder(WorkerState).decode


def worker_id(settings: Settings, host: str | None = None) -> str:
    """The id of the worker with these settings: the same after a restart, and another for each beside it.

    It is ``TOCSIN_INSTANCE_ID``, or else the name of the machine with something made of the data folder,
    which only one worker at a time can have, and of the address of the web views.
    """
    if settings.instance_id:
        return settings.instance_id
    place = "\n".join(
        [
            settings.app_id,
            settings.pool,
            str(settings.data_dir.absolute()),
            f"{settings.web_host}:{settings.web_port}",
        ]
    )
    host = socket.gethostname() if host is None else host
    return f"{host[:200]}-{blake2b(place.encode(), digest_size=3).hexdigest()}"


def encode_state(state: WorkerState) -> bytes:
    """The value of a row, of at most ``MOST_BYTES``: what makes it too large is left out of it."""
    state = msgspec.structs.replace(
        state,
        reasons=[reason[:_MOST_REASON] for reason in state.reasons[:MOST_REASONS]],
        partitions=_listed(state.partitions, MOST_PARTITIONS),
    )
    row = _encode(state)
    if len(row) > MOST_BYTES:
        row = _encode(msgspec.structs.replace(state, partitions=_listed(state.partitions, 0)))
    if len(row) > MOST_BYTES:
        row = _encode(msgspec.structs.replace(state, partitions=[], dead_letters=[], repairs={}))
    return row


def _listed(partitions: list[Partitions], most: int) -> list[Partitions]:
    """The same with ``most`` numbers of partitions together; the others are told as so many more."""
    listed = []
    for each in partitions:
        kept = each.numbers[:most]
        most -= len(kept)
        listed.append(
            msgspec.structs.replace(each, numbers=kept, more=each.more + len(each.numbers) - len(kept))
        )
    return listed


def decode_key(key: bytes | None) -> str:
    """The id of the worker whose row has this key; what cannot be seen in it is escaped.

    Raises:
        LeftOutError: it has none.
    """
    if not key or len(key) > MOST_KEY_BYTES:
        raise LeftOutError("unreadable", f"a key of {quantity(len(key or b''), 'byte')}")
    try:
        return visible(key.decode())
    except UnicodeDecodeError:
        raise LeftOutError("unreadable", "a key that is no text") from None


def decode_state(value: bytes, app: str) -> WorkerState:
    """The state in a row's value. What cannot be seen in its texts is escaped, for anybody may write rows.

    Args:
        value: the value.
        app: whose workers are looked for.

    Raises:
        LeftOutError: it is no state of one of them.
    """
    if len(value) > MOST_BYTES:
        raise LeftOutError("unreadable", f"{len(value)} bytes")
    try:
        envelope = _decode_envelope(value)
        if envelope.v > VERSION:
            raise LeftOutError("newer", f"version {envelope.v} of rows")
        if envelope.app != app:
            raise LeftOutError("foreign", "a row of another app")
        state = _decode(value)
        if not value.isascii() or b"\\" in value:
            state = msgspec.convert(_visible(msgspec.to_builtins(state)), WorkerState)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise LeftOutError("unreadable", str(error)) from None
    if state.v != VERSION:
        raise LeftOutError("unreadable", f"version {state.v} of rows")
    return state


def _visible(value: Any) -> Any:
    """The same with what cannot be seen escaped in all texts; of a state, which has limits of its own."""
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, list):
        return [_visible(each) for each in value]
    if isinstance(value, dict):
        return {visible(name): _visible(each) for name, each in value.items()}
    return value
