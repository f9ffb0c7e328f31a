"""What is found wrong with real topics."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from streams.broker.topic_plan import planned_topics
from streams.broker.topic_problems import (
    TopicProblem,
    find_few_partitions,
    find_problems,
    find_single_replicas,
    likely_slices,
)
from streams.settings import load_settings
from streams.upstream.topic_ids import NOT_AUTHORISED, UNKNOWN_TOPIC
from tests.unit.streams.broker.planned import configs_of, found_as, plan_of


def _problems(
    topic: str = "notifications.warn",
    change: dict[str, Any] | None = None,
    config: dict[str, str] | None = None,
    **values: Any,
) -> list[TopicProblem]:
    """Problems of a cluster that is as planned except for one topic."""
    plan = plan_of(**values)
    found, configs = found_as(plan), configs_of(plan)
    found[topic] = replace(found[topic], **(change or {}))
    configs[topic] |= config or {}
    return find_problems(list(plan.values()), found, configs)


def test_the_likely_number_of_slices_is_the_least() -> None:
    """Somebody may have raised some of the topics; nobody can have made one smaller."""
    plan = plan_of()
    specs, found = list(plan.values()), found_as(plan)
    assert likely_slices(specs, {}) is None
    assert likely_slices(specs, found) == 8
    found["notifications.warn"] = replace(found["notifications.warn"], partitions=3)
    found["event-counts"] = replace(found["event-counts"], partitions=16)
    assert likely_slices(specs, found) == 8
    found["tocsin-partials"] = replace(found["tocsin-partials"], partitions=0, error=UNKNOWN_TOPIC)
    found["event-counts"] = replace(found["event-counts"], partitions=4)
    assert likely_slices(specs, found) == 4


@pytest.mark.parametrize(
    ("topic", "change", "severity", "words"),
    [
        ("dead-letters", {"error": UNKNOWN_TOPIC}, "error", "missing: run `tocsin topics apply`"),
        ("tocsin-partials", {"error": NOT_AUTHORISED}, "error", "grant Read and Write"),
        ("notifications.warn", {"error": NOT_AUTHORISED}, "error", "grant Read on it"),
        ("event-counts", {"error": "INVALID_TOPIC"}, "error", "INVALID_TOPIC"),
        ("notifications.warn", {"may_read": False}, "error", "grant Read"),
        ("alerts.error", {"may_write": False}, "error", "grant Write"),
        ("event-counts", {"leaderless": 2}, "error", "no leader for 2 of its 8"),
        ("notifications.warn", {"partitions": 4}, "warning", "--partitions 8"),
        ("tocsin-partials", {"partitions": 4}, "error", "--partitions 8"),
        ("tocsin-partials", {"partitions": 16}, "warning", "leave it as it is"),
        ("dead-letters", {"partitions": 4}, "warning", "--partitions 8"),
        ("notifications.warn", {"replication": 1}, "warning", "TOCSIN_REPLICATION_FACTOR wants 3"),
        ("tocsin-status", {"error": UNKNOWN_TOPIC}, "warning", "do all their work without it"),
        ("tocsin-status", {"may_write": False}, "warning", "grant Write on it; workers do all their work"),
        ("tocsin-status", {"leaderless": 1}, "warning", "do all their work without it"),
    ],
)
def test_wrong_topic_is_reported_once_and_says_what_to_change(
    topic: str, change: dict[str, Any], severity: str, words: str
) -> None:
    problems = _problems(topic, change, replication_factor=3)
    assert [(it.severity, it.topic) for it in problems] == [(severity, topic)]
    assert words in problems[0].sentence


@pytest.mark.parametrize(
    ("topic", "change"),
    [
        ("notifications.warn", {"may_write": False}),  # a worker does not publish
        ("alerts.error", {"may_read": False}),
        ("dead-letters", {"partitions": 16}),
        ("notifications.warn", {"replication": 5}),
    ],
)
def test_harmless_difference_is_not_reported(topic: str, change: dict[str, Any]) -> None:
    assert _problems(topic, change, replication_factor=3) == []


@pytest.mark.parametrize(
    ("topic", "config", "severity", "words"),
    [
        ("notifications.warn", {"message.timestamp.type": "CreateTime"}, "warning", "LogAppendTime"),
        ("event-counts", {"message.timestamp.type": "CreateTime"}, "warning", "from the workers' clocks"),
        ("notifications.warn", {"compression.type": "producer"}, "warning", "compression.type=uncompressed"),
        ("notifications.warn", {"cleanup.policy": "compact"}, "error", "cleanup.policy=delete"),
        (
            "tocsin-partial-counts-changelog",
            {"cleanup.policy": "compact,delete"},
            "error",
            "set cleanup.policy=compact",
        ),
        ("event-counts", {"cleanup.policy": "delete"}, "error", "set cleanup.policy=compact"),
        ("tocsin-status", {"cleanup.policy": "delete"}, "warning", "set cleanup.policy=compact,delete"),
        ("dead-letters", {"max.message.bytes": "1048588"}, "warning", "set max.message.bytes=2101248"),
        ("notifications.warn", {"max.message.bytes": "5000000"}, "warning", "too much for the dead letters"),
    ],
)
def test_wrong_configuration_is_reported(
    topic: str, config: dict[str, str], severity: str, words: str
) -> None:
    problems = _problems(topic, config=config)
    assert [(it.severity, it.topic) for it in problems] == [(severity, topic)]
    assert words in problems[0].sentence


def test_kafkas_own_limit_of_record_sizes_is_good_enough_for_notifications() -> None:
    assert _problems("notifications.warn", config={"max.message.bytes": "1048588"}) == []


def test_largest_count_of_unequal_notification_topics_is_the_one_to_reach() -> None:
    """Workers read them as they are; those that hold counts stay as they are."""
    problems = _problems("notifications.warn", {"partitions": 12})
    assert {it.severity for it in problems} == {"warning"}
    assert {it.topic for it in problems} == {
        name
        for name, spec in plan_of().items()
        if not spec.state and name not in ("notifications.warn", "tocsin-slices", "tocsin-status")
    }
    assert all("--partitions 12" in it.sentence for it in problems)


def test_other_count_than_the_settings_is_no_problem_when_all_share_it() -> None:
    plan = planned_topics(load_settings(partitions=8), slices=3)
    real = plan_of(partitions=3)
    assert find_problems(plan, found_as(real), configs_of(real)) == []


def test_missing_topics_name_the_setting_where_workers_may_not_create() -> None:
    plan = list(plan_of().values())
    problems = find_problems(plan, {}, {}, create_topics=False)
    # The one that workers can do without comes last, as a warning.
    assert [it.topic for it in problems] == [
        spec.name for spec in sorted(plan, key=lambda each: each.optional)
    ]
    assert all("TOCSIN_CREATE_TOPICS=true" in it.sentence for it in problems)


def test_configuration_that_may_not_be_read_is_one_warning() -> None:
    plan = plan_of()
    problems = find_problems(list(plan.values()), found_as(plan), {})
    assert [it.severity for it in problems] == ["warning"]
    assert "DescribeConfigs" in problems[0].sentence


def test_errors_come_before_warnings() -> None:
    plan = plan_of()
    found = found_as(plan)
    found["event-counts"] = replace(found["event-counts"], leaderless=1)
    problems = find_problems(list(plan.values()), found, {})
    assert [it.severity for it in problems] == ["error", "warning"]


def test_a_number_of_partitions_that_was_set_and_topics_do_not_have_is_warned_of() -> None:
    found = found_as(plan_of())
    name = "notifications.error"
    there = found[name].partitions
    assert find_few_partitions([name], found, there) == []
    [problem] = find_few_partitions([name, "not.there"], found, there + 8)
    assert (problem.severity, problem.topic) == ("warning", name)
    assert (
        f"has {there} partitions and TOCSIN_PARTITIONS={there + 8} is for new topics alone"
        in problem.sentence
    )


def test_topics_of_one_replica_are_warned_of_where_others_could_hold_them_too() -> None:
    plan = {spec.name: spec for spec in planned_topics(load_settings(replication_factor=1))}
    found = found_as(plan)
    assert find_single_replicas(list(plan.values()), found, 1) == []
    problems = find_single_replicas(list(plan.values()), found, 3)
    assert {problem.topic for problem in problems} == {
        spec.name for spec in plan.values() if spec.reads and not spec.optional
    }
    assert all(problem.severity == "warning" and "has 1 replica" in problem.sentence for problem in problems)
    more = {name: replace(topic, replication=3) for name, topic in found.items()}
    assert find_single_replicas(list(plan.values()), more, 3) == []


def test_unclean_elections_are_warned_of_where_workers_read() -> None:
    plan = {spec.name: spec for spec in planned_topics(load_settings())}
    configs = {
        name: {**each, "unclean.leader.election.enable": "true"} for name, each in configs_of(plan).items()
    }
    problems = find_problems(list(plan.values()), found_as(plan), configs)
    assert {problem.topic for problem in problems} == {
        spec.name for spec in plan.values() if spec.reads and not spec.optional
    }
    assert all(
        problem.severity == "warning" and "set unclean.leader.election.enable=false" in problem.sentence
        for problem in problems
    )
