"""Fetching by topic id: the bytes of version 13, and what is made of a refusal and of a reset."""

from __future__ import annotations

import inspect
from io import BytesIO
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.consumer.fetcher import Fetcher
from aiokafka.protocol.fetch import FetchRequest, FetchResponse_v11
from aiokafka.protocol.metadata import MetadataRequest
from aiokafka.protocol.types import (
    CompactArray,
    CompactBytes,
    CompactString,
    Int8,
    Int16,
    Int32,
    Int64,
    Schema,
    TaggedFields,
)
from hypothesis import given
from hypothesis import strategies as st

from streams.upstream import fetch_by_id as module
from streams.upstream.fetch_by_id import fetch_by_id, topic_id_bytes
from streams.upstream.fetch_by_id_messages import FetchById, FetchByIdResponse
from streams.upstream.topic_ids import _Uuid

TOPIC, TOPIC_ID = "notifications.debug", "B97v3W1JRZKYmnup7NQBNQ"
ID = topic_id_bytes(TOPIC_ID)

#: As Kafka's own definition of the messages has them (FetchRequest.json, FetchResponse.json), field by field.
REQUEST = Schema(
    ("replica_id", Int32),
    ("max_wait_ms", Int32),
    ("min_bytes", Int32),
    ("max_bytes", Int32),
    ("isolation_level", Int8),
    ("session_id", Int32),
    ("session_epoch", Int32),
    (
        "topics",
        CompactArray(
            ("topic_id", _Uuid),
            (
                "partitions",
                CompactArray(
                    ("partition", Int32),
                    ("current_leader_epoch", Int32),
                    ("fetch_offset", Int64),
                    ("last_fetched_epoch", Int32),
                    ("log_start_offset", Int64),
                    ("partition_max_bytes", Int32),
                    ("tags", TaggedFields),
                ),
            ),
            ("tags", TaggedFields),
        ),
    ),
    ("forgotten_topics_data", CompactArray(Int32)),
    ("rack_id", CompactString()),
    ("tags", TaggedFields),
)
RESPONSE = Schema(
    ("throttle_time_ms", Int32),
    ("error_code", Int16),
    ("session_id", Int32),
    (
        "responses",
        CompactArray(
            ("topic_id", _Uuid),
            (
                "partitions",
                CompactArray(
                    ("partition", Int32),
                    ("error_code", Int16),
                    ("high_watermark", Int64),
                    ("last_stable_offset", Int64),
                    ("log_start_offset", Int64),
                    (
                        "aborted_transactions",
                        CompactArray(("producer_id", Int64), ("first_offset", Int64), ("tags", TaggedFields)),
                    ),
                    ("preferred_read_replica", Int32),
                    ("records", CompactBytes),
                    ("tags", TaggedFields),
                ),
            ),
            ("tags", TaggedFields),
        ),
    ),
    ("tags", TaggedFields),
)

INT16, INT32, INT64 = (st.integers(-(2**bits), 2**bits - 1) for bits in (15, 31, 63))
ABORTED = st.none() | st.lists(st.tuples(INT64, INT64, st.just({})), max_size=3)
RECORDS = st.none() | st.sampled_from([b"", b"r" * 126, b"r" * 127, b"r" * 20_000])
PARTS = st.tuples(INT32, INT16, INT64, INT64, INT64, ABORTED, INT32, RECORDS, st.just({}))
TOPICS = st.tuples(st.binary(min_size=16, max_size=16), st.lists(PARTS, max_size=3), st.just({}))
ANSWERS = st.tuples(INT32, INT16, INT32, st.lists(TOPICS, max_size=3), st.just({}))


@given(ANSWERS, st.binary(max_size=8))
def test_an_answer_says_what_its_definition_reads_in_it(answer: Any, header: bytes) -> None:
    packed = BytesIO(header + RESPONSE.encode(answer))
    packed.seek(len(header))
    read = FetchByIdResponse.decode(packed)
    throttled, code, session, topics, _ = answer
    assert (read.throttle_time_ms, read.error_code, read.session_id) == (throttled, code, session)
    assert read.topics == [
        (
            topic_id,
            [
                (
                    *part,
                    aborted if aborted is None else [each[:2] for each in aborted],
                    replica,
                    records or b"",
                )
                for *part, aborted, replica, records, _ in parts
            ],
        )
        for topic_id, parts, _ in topics
    ]


def test_tagged_fields_that_nobody_knows_are_skipped() -> None:
    part = (1, 0, 9, 9, 0, None, -1, b"records")
    packed = RESPONSE.encode((0, 0, 0, [(ID, [(*part, {})], {})], {}))
    assert packed.endswith(b"records" + b"\0\0\0")
    tagged = packed[:-3] + b"\1\7\3abc" + b"\1\0\1x" + b"\0"
    assert FetchByIdResponse.decode(tagged).topics == [(ID, [part])]


@given(ANSWERS, st.data())
def test_an_answer_that_ends_too_soon_is_refused(answer: Any, data: st.DataObject) -> None:
    whole = RESPONSE.encode(answer)
    short = whole[: data.draw(st.integers(0, len(whole) - 1))]
    with pytest.raises(ValueError, match="ends too soon"):
        FetchByIdResponse.decode(short)


def request_of(*wanted: tuple[int, int, int]) -> FetchRequest:
    return FetchRequest(200, 1, 1 << 20, 0, [(TOPIC, list(wanted))], "rack")


@given(st.lists(st.tuples(INT32, INT64, INT32), max_size=200))
def test_a_request_has_the_bytes_of_its_definition(wanted: list[tuple[int, int, int]]) -> None:
    epochs = {p: p % 7 for p, _, _ in wanted if p % 2}
    built = FetchById(request_of(*wanted), TOPIC, ID, epochs).prepare({1: (4, 17)})
    assert (built.API_VERSION, built.FLEXIBLE_VERSION) == (13, True)
    topics = [(ID, [(p, -1, at, epochs.get(p, -1), -1, most, {}) for p, at, most in wanted], {})]
    assert built.encode() == REQUEST.encode((-1, 200, 1, 1 << 20, 0, 0, -1, topics, [], "rack", {}))


class Client:
    """Answers what it is told to, and remembers what it was asked."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked: list[Any] = []

    async def send(self, _node: int, request: Any, **_options: Any) -> Any:
        self.asked.append(request)
        return self.answers.pop(0)


def answer(*parts: tuple[int, int], topic_id: bytes = ID) -> FetchResponse_v11:
    """Partition and error of each part."""
    return FetchByIdResponse(
        0, 0, 0, [(topic_id, [(p, code, 50, 50, 0, None, -1, b"") for p, code in parts])]
    )


async def test_fetches_name_the_id_and_answers_the_topic() -> None:
    client = Client(answer((0, 0), (1, 0)), "metadata")
    fetch_by_id(SimpleNamespace(_client=client), TOPIC, TOPIC_ID)
    found = await client.send(1, request_of((0, 5, 9), (1, 6, 9)))
    assert [(topic, [part[0] for part in parts]) for topic, parts in found.topics] == [(TOPIC, [0, 1])]
    assert isinstance(client.asked[0], FetchById)
    other = MetadataRequest([])
    assert await client.send(1, other) == "metadata"
    assert client.asked[1] is other


@pytest.mark.parametrize("code", [100, 103, 3])
async def test_a_topic_that_is_another_one_now_gives_nothing(
    code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To aiokafka it is an unknown topic, and it is not asked for again at once."""
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr(module.asyncio, "sleep", sleep)
    client = Client(answer((0, code)), answer((0, 0)))
    fetch_by_id(SimpleNamespace(_client=client), TOPIC, TOPIC_ID)
    found = await client.send(1, request_of((0, 5, 9)))
    assert found.topics[0][1][0][1] == 3
    assert waited == [0.5]
    await client.send(1, request_of((0, 5, 9)))
    assert waited == [0.5]


async def test_an_answer_of_another_topic_is_none_of_ours() -> None:
    client = Client(answer((0, 0), topic_id=bytes(16)))
    fetch_by_id(SimpleNamespace(_client=client), TOPIC, TOPIC_ID)
    assert (await client.send(1, request_of((0, 5, 9)))).topics == []


async def test_it_is_told_where_reading_goes_on_after_an_offset_was_out_of_range() -> None:
    told: list[tuple[int, int, int]] = []
    client = Client(answer((0, 1), (1, 0)), answer((1, 0)), answer((0, 0), (1, 0)), answer((0, 0)))
    fetch_by_id(SimpleNamespace(_client=client), TOPIC, TOPIC_ID, lambda *reset: told.append(reset))
    await client.send(1, request_of((0, 5, 9), (1, 6, 9)))
    await client.send(1, request_of((1, 6, 9)))
    assert told == []
    await client.send(1, request_of((0, 30, 9), (1, 6, 9)))
    assert told == [(0, 5, 30)]
    await client.send(1, request_of((0, 31, 9)))
    assert told == [(0, 5, 30)]


async def test_a_broker_whose_log_is_another_one_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a tagged field that names the end of what is common; it is not asked again at once."""
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr(module.asyncio, "sleep", sleep)
    parts = [(p, 0, -1, -1, -1, None, -1, b"", {}) for p in (0, 1)]
    packed = RESPONSE.encode((0, 0, 0, [(ID, parts, {})], {}))
    diverging = b"\1\0\15" + (3).to_bytes(4, "big") + (12).to_bytes(8, "big") + b"\0"
    # No tagged fields: of the second part, of the topic, and of the whole.
    assert packed.endswith(b"\1\0\0\0")
    told: list[tuple[int, int]] = []
    client = Client(FetchByIdResponse.decode(packed[:-3] + diverging + packed[-2:]), answer((0, 0), (1, 0)))
    assert client.answers[0].diverging == [1]
    consumer = SimpleNamespace(_client=client)
    fetch_by_id(consumer, TOPIC, TOPIC_ID, epochs={1: 3}, on_diverged=lambda *where: told.append(where))
    await client.send(1, request_of((0, 5, 9), (1, 25, 9)))
    assert (told, waited) == ([(1, 25)], [0.5])
    await client.send(1, request_of((0, 5, 9), (1, 25, 9)))
    assert (told, waited) == ([(1, 25)], [0.5])


@pytest.mark.parametrize(("epochs", "diverges"), [({0: 9}, [(0, 1)]), ({}, [])])
async def test_an_epoch_that_the_broker_never_had_is_out_of_range_wherever_it_is_read(
    epochs: dict[int, int], diverges: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of a cluster that was restored to what it was before."""

    async def sleep(_: float) -> None:
        pass

    monkeypatch.setattr(module.asyncio, "sleep", sleep)
    told: list[tuple[int, int]] = []
    client = Client(answer((0, 1)), answer((0, 1)))
    consumer = SimpleNamespace(_client=client)
    fetch_by_id(consumer, TOPIC, TOPIC_ID, epochs=epochs, on_diverged=lambda *where: told.append(where))
    await client.send(1, request_of((0, 5, 9)))
    await client.send(1, request_of((0, 1, 9)))
    assert told == diverges


def test_no_topic_id_is_refused() -> None:
    with pytest.raises(ValueError, match="is no topic id"):
        topic_id_bytes("short" * 4)


def test_aiokafka_sends_and_reads_fetches_where_it_is_changed() -> None:
    code = Fetcher._proc_fetch_request.__code__
    assert {"_client", "send", "topics", "API_VERSION"} <= set(code.co_names)
    assert "response.API_VERSION >= 11" in inspect.getsource(Fetcher._proc_fetch_request)
    assert "_client" in AIOKafkaConsumer.__init__.__code__.co_names
    assert "_client" in Fetcher.__init__.__code__.co_names
    assert FetchResponse_v11.SCHEMA.names == ("throttle_time_ms", "error_code", "session_id", "topics")
