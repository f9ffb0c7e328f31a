"""The planned topics."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.broker.topic_plan import planned_topics
from streams.broker.topic_problems import find_problems
from streams.notifications.priority import Priority
from streams.settings import ConfigurationError, load_settings
from tests.unit.streams.broker.planned import configs_of, found_as, plan_of

_DAY_MS = 86_400_000


def test_plan_has_the_topics_of_the_design() -> None:
    assert list(plan_of()) == [
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
    plan = plan_of(
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
    config = plan_of()["notifications.debug"].config
    assert config["message.timestamp.type"] == "LogAppendTime"
    assert config["compression.type"] == "uncompressed"
    assert config["cleanup.policy"] == "delete"
    assert config["retention.ms"] == str(7 * _DAY_MS)


def test_brokers_put_their_time_on_all_that_workers_write() -> None:
    """So that none is refused, and nothing expires, by the clock of a worker."""
    assert {spec.config["message.timestamp.type"] for spec in plan_of().values()} == {"LogAppendTime"}


def test_retentions() -> None:
    plan = plan_of()
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
    plan = plan_of(
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
    assert find_problems(list(plan.values()), found_as(plan), configs_of(plan)) == []


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
        plan_of(**values)
