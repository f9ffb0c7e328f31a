"""The peers of the benchmarks: known by name, and each says why it cannot run here."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from tests.benchmarks import peers, throughput
from tests.benchmarks.arms.registry import arms
from tests.benchmarks.arms.topics import priorities_by_topic
from tests.benchmarks.cluster import notification_topics


def test_the_registry_has_the_peers() -> None:
    known = arms()
    assert {"confluent", "quix", "quix-state", "quix-group-by"} <= known.keys()
    assert {name for name in throughput.TARGETS if not known[name].throughput} == set()
    assert not known["quix-state"].latency


@pytest.mark.parametrize("arm", peers.PEERS, ids=lambda arm: arm.name)
def test_a_peer_is_a_module_here(arm: peers.Arm) -> None:
    # Found, not imported: what it imports need not be installed here.
    assert importlib.util.find_spec(f"tests.benchmarks.arms.{arm.module}") is not None


@pytest.mark.parametrize("name", ["quix", "quix-state", "quix-group-by"])
def test_says_that_the_environment_is_missing(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(peers, "ROOT", tmp_path)
    monkeypatch.setattr(peers, "PYTHON", tmp_path / "env" / "bin" / "python")
    reason = arms()[name].available()
    assert reason == "its environment is missing; make env/.set-up makes it."


def test_says_that_confluent_kafka_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    reason = arms()["confluent"].available()
    assert reason is not None
    assert reason.endswith(".")


def test_topics_are_those_of_the_cluster() -> None:
    by_priority = {priority.value: topic for priority, topic in notification_topics("x.").items()}
    assert {priority: topic for topic, priority in priorities_by_topic("x.").items()} == by_priority
