"""Names of the notification topics, for arms in an environment in which the product is not installed."""

from __future__ import annotations

from tests.benchmarks.service import PRIORITIES


def priorities_by_topic(prefix: str) -> dict[str, str]:
    """Priority of every notification topic; the same topics as those of ``cluster.notification_topics``."""
    return {prefix + priority.lower(): priority for priority in PRIORITIES}
