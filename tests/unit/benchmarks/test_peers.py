"""The peers of the benchmarks: known by name, and each says why it cannot run here."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from tests.benchmarks import peers, throughput
from tests.benchmarks.arms.kafka_streams import build
from tests.benchmarks.arms.registry import arms
from tests.benchmarks.arms.topics import priorities_by_topic
from tests.benchmarks.cluster import notification_topics
from tocsin.local_kafka import jars as kafka_jars
from tocsin.local_kafka.jars import KAFKA_VERSION, LocalKafkaError, locked_jars


def test_the_registry_has_the_peers() -> None:
    known = arms()
    quix = {"quix", "quix-state", "quix-group-by"}
    assert quix | {"confluent", "kafka-streams", "kafka-streams-state"} <= known.keys()
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


def test_says_that_there_is_no_java_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(build.sys, "platform", "linux")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    assert arms()["kafka-streams"].available() == "there is no Java compiler (javac) here."


def test_says_that_the_jars_are_not_to_be_had(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fail(*_arguments: object) -> None:
        raise LocalKafkaError("Cannot download it.")

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(build.sys, "platform", "linux")
    monkeypatch.setattr(build, "_compiler", lambda: "javac")
    monkeypatch.setattr(kafka_jars, "_download_one", fail)
    assert arms()["kafka-streams-state"].available() == "Cannot download it."


def test_jars_are_those_of_the_local_kafka_and_kafka_streams() -> None:
    jars = locked_jars(build.LOCK_FILE)
    assert {jar.version for jar in jars if jar.group == "org.apache.kafka"} == {KAFKA_VERSION}
    assert {"kafka-streams", "rocksdbjni", "jackson-databind"} <= {jar.artifact for jar in jars}
    assert all(re.fullmatch(r"[0-9a-f]{64}", jar.sha256) and jar.size > 0 for jar in jars)
    # Both are kept in one folder, so that two of one name have to be the same.
    pinned = {jar.file_name: jar for jar in locked_jars()}
    assert [jar for jar in jars if pinned.get(jar.file_name, jar) != jar] == []


def test_topics_are_those_of_the_cluster() -> None:
    by_priority = {priority.value: topic for priority, topic in notification_topics("x.").items()}
    assert {priority: topic for topic, priority in priorities_by_topic("x.").items()} == by_priority
