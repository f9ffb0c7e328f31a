"""Fixtures of the tests on a real Kafka."""

from __future__ import annotations

from tests.integration.worker_process import (
    deployment,
    file_deployment,
    file_kafka,
    own_deployment,
    own_kafka,
)

__all__ = ["deployment", "file_deployment", "file_kafka", "own_deployment", "own_kafka"]
