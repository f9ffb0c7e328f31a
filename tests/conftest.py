"""Fixtures that every test may ask for."""

from __future__ import annotations

from tests.kafka_fixture import kafka, unique

__all__ = ["kafka", "unique"]
