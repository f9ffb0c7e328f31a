"""Clients of a worker ask for topics, and have none created by it."""

from __future__ import annotations

import aiokafka.admin.client
import aiokafka.client
import pytest
from aiokafka import AIOKafkaClient
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.protocol.metadata import MetadataRequest

from streams.upstream import rebootstrap
from streams.upstream.no_topic_creation import install_no_topic_creation

VERSIONS = {3: (0, 12)}


@pytest.fixture(autouse=True)
def _as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (aiokafka.client, aiokafka.admin.client):
        monkeypatch.setattr(module, "MetadataRequest", MetadataRequest)


def test_no_request_creates_a_topic() -> None:
    for module in (aiokafka.client, aiokafka.admin.client):
        # The control: stock aiokafka would have the topic created.
        assert module.MetadataRequest(["t"]).prepare(VERSIONS).allow_auto_topic_creation is True
    install_no_topic_creation()
    install_no_topic_creation()
    for module in (aiokafka.client, aiokafka.admin.client):
        for topics in (["t"], [], None):
            built = module.MetadataRequest(topics).prepare(VERSIONS)
            assert (built.topics, built.allow_auto_topic_creation) == (topics, False)


def test_aiokafka_asks_where_it_is_changed() -> None:
    assert "MetadataRequest" in rebootstrap._stock_metadata_update.__code__.co_names
    assert "MetadataRequest" in AIOKafkaClient.bootstrap.__code__.co_names
    assert "MetadataRequest" in AIOKafkaAdminClient._get_cluster_metadata.__code__.co_names
