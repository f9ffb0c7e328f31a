"""A plan of topics, and a cluster that is as planned."""

from __future__ import annotations

from typing import Any

from streams.broker.topic_plan import TopicSpec, planned_topics
from streams.broker.topic_problems import CHECKED_CONFIG
from streams.settings import load_settings
from streams.upstream.topic_ids import TopicDescription


def plan_of(**values: Any) -> dict[str, TopicSpec]:
    return {spec.name: spec for spec in planned_topics(load_settings(**values))}


def found_as(plan: dict[str, TopicSpec]) -> dict[str, TopicDescription]:
    return {
        name: TopicDescription(name, "B97v3W1JRZKYmnup7NQBNQ", spec.partitions, spec.replication_factor)
        for name, spec in plan.items()
    }


def configs_of(plan: dict[str, TopicSpec]) -> dict[str, dict[str, str]]:
    defaults = {
        "message.timestamp.type": "CreateTime",
        "compression.type": "producer",
        "unclean.leader.election.enable": "false",
    }
    return {
        name: {key: (defaults | spec.config)[key] for key in CHECKED_CONFIG} for name, spec in plan.items()
    }
