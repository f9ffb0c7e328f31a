"""Fixtures of the tests on a real Kafka."""

from __future__ import annotations

from tests.integration.worker_process import deployment

__all__ = ["deployment"]
