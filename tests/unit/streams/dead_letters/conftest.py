"""Fixtures for what reads dead letters."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from streams.dead_letters import reading as module
from streams.upstream.topic_ids import TopicDescription
from tests.unit.streams.dead_letters.letters_kit import TOPIC, Log


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Log:
    log = Log()

    async def fetch(_: object, names: Sequence[str]) -> dict[str, TopicDescription]:
        assert names == [TOPIC]
        return {
            TOPIC: TopicDescription(
                TOPIC, log.topic_id, log.partitions, 1, error=log.error, may_read=log.may_read
            )
        }

    monkeypatch.setattr(module, "fetch_topics", fetch)
    return log
