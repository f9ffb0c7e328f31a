"""What a group has committed, asked through a consumer; also the private part of aiokafka in use."""

from __future__ import annotations

import inspect
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.structs import OffsetAndMetadata
from faust.types import TP

from streams.upstream import committed as module
from streams.upstream.committed import committed_by_id
from streams.upstream.topic_ids import TopicDescription, commit_note

OLD, NEW = "B97v3W1JRZKYmnup7NQBNQ", "C97v3W1JRZKYmnup7NQBNQ"


async def test_what_was_committed_of_an_earlier_topic_of_the_name_is_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def fetch_topics(_: Any, names: list[str]) -> dict[str, TopicDescription]:
        return {name: TopicDescription(name, NEW, 3, 1) for name in names}

    async def fetch_committed_offsets(tps: list[TP]) -> dict[Any, OffsetAndMetadata]:
        assert len(tps) == 2
        return {
            TP("a", 0): OffsetAndMetadata(5, commit_note(NEW, 0)),
            TP("a", 1): OffsetAndMetadata(7, commit_note(OLD, 0)),
        }

    monkeypatch.setattr(module, "fetch_topics", fetch_topics)
    consumer = SimpleNamespace(_coordinator=SimpleNamespace(fetch_committed_offsets=fetch_committed_offsets))
    found = await committed_by_id(consumer, [TP("a", 0), TP("a", 1)], ["a", "b"])
    assert (found.topic_ids, found.offsets) == ({"a": NEW, "b": NEW}, {TP("a", 0): 5})
    assert found.of_former == {TP("a", 1): 7}
    assert (await committed_by_id(consumer, [], ["a"])).offsets == {}


def test_aiokafka_has_what_is_asked() -> None:
    assert list(inspect.signature(GroupCoordinator.fetch_committed_offsets).parameters) == [
        "self",
        "partitions",
    ]
