"""The Metadata request of version 12, against bytes recorded from Kafka 4.4.0."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError, NodeNotReadyError

from streams.upstream import topic_ids
from streams.upstream.topic_ids import TopicDescription, fetch_topics

_VERSIONS = {3: (0, 13)}
_REQUEST = bytes.fromhex(
    "030000000000000000000000000000000008612e746f7069630000000000000000000000000000000000056e6f706500000100"
)
# Topic a.topic with two partitions, and two that are refused: nope (unknown) and bad/name (invalid).
_RESPONSE = bytes.fromhex(
    "00000003000000000002000000010a3132372e302e302e3100003dc9000017535a707463343368544f6d476a4d364b4732"
    "646638670000000104000008612e746f70696307deefdd6d494592989a7ba9ecd401350003000000000000000000010000"
    "0000020000000102000000010100000000000001000000010000000002000000010200000001010000000df8000003056e"
    "6f706500000000000000000000000000000000000100000df8000011096261642f6e616d65000000000000000000000000"
    "00000000000100000df80000"
)
#: As Kafka's own tools print it.
_ID = "B97v3W1JRZKYmnup7NQBNQ"


def _request(*names: str) -> Any:
    return topic_ids._MetadataRequest(names).prepare(_VERSIONS)


def _decoded(data: bytes) -> Any:
    stream = BytesIO(data)
    header = _request("a.topic").parse_response_header(stream)
    assert header.correlation_id == 3
    response = topic_ids._MetadataResponse.decode(stream)
    assert stream.read() == b""
    return response


def test_request_is_encoded_as_recorded() -> None:
    assert _request("a.topic", "nope").encode() == _REQUEST


def test_request_forbids_creation_of_topics() -> None:
    assert _request("x").allow_auto_topic_creation is False


def test_response_is_decoded_with_ids_and_errors() -> None:
    assert topic_ids._described(_decoded(_RESPONSE), ("a.topic", "nope", "bad/name")) == {
        "a.topic": TopicDescription("a.topic", _ID, 2, 1, leader_epochs={0: 0, 1: 0}),
        "nope": TopicDescription("nope", "", 0, 0, "UNKNOWN_TOPIC_OR_PARTITION"),
        "bad/name": TopicDescription("bad/name", "", 0, 0, "INVALID_TOPIC"),
    }


def test_name_that_the_broker_leaves_out_is_unknown() -> None:
    described = topic_ids._described(_decoded(_RESPONSE), ("other",))
    assert described["other"].error == topic_ids.UNKNOWN_TOPIC


@pytest.mark.parametrize("length", [0, 4, 5, 60, 70, 90, 150, len(_RESPONSE) - 1])
def test_shortened_response_is_an_error(length: int) -> None:
    with pytest.raises(Exception, match=r"underrun|unpack|struct"):
        _decoded(_RESPONSE[:length])


@pytest.mark.parametrize(
    ("operations", "may_read", "may_write"),
    [(1 << 3, True, False), (1 << 4, False, True), (1 << 8, False, False), (-(2**31), True, True)],
)
def test_authorised_operations_say_what_may_be_done(operations: int, may_read: bool, may_write: bool) -> None:
    response = _decoded(_RESPONSE)
    response.topics[0] = (*response.topics[0][:5], operations, {})
    topic = topic_ids._described(response, ())["a.topic"]
    assert (topic.may_read, topic.may_write) == (may_read, may_write)


def test_partitions_without_leader_and_the_fewest_replicas_are_counted() -> None:
    response = _decoded(_RESPONSE)
    partitions: list[Any] = [(0, 0, 1, 0, [1, 2], [1], [], {}), (5, 1, -1, 0, [2], [], [2], {})]
    response.topics[0] = (*response.topics[0][:4], partitions, 0, {})
    topic = topic_ids._described(response, ())["a.topic"]
    assert (topic.partitions, topic.replication, topic.leaderless) == (2, 1, 1)


def test_broker_without_version_12_is_refused() -> None:
    with pytest.raises(NotImplementedError):
        topic_ids._MetadataRequest(["a"]).prepare({3: (0, 11)})


@pytest.mark.parametrize(("code", "name"), [(0, None), (29, topic_ids.NOT_AUTHORISED), (9999, "error 9999")])
def test_error_codes_have_names(code: int, name: str | None) -> None:
    assert topic_ids.error_name(code) == name


class _Broker:
    def __init__(self, node_id: int) -> None:
        self.nodeId = node_id


class _Client:
    """A cluster of which only some brokers answer."""

    def __init__(self, nodes: int, answering: set[int]) -> None:
        self.cluster = self
        self._nodes = nodes
        self._answering = answering

    def brokers(self) -> list[_Broker]:
        return [_Broker(node) for node in range(self._nodes)]

    async def send(self, node: int, request: object) -> object:
        if node in self._answering:
            return _decoded(_RESPONSE)
        raise NodeNotReadyError if node % 2 else KafkaConnectionError


async def test_next_broker_is_asked_when_one_is_away() -> None:
    found = await fetch_topics(_Client(5, {3}), ["a.topic"])
    assert found["a.topic"].topic_id == _ID


async def test_no_broker_at_all_is_an_error() -> None:
    with pytest.raises(KafkaConnectionError):
        await fetch_topics(_Client(1, set()), ["a.topic"])
    with pytest.raises(NodeNotReadyError, match="known"):
        await fetch_topics(_Client(0, set()), ["a.topic"])


@pytest.mark.parametrize(
    ("metadata", "of_it"), [(_ID, True), ("A" * 22, False), ("", True), (None, True), ("by hand", True)]
)
def test_an_offset_that_was_committed_of_another_topic_is_told(metadata: str | None, of_it: bool) -> None:
    assert topic_ids.is_committed_of(metadata, _ID) is of_it


def test_what_is_committed_with_an_offset_can_be_read_back() -> None:
    for never in (0, 1, 10**12):
        note = topic_ids.commit_note(_ID, never)
        assert topic_ids.is_committed_of(note, _ID)
        assert not topic_ids.is_committed_of(note, "A" * 22)
        assert topic_ids.never_read_of(note) == never
    assert [
        topic_ids.never_read_of(each) for each in (None, "", "by hand", "a+7", f"{_ID}+", f"{_ID}+x")
    ] == [0] * 6


@pytest.mark.parametrize("never", [0, 70])
@pytest.mark.parametrize("life", ["", "12-5"])
@pytest.mark.parametrize("written", [-1, 0, 4711])
@pytest.mark.parametrize("epoch", [-1, 0, 9])
def test_each_part_of_a_note_can_be_read_back(never: int, life: str, written: int, epoch: int) -> None:
    note = topic_ids.commit_note(_ID, never, life, written, epoch)
    assert topic_ids.is_committed_of(note, _ID)
    assert topic_ids.never_read_of(note) == never
    assert topic_ids.life_of(note) == life
    assert topic_ids.written_of(note) == written
    assert topic_ids.epoch_of(note) == epoch


def test_a_note_of_an_earlier_version_says_no_more_than_it_does() -> None:
    for note in (None, "", "by hand", _ID, f"{_ID}+7"):
        assert (topic_ids.life_of(note), topic_ids.written_of(note), topic_ids.epoch_of(note)) == ("", -1, -1)
