"""What others use for the same work: arms whose programs know nothing of Tocsin.

What the product's environment does not hold runs in one of its own.
"""

from __future__ import annotations

import importlib.util

from tests.benchmarks.arms.registry import Arm
from tests.benchmarks.processes import ROOT

#: Interpreter of the environment that the Makefile makes of requirements/peers.txt.
PYTHON = ROOT / ".tocsin" / "bench-peers" / "bin" / "python"


def without_confluent() -> str | None:
    """Why confluent-kafka cannot be measured; None when it can."""
    if importlib.util.find_spec("confluent_kafka") is None:
        return "confluent-kafka is not installed here; make setup brings it."
    return None


def without_environment() -> str | None:
    """Why nothing can be run in the environment of the peers; None when it can."""
    if not PYTHON.exists() or not (PYTHON.parents[1] / ".set-up").exists():
        return f"its environment is missing; make {PYTHON.parents[1].relative_to(ROOT)}/.set-up makes it."
    return None


def without_java() -> str | None:
    """Why Kafka Streams cannot be measured; None when it can."""
    # Imported here: what makes the jars ready is not in the environment of the peers.
    from tests.benchmarks.arms.kafka_streams import build

    return build.unavailable()


PEERS = [
    Arm(
        "confluent",
        "confluent-kafka + orjson, a dict",
        "confluent",
        True,
        latency=True,
        available=without_confluent,
    ),
    Arm(
        "quix",
        "Quix Streams, a dict",
        "quix",
        True,
        python=str(PYTHON),
        latency=True,
        available=without_environment,
    ),
    Arm(
        "quix-state",
        "Quix Streams, state of a partition",
        "quix",
        True,
        {"state": True},
        python=str(PYTHON),
        available=without_environment,
    ),
    Arm(
        "quix-group-by",
        "Quix Streams, group_by and state",
        "quix",
        True,
        {"state": True, "group_by": True},
        python=str(PYTHON),
        available=without_environment,
    ),
    Arm(
        "kafka-streams",
        "Kafka Streams (Java), a map",
        "kafka_streams",
        True,
        latency=True,
        available=without_java,
    ),
    Arm(
        "kafka-streams-state",
        "Kafka Streams (Java), state of a partition",
        "kafka_streams",
        True,
        {"state": True},
        available=without_java,
    ),
]
