"""The topics that are there, and what is wrong with them; no input or output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from streams.broker.topic_plan import TopicSpec, access
from streams.quantities import quantity
from streams.upstream.topic_ids import NOT_AUTHORISED, UNKNOWN_TOPIC, TopicDescription

#: Errors that are told in full.
_SHOWN = 3

#: Settings of a topic that ``find_problems`` looks at.
CHECKED_CONFIG = (
    "cleanup.policy",
    "message.timestamp.type",
    "compression.type",
    "max.message.bytes",
    "min.insync.replicas",
    "unclean.leader.election.enable",
)


@dataclass(frozen=True, slots=True)
class TopicProblem:
    """Something wrong with a topic.

    Attributes:
        severity: ``error`` when a worker must not run with it.
        topic: the topic, several separated by commas, or a broker.
        sentence: what is wrong and what to change, without a full stop, to be read after ``topic``.
    """

    severity: Literal["error", "warning"]
    topic: str
    sentence: str

    def __str__(self) -> str:
        return f"{self.topic} {self.sentence}"


def existing_partitions(plan: Sequence[TopicSpec], found: Mapping[str, TopicDescription]) -> dict[str, int]:
    """Partition count of each notification topic that is there."""
    return {
        spec.name: found[spec.name].partitions
        for spec in plan
        if spec.notifications and spec.name in found and found[spec.name].error is None
    }


def likely_slices(plan: Sequence[TopicSpec], found: Mapping[str, TopicDescription]) -> int | None:
    """The number of slices as the topics that hold counts tell it; None while none of them is there.

    Somebody may have raised some of them, and none can be made smaller: so it is the least.
    """
    counts = (
        found[spec.name].partitions
        for spec in plan
        if spec.state and spec.name in found and found[spec.name].error is None
    )
    return min(counts, default=None)


@dataclass(slots=True)
class _Finder:
    create: bool
    target: int
    problems: list[TopicProblem] = field(default_factory=list)

    def error(self, spec: TopicSpec, sentence: str) -> None:
        if spec.optional:
            self.warning(
                spec, f"{sentence}; workers do all their work without it, but do not show each other"
            )
        else:
            self.problems.append(TopicProblem("error", spec.name, sentence))

    def warning(self, spec: TopicSpec, sentence: str) -> None:
        self.problems.append(TopicProblem("warning", spec.name, sentence))

    def look_at(self, spec: TopicSpec, topic: TopicDescription) -> None:
        if topic.error == UNKNOWN_TOPIC:
            also = "" if self.create else ", or set TOCSIN_CREATE_TOPICS=true"
            self.error(spec, f"is missing: run `tocsin topics apply`{also}")
        elif topic.error == NOT_AUTHORISED:
            self.error(spec, f"may not be seen by this user: grant {access(spec)} on it")
        elif topic.error is not None:
            self.error(
                spec, f"cannot be used, the broker says {topic.error}: change its name in the settings"
            )
        else:
            self._access(spec, topic)
            self._layout(spec, topic)

    def _access(self, spec: TopicSpec, topic: TopicDescription) -> None:
        if spec.reads and not topic.may_read:
            self.error(spec, "may not be read by this user: grant Read on it")
        if spec.writes and not topic.may_write:
            self.error(spec, "may not be written by this user: grant Write on it")

    def _layout(self, spec: TopicSpec, topic: TopicDescription) -> None:
        if topic.leaderless:
            self.error(
                spec,
                f"has no leader for {topic.leaderless} of its {quantity(topic.partitions, 'partition')}: "
                "start the brokers that hold them",
            )
        if spec.state:
            self._slices(spec, topic)
        elif (spec.notifications or not spec.reads) and topic.partitions < self.target:
            others = "other notification topics" if spec.notifications else "notification topics"
            self.warning(
                spec,
                f"has {quantity(topic.partitions, 'partition')} where {others} have {self.target}: "
                f"raise it to {self.target} with `kafka-topics.sh --alter --partitions {self.target}`",
            )
        if topic.replication < spec.replication_factor:
            self.warning(
                spec,
                f"has {quantity(topic.replication, 'replica')} where TOCSIN_REPLICATION_FACTOR wants "
                f"{spec.replication_factor}: add some with `kafka-reassign-partitions.sh`",
            )

    def _slices(self, spec: TopicSpec, topic: TopicDescription) -> None:
        if topic.partitions < spec.partitions:
            self.error(
                spec,
                f"has {quantity(topic.partitions, 'partition')} and counts are kept in "
                f"{quantity(spec.partitions, 'slice')}: raise it with "
                f"`kafka-topics.sh --alter --partitions {spec.partitions}`",
            )
        elif topic.partitions > spec.partitions:
            self.warning(
                spec,
                f"has {quantity(topic.partitions, 'partition')} and counts are kept in "
                f"{quantity(spec.partitions, 'slice')}, so the others stay empty: leave it as it is, and "
                "raise notification topics alone",
            )

    def look_at_config(self, spec: TopicSpec, config: Mapping[str, str]) -> None:
        wanted = spec.config
        policy = {part.strip() for part in config.get("cleanup.policy", "").split(",")} - {""}
        if policy and policy != set(wanted["cleanup.policy"].split(",")):
            why = {
                "compact": "its counts would expire",
                "delete": "records of one key would replace each other",
            }.get(wanted["cleanup.policy"], "it would grow")
            self.error(
                spec,
                f"has cleanup.policy={config['cleanup.policy']} and {why}: "
                f"set cleanup.policy={wanted['cleanup.policy']}",
            )
        whose = "publishers'" if spec.notifications else "workers'"
        for name, why in (
            ("message.timestamp.type", f"times would come from the {whose} clocks"),
            ("compression.type", "a small batch may unpack to more than a worker's memory"),
        ):
            if name == "message.timestamp.type" and not spec.reads:
                continue  # of what workers only write, nobody goes by the time
            if name in wanted and name in config and config[name] != wanted[name]:
                self.warning(spec, f"has {name}={config[name]}, so {why}: set {name}={wanted[name]}")
        if spec.reads and not spec.optional and config.get("unclean.leader.election.enable") == "true":
            self.warning(
                spec,
                "has unclean.leader.election.enable=true, so its end may be lost with a leader, and what was "
                "counted with it: set unclean.leader.election.enable=false",
            )
        limit = int(config.get("max.message.bytes", wanted["max.message.bytes"]))
        if spec.writes and limit < int(wanted["max.message.bytes"]):
            self.warning(
                spec,
                f"has max.message.bytes={limit} and may refuse large records: "
                f"set max.message.bytes={wanted['max.message.bytes']}",
            )
        elif spec.notifications and limit > int(wanted["max.message.bytes"]):
            self.warning(
                spec,
                f"has max.message.bytes={limit}, too much for the dead letters: "
                f"set max.message.bytes={wanted['max.message.bytes']}, "
                "or raise TOCSIN_MAX_NOTIFICATION_BYTES",
            )


def find_problems(
    plan: Sequence[TopicSpec],
    found: Mapping[str, TopicDescription],
    configs: Mapping[str, Mapping[str, str]],
    *,
    create_topics: bool = True,
) -> list[TopicProblem]:
    """Compare the topics that are there with those that are wanted; errors come first.

    The notification topics may have another partition count than planned; topics that workers only write to
    are measured against the largest. The topics that hold counts are measured against the plan.

    Args:
        plan: what is wanted.
        found: what is there, by topic; one that is not in it is missing.
        configs: ``CHECKED_CONFIG`` of the topics, by topic; one that is not in it could not be read.
        create_topics: whether a worker may create topics; a missing one is an error all the same.
    """
    counts = existing_partitions(plan, found)
    # Partitions can be added and never taken away, so the largest count is the one to reach.
    target = max(counts.values(), default=max((spec.partitions for spec in plan), default=1))
    finder = _Finder(create_topics, target)
    unread = []
    for spec in plan:
        topic = found.get(spec.name) or TopicDescription(spec.name, "", 0, 0, UNKNOWN_TOPIC)
        finder.look_at(spec, topic)
        if topic.error is None:
            if spec.name in configs:
                finder.look_at_config(spec, configs[spec.name])
            else:
                unread.append(spec.name)
    if unread:
        finder.problems.append(
            TopicProblem(
                "warning",
                ", ".join(unread),
                "could not be checked for cleanup.policy and the like: grant DescribeConfigs to check them",
            )
        )
    return sorted(finder.problems, key=lambda problem: problem.severity == "warning")


def find_single_replicas(
    plan: Sequence[TopicSpec], found: Mapping[str, TopicDescription], brokers: int
) -> list[TopicProblem]:
    """Warnings for topics that one broker alone holds, where there are others that could hold them as well.

    Args:
        plan: what is wanted.
        found: what is there, by topic.
        brokers: of the cluster.
    """
    if brokers == 1:
        return []
    return [
        TopicProblem(
            "warning",
            spec.name,
            "has 1 replica, so its end, and what was counted with it, may be lost with that broker: "
            "add some with `kafka-reassign-partitions.sh`, and set TOCSIN_REPLICATION_FACTOR=3",
        )
        for spec in plan
        if spec.reads
        and not spec.optional
        and spec.replication_factor == 1
        and spec.name in found
        and found[spec.name].error is None
        and found[spec.name].replication == 1
    ]


def find_few_partitions(
    names: Sequence[str], found: Mapping[str, TopicDescription], wanted: int
) -> list[TopicProblem]:
    """Warnings for notification topics that have fewer partitions than somebody has set.

    Args:
        names: of the notification topics.
        found: what is there, by topic.
        wanted: partitions that were set.
    """
    return [
        TopicProblem(
            "warning",
            name,
            f"has {quantity(found[name].partitions, 'partition')} and TOCSIN_PARTITIONS={wanted} is for new "
            "topics alone: docs/operations.md says how a topic is given more",
        )
        for name in names
        if name in found and found[name].error is None and found[name].partitions < wanted
    ]


def listed(errors: Sequence[TopicProblem]) -> str:
    """The first few of several errors in one sentence."""
    shown = "; ".join(str(problem) for problem in errors[:_SHOWN])
    more = len(errors) - _SHOWN
    return f"{shown}; and {more} more, see `tocsin topics check`." if more > 0 else f"{shown}."


def topic_fault(topic: TopicDescription, *, reads: bool = False, writes: bool = False) -> str | None:
    """Why a topic is of no use, in one sentence; None when it can be used.

    Args:
        topic: as the brokers describe it.
        reads: whether it is to be read.
        writes: whether something is to be written to it.
    """
    if topic.error == UNKNOWN_TOPIC:
        why, advice = "is missing", "run `tocsin topics apply`, or change its name in the settings"
    elif topic.error == NOT_AUTHORISED:
        why, advice = "may not be seen by this user", "grant Describe on it"
    elif topic.error is not None:
        why, advice = f"cannot be used, the broker says {topic.error}", "change its name in the settings"
    elif reads and not topic.may_read:
        why, advice = "may not be read by this user", "grant Read on it"
    elif writes and not topic.may_write:
        why, advice = "may not be written by this user", "grant Write on it"
    else:
        return None
    return f"The topic {topic.name} {why}: {advice}."
