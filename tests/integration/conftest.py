"""Fixtures of the tests on a real Kafka."""

from __future__ import annotations

from tests.integration.worker_process import deployment, own_deployment, own_kafka

__all__ = ["deployment", "own_deployment", "own_kafka"]
