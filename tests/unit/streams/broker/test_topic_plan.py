"""The planned topics, and what is found wrong with real ones."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.broker.topic_plan import (
    CHECKED_CONFIG,
    TopicProblem,
    TopicSpec,
    find_few_partitions,
    find_problems,
    find_single_replicas,
    likely_slices,
    planned_topics,
)
from streams.notifications.priority import Priority
from streams.settings import ConfigurationError, load_settings
from streams.upstream.topic_ids import NOT_AUTHORISED, UNKNOWN_TOPIC, TopicDescription

_DAY_MS = 86_400_000


def _plan(**values: Any) -> dict[str, TopicSpec]:
    return {spec.name: spec for spec in planned_topics(load_settings(**values))}


def _found(plan: dict[str, TopicSpec]) -> dict[str, TopicDescription]:
    return {
        name: TopicDescription(name, "B97v3W1JRZKYmnup7NQBNQ", spec.partitions, spec.replication_factor)
        for name, spec in plan.items()
    }


def _configs(plan: dict[str, TopicSpec]) -> dict[str, dict[str, str]]:
    defaults = {
        "message.timestamp.type": "CreateTime",
        "compression.type": "producer",
        "unclean.leader.election.enable": "false",
    }
    return {
        name: {key: (defaults | spec.config)[key] for key in CHECKED_CONFIG} for name, spec in plan.items()
    }


def _problems(
    topic: str = "notifications.warn",
    change: dict[str, Any] | None = None,
    config: dict[str, str] | None = None,
    **values: Any,
) -> list[TopicProblem]:
    """Problems of a cluster that is as planned except for one topic."""
    plan = _plan(**values)
    found, configs = _found(plan), _configs(plan)
    found[topic] = replace(found[topic], **(change or {}))
    configs[topic] |= config or {}
    return find_problems(list(plan.values()), found, configs)


def test_plan_has_the_topics_of_the_design() -> None:
    assert list(_plan()) == [
        "notifications.critical",
        "notifications.error",
        "notifications.warn",
        "notifications.info",
        "notifications.debug",
        "alerts.critical",
        "alerts.error",
        "dead-letters",
        "tocsin-probes",
        "tocsin-status",
        "tocsin-slices",
        "tocsin-partials",
        "tocsin-partial-counts-changelog",
        "tocsin-combined-counts-changelog",
        "event-counts",
    ]


def test_plan_follows_names_and_priorities_of_the_settings() -> None:
    plan = _plan(
        app_id="me",
        priorities="audit",
        forward_priorities="none",
        notification_topic_prefix="n-",
        dead_letter_topic="d",
        event_counts_topic="e",
    )
    assert list(plan) == [
        "n-audit",
        "d",
        "me-probes",
        "me-status",
        "me-slices",
        "me-partials",
        "me-partial-counts-changelog",
        "me-combined-counts-changelog",
        "e",
    ]


def test_notification_topics_use_the_brokers_clock_and_refuse_compressed_storage() -> None:
    config = _plan()["notifications.debug"].config
    assert config["message.timestamp.type"] == "LogAppendTime"
    assert config["compression.type"] == "uncompressed"
    assert config["cleanup.policy"] == "delete"
    assert config["retention.ms"] == str(7 * _DAY_MS)


def test_brokers_put_their_time_on_all_that_workers_write() -> None:
    """So that none is refused, and nothing expires, by the clock of a worker."""
    assert {spec.config["message.timestamp.type"] for spec in _plan().values()} == {"LogAppendTime"}


def test_retentions() -> None:
    plan = _plan()
    assert plan["dead-letters"].config["retention.ms"] == str(30 * _DAY_MS)
    assert plan["alerts.error"].config["retention.ms"] == str(7 * _DAY_MS)
    assert plan["tocsin-partials"].config["retention.ms"] == str(_DAY_MS)


@given(
    partitions=st.integers(1, 10_000),
    replicas=st.integers(1, 15),
    max_bytes=st.integers(1024, 2**26),
    priorities=st.lists(st.sampled_from(list(Priority)), min_size=1, unique=True),
)
def test_every_plan_keeps_these_rules(
    partitions: int, replicas: int, max_bytes: int, priorities: list[Priority]
) -> None:
    plan = _plan(
        partitions=partitions,
        replication_factor=replicas,
        max_notification_bytes=max_bytes,
        priorities=priorities,
    )
    for spec in plan.values():
        many = 1 if spec.name in ("tocsin-slices", "tocsin-status") else partitions
        assert (spec.partitions, spec.replication_factor) == (many, replicas)
        assert 1 <= int(spec.config["min.insync.replicas"]) <= max(1, replicas - 1)
        if spec.optional:  # of a worker that was killed nothing is left after a while
            assert spec.config["cleanup.policy"] == "compact,delete"
            continue
        # Compacted topics hold state: nothing in them may expire.
        compacted = spec.name.endswith("-changelog") or spec.name == "event-counts"
        assert spec.config["cleanup.policy"] == ("compact" if compacted else "delete")
        assert ("retention.ms" in spec.config) is not compacted
    limits = {name: int(spec.config["max.message.bytes"]) for name, spec in plan.items()}
    notification = limits[f"notifications.{priorities[0].lower()}"]
    assert notification > max(max_bytes, 2**20)
    # The largest notification, its key and headers fit beside what Tocsin adds.
    assert limits["dead-letters"] >= max(notification + 2**20, 2 * 2**20)
    assert limits["alerts.critical"] == limits["dead-letters"]
    assert limits["tocsin-partials"] == limits["event-counts"] == 8 * 2**20
    assert find_problems(list(plan.values()), _found(plan), _configs(plan)) == []


def test_real_partition_count_replaces_that_of_the_settings() -> None:
    plan = planned_topics(load_settings(partitions=8), 3)
    assert {spec.partitions for spec in plan if spec.name not in ("tocsin-slices", "tocsin-status")} == {3}


def test_topics_that_hold_counts_have_a_partition_for_each_slice() -> None:
    plan = planned_topics(load_settings(partitions=8), 12, 4)
    assert {spec.partitions for spec in plan if spec.state} == {4}
    assert {spec.partitions for spec in plan if not spec.state} == {12, 1}
    assert [spec.name for spec in plan if spec.partitions == 1] == ["tocsin-status", "tocsin-slices"]
    assert [spec.name for spec in plan if spec.state] == [
        "tocsin-partials",
        "tocsin-partial-counts-changelog",
        "tocsin-combined-counts-changelog",
        "event-counts",
    ]


def test_the_likely_number_of_slices_is_the_least() -> None:
    """Somebody may have raised some of the topics; nobody can have made one smaller."""
    plan = _plan()
    specs, found = list(plan.values()), _found(plan)
    assert likely_slices(specs, {}) is None
    assert likely_slices(specs, found) == 8
    found["notifications.warn"] = replace(found["notifications.warn"], partitions=3)
    found["event-counts"] = replace(found["event-counts"], partitions=16)
    assert likely_slices(specs, found) == 8
    found["tocsin-partials"] = replace(found["tocsin-partials"], partitions=0, error=UNKNOWN_TOPIC)
    found["event-counts"] = replace(found["event-counts"], partitions=4)
    assert likely_slices(specs, found) == 4


@pytest.mark.parametrize(
    "values",
    [
        {"alert_topic_prefix": "notifications."},  # alerts would be consumed as notifications
        {"dead_letter_topic": "event-counts"},
        {"event_counts_topic": "tocsin-partials"},
    ],
)
def test_topic_of_two_kinds_is_refused(values: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match="share the topic"):
        _plan(**values)


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
        for name, spec in _plan().items()
        if not spec.state and name not in ("notifications.warn", "tocsin-slices", "tocsin-status")
    }
    assert all("--partitions 12" in it.sentence for it in problems)


def test_other_count_than_the_settings_is_no_problem_when_all_share_it() -> None:
    plan = planned_topics(load_settings(partitions=8), slices=3)
    real = _plan(partitions=3)
    assert find_problems(plan, _found(real), _configs(real)) == []


def test_missing_topics_name_the_setting_where_workers_may_not_create() -> None:
    plan = list(_plan().values())
    problems = find_problems(plan, {}, {}, create_topics=False)
    # The one that workers can do without comes last, as a warning.
    assert [it.topic for it in problems] == [
        spec.name for spec in sorted(plan, key=lambda each: each.optional)
    ]
    assert all("TOCSIN_CREATE_TOPICS=true" in it.sentence for it in problems)


def test_configuration_that_may_not_be_read_is_one_warning() -> None:
    plan = _plan()
    problems = find_problems(list(plan.values()), _found(plan), {})
    assert [it.severity for it in problems] == ["warning"]
    assert "DescribeConfigs" in problems[0].sentence


def test_errors_come_before_warnings() -> None:
    plan = _plan()
    found = _found(plan)
    found["event-counts"] = replace(found["event-counts"], leaderless=1)
    problems = find_problems(list(plan.values()), found, {})
    assert [it.severity for it in problems] == ["error", "warning"]


def test_a_number_of_partitions_that_was_set_and_topics_do_not_have_is_warned_of() -> None:
    found = _found(_plan())
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
    found = _found(plan)
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
        name: {**each, "unclean.leader.election.enable": "true"} for name, each in _configs(plan).items()
    }
    problems = find_problems(list(plan.values()), _found(plan), configs)
    assert {problem.topic for problem in problems} == {
        spec.name for spec in plan.values() if spec.reads and not spec.optional
    }
    assert all(
        problem.severity == "warning" and "set unclean.leader.election.enable=false" in problem.sentence
        for problem in problems
    )
