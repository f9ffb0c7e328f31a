"""The topics Tocsin wants; no input or output."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from streams.settings import ConfigurationError, Settings

_MIB = 2**20
_DAY_MS = 86_400_000
_HOUR_MS = 3_600_000
#: Room beside a notification's value for key, headers and the batch's header.
_RECORD_ROOM = 4096


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """One topic as Tocsin wants it.

    Attributes:
        name: the topic.
        partitions: number of partitions.
        replication_factor: replicas of each partition.
        config: Kafka's topic settings.
        purpose: what lies in it, in a few words.
        reads: a worker reads it.
        writes: a worker writes to it.
        notifications: it is one of the notification topics.
        state: it holds counts: its first partitions are the slices, and it has as many or more.
        optional: a worker does all its work without it.
    """

    name: str
    partitions: int
    replication_factor: int
    config: dict[str, str]
    purpose: str
    reads: bool = False
    writes: bool = False
    notifications: bool = False
    state: bool = False
    optional: bool = False


#: How workers use a topic: the flags of its ``TopicSpec``.
_INPUT: Final = {"reads": True, "notifications": True}
_OUTPUT: Final = {"writes": True}
_STATE: Final = {"reads": True, "writes": True, "state": True}
_BOTH: Final = {"reads": True, "writes": True}
_BESIDE: Final = _BOTH | {"optional": True}


def planned_topics(
    settings: Settings, partitions: int | None = None, slices: int | None = None
) -> list[TopicSpec]:
    """The topics of these settings.

    Args:
        settings: names, priorities, sizes, replication.
        partitions: partition count instead of ``settings.partitions``, where the notification topics exist.
        slices: partition count of the topics that hold counts, where it is another: it was fixed when they
            were made, and stays when notification topics get more partitions.

    Raises:
        ConfigurationError: two topics have one name.
    """
    count = settings.partitions if partitions is None else partitions
    config, internal = _topic_configs(settings), settings.internal_topic
    table = [
        *(
            (settings.notification_topic(p), "notifications", _INPUT, f"notifications of priority {p}")
            for p in settings.priorities
        ),
        *(
            (settings.alert_topic(p), "alerts", _OUTPUT, f"alerts of severity {p.lower()}")
            for p in settings.forward_priorities
        ),
        (
            settings.dead_letter_topic,
            "dead letters",
            _OUTPUT,
            "records that could not be read, with the reason",
        ),
        (internal("probes"), "probes", _OUTPUT, "answers to `tocsin probe`"),
        (settings.status_topic, "status", _BESIDE, "how each worker is, as it says itself"),
        (slices_topic(settings), "slices", _BOTH, "the number of slices, fixed at the first start"),
        (internal("partials"), "partials", _STATE, "partial counts on their way to be combined"),
        (internal("partial-counts-changelog"), "counts", _STATE, "changelog of the partial counts"),
        (internal("combined-counts-changelog"), "counts", _STATE, "changelog of the combined counts"),
        (settings.event_counts_topic, "counts", _STATE, "combined counts, for every reader"),
    ]
    _refuse_equal_names([name for name, _, _, _ in table])
    counts = {"slices": 1, "status": 1, "partials": slices or count, "counts": slices or count}
    return [
        TopicSpec(
            name, counts.get(kind, count), settings.replication_factor, dict(config[kind]), purpose, **use
        )
        for name, kind, use, purpose in table
    ]


def slices_topic(settings: Settings) -> str:
    """The topic that says into how many slices the event types are cut."""
    return settings.internal_topic("slices")


def _topic_configs(settings: Settings) -> dict[str, dict[str, str]]:
    """Kafka's settings of each kind of topic."""
    notification_bytes = max(_MIB, settings.max_notification_bytes) + _RECORD_ROOM
    # The original with its headers, and as much again for what Tocsin adds to it.
    forwarded_bytes = notification_bytes + max(_MIB, settings.max_notification_bytes)
    # Lag and lateness are measured from the broker's clock, not from each publisher's; rows carry the times
    # of what they count, which may be long ago, and must not expire by those; and brokers refuse records
    # whose times are far ahead, so that a worker with a wrong clock could write nothing.
    brokers_clock = {"message.timestamp.type": "LogAppendTime"}
    kinds = {
        # The broker then measures the unpacked batch, so that a compression bomb is refused at its door.
        "notifications": _expiring(7, notification_bytes)
        | brokers_clock
        | {"compression.type": "uncompressed"},
        "alerts": _expiring(7, forwarded_bytes) | brokers_clock,
        "dead letters": _expiring(30, forwarded_bytes) | brokers_clock,
        # Nobody reads an answer later, and anybody can publish probes: neither may fill a disk.
        "probes": {
            "cleanup.policy": "delete",
            "retention.ms": str(_HOUR_MS),
            "retention.bytes": str(16 * _MIB),
            "segment.bytes": str(8 * _MIB),
            "max.message.bytes": str(_MIB),
        }
        | brokers_clock,
        "partials": _expiring(1, 8 * _MIB) | brokers_clock,
        # A row a worker every two seconds, of which the last few minutes are shown: whoever starts reads it
        # all, so it is kept small, and rows of workers that were killed may expire.
        "status": {
            "cleanup.policy": "compact,delete",
            "retention.ms": str(_HOUR_MS),
            "segment.bytes": str(4 * _MIB),
            "segment.ms": str(_HOUR_MS // 6),
            "min.cleanable.dirty.ratio": "0.3",
            "max.message.bytes": str(_MIB),
        }
        | brokers_clock,
        # Its first record holds, whatever comes later: so nothing of it may expire, nor be compacted.
        "slices": {
            "cleanup.policy": "delete",
            "retention.ms": "-1",
            "retention.bytes": "-1",
            "max.message.bytes": str(_MIB),
        }
        | brokers_clock,
        # Never with delete: recovery hangs where the last record of a changelog has expired. Short segments
        # and an early cleaner keep what a restarted worker has to read small.
        "counts": {
            "cleanup.policy": "compact",
            "max.message.bytes": str(8 * _MIB),
            "segment.ms": str(_HOUR_MS),
            "min.cleanable.dirty.ratio": "0.3",
        }
        | brokers_clock,
    }
    # One replica may be away for maintenance without stopping the writers.
    common = {"min.insync.replicas": str(max(1, settings.replication_factor - 1))}
    return {kind: common | config for kind, config in kinds.items()}


def _expiring(days: int, max_bytes: int) -> dict[str, str]:
    return {
        "cleanup.policy": "delete",
        "retention.ms": str(days * _DAY_MS),
        "max.message.bytes": str(max_bytes),
    }


def _refuse_equal_names(names: Sequence[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise ConfigurationError(
                f"Two kinds of records would share the topic {name}: give TOCSIN_NOTIFICATION_TOPIC_PREFIX, "
                "TOCSIN_ALERT_TOPIC_PREFIX, TOCSIN_DEAD_LETTER_TOPIC, TOCSIN_EVENT_COUNTS_TOPIC and "
                "TOCSIN_APP_ID values that keep them apart."
            )


def access(spec: TopicSpec) -> str:
    """The rights that a worker needs on a topic."""
    return " and ".join(name for name, wanted in (("Read", spec.reads), ("Write", spec.writes)) if wanted)
