"""Topics on a real Kafka: created, described, checked; and brokers that are not there."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from functools import partial
from typing import Any

import orjson
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import MessageSizeTooLargeError
from confluent_kafka import TopicCollection
from confluent_kafka.admin import AdminClient

from streams.broker.admin import admin_client
from streams.broker.self_check import self_check
from streams.broker.slices import keep_slices
from streams.broker.topic_plan import planned_topics, slices_topic
from streams.broker.topics import apply_topics, check_topics
from streams.notifications.priority import Priority
from streams.settings import ConfigurationError, Settings, load_settings
from streams.upstream.topic_ids import UNKNOWN_TOPIC, fetch_topics
from tests.admin import PATIENT, raise_partitions
from tests.integration.worker_process import BOUND_S, eventually
from tocsin.cli import main
from tocsin.local_kafka.cluster import LocalKafka

pytestmark = pytest.mark.kafka

_CHECK = "streams.broker.self_check"


def _names(unique: str) -> dict[str, str]:
    return {
        "app_id": unique,
        "notification_topic_prefix": f"{unique}.in.",
        "alert_topic_prefix": f"{unique}.out.",
        "dead_letter_topic": f"{unique}.dead",
        "event_counts_topic": f"{unique}.counts",
    }


@pytest.fixture
def settings(kafka: LocalKafka, unique: str) -> Settings:
    return load_settings(brokers=kafka.bootstrap, partitions=2, **_names(unique))


@pytest.fixture
async def admin(kafka: LocalKafka) -> AsyncIterator[AIOKafkaAdminClient]:
    client = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap, **PATIENT)
    await client.start()
    yield client
    await client.close()


async def _create(admin: AIOKafkaAdminClient, *topics: NewTopic) -> None:
    response = await admin.create_topics(list(topics))
    assert [code for _, code, _ in response.topic_errors] == [0] * len(topics)
    await _until(admin, {topic.name for topic in topics}, None)


async def _until(admin: AIOKafkaAdminClient, names: set[str], error: str | None) -> None:
    """Wait until the broker says this of every topic."""
    async with asyncio.timeout(BOUND_S):
        while {topic.error for topic in (await fetch_topics(admin, names)).values()} != {error}:
            await asyncio.sleep(0.02)


# --- Ids -------------------------------------------------------------------------------------


async def test_recreated_topic_has_another_id(admin: AIOKafkaAdminClient, unique: str) -> None:
    ids = []
    for _ in range(2):
        await _create(admin, NewTopic(unique, 3, 1))
        topic = (await fetch_topics(admin, [unique]))[unique]
        assert (topic.partitions, topic.replication, topic.leaderless) == (3, 1, 0)
        assert (await fetch_topics(admin, [unique]))[unique].topic_id == topic.topic_id
        ids.append(topic.topic_id)
        await admin.delete_topics([unique])
        await _until(admin, {unique}, UNKNOWN_TOPIC)
    assert len(set(ids)) == 2
    assert {len(topic_id) for topic_id in ids} == {22}


async def test_id_is_the_one_that_another_client_sees(
    admin: AIOKafkaAdminClient, kafka: LocalKafka, unique: str
) -> None:
    await _create(admin, NewTopic(unique, 1, 1))
    other = AdminClient({"bootstrap.servers": kafka.bootstrap})
    described = await asyncio.to_thread(
        other.describe_topics(TopicCollection([unique]))[unique].result, BOUND_S
    )
    # librdkafka prints the id in plain base64, Kafka's own tools in the alphabet that is safe in addresses.
    expected = str(described.topic_id).replace("+", "-").replace("/", "_")
    assert (await fetch_topics(admin, [unique]))[unique].topic_id == expected


async def test_topics_are_fetched_through_consumers_and_producers_too(
    admin: AIOKafkaAdminClient, kafka: LocalKafka, unique: str
) -> None:
    await _create(admin, NewTopic(unique, 1, 1))
    expected = await fetch_topics(admin, [unique])
    for kind in (AIOKafkaConsumer, AIOKafkaProducer):
        client = kind(bootstrap_servers=kafka.bootstrap)
        await client.start()
        try:
            assert await fetch_topics(client, [unique]) == expected
        finally:
            await client.stop()


# --- Creation --------------------------------------------------------------------------------


async def test_first_apply_creates_everything_and_the_second_nothing(settings: Settings) -> None:
    assert await apply_topics(settings) == [spec.name for spec in planned_topics(settings)]
    assert await apply_topics(settings) == []
    assert await check_topics(settings) == []


async def test_created_topics_have_the_planned_configuration(
    settings: Settings, admin: AIOKafkaAdminClient
) -> None:
    await apply_topics(settings)
    plan = planned_topics(settings)
    resources = [ConfigResource(ConfigResourceType.TOPIC, spec.name) for spec in plan]
    (response,) = await admin.describe_configs(resources)
    real = {name: {key: value for key, value, *_ in entries} for *_, name, entries in response.resources}
    for spec in plan:
        assert spec.config.items() <= real[spec.name].items()


async def test_workers_that_create_at_once_agree(settings: Settings) -> None:
    created = await asyncio.gather(*(apply_topics(settings) for _ in range(4)))
    assert sorted(itertools.chain(*created)) == sorted(spec.name for spec in planned_topics(settings))


async def test_compression_bomb_is_refused_by_the_broker(settings: Settings) -> None:
    await apply_topics(settings)
    producer = AIOKafkaProducer(
        bootstrap_servers=settings.brokers, compression_type="gzip", max_request_size=2**26, **PATIENT
    )
    await producer.start()
    try:
        with pytest.raises(MessageSizeTooLargeError):
            await producer.send_and_wait(settings.notification_topic(Priority.INFO), bytes(2**24))
        # The negative control: the same batch passes where the topic stores what it gets.
        await producer.send_and_wait(settings.event_counts_topic, bytes(2**24), key=b"k")
    finally:
        await producer.stop()


async def test_largest_notification_fits_and_so_does_its_dead_letter(settings: Settings) -> None:
    await apply_topics(settings)
    producer = AIOKafkaProducer(bootstrap_servers=settings.brokers, max_request_size=2**26, **PATIENT)
    await producer.start()
    largest = bytes(settings.max_notification_bytes)
    headers = [("reason", bytes(1000)), ("original", bytes(2**19))]
    try:
        await producer.send_and_wait(settings.notification_topic(Priority.INFO), largest, key=b"k" * 100)
        await producer.send_and_wait(settings.dead_letter_topic, largest, headers=headers)
    finally:
        await producer.stop()


async def test_more_replicas_than_brokers_is_a_sentence(settings: Settings) -> None:
    wanted = settings.model_copy(update={"replication_factor": 3})
    with pytest.raises(ConfigurationError, match="set TOCSIN_REPLICATION_FACTOR"):
        await apply_topics(wanted)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the self-check has warned of."""
    return [it.getMessage() for it in caplog.records if (it.name, it.levelname) == (_CHECK, "WARNING")]


# --- Checks ----------------------------------------------------------------------------------


async def test_unequal_notification_topics_are_told_and_do_no_harm(
    settings: Settings, admin: AIOKafkaAdminClient, caplog: pytest.LogCaptureFixture
) -> None:
    """Somebody may be raising one after the other just now."""
    odd = settings.notification_topic(Priority.WARN)
    await _create(admin, NewTopic(odd, 2, 1), NewTopic(settings.notification_topic(Priority.INFO), 4, 1))
    view = await self_check(settings, timeout_s=BOUND_S)
    assert (view.partitions, view.slices, view.partition_counts[odd]) == (4, 4, 2)
    assert any(said.startswith(f"The topic {odd} ") and "--partitions 4" in said for said in warnings(caplog))
    assert all(it.severity == "warning" for it in await check_topics(settings))


async def test_topics_that_hold_counts_may_be_raised_and_change_nothing(
    settings: Settings, admin: AIOKafkaAdminClient
) -> None:
    assert (await self_check(settings, timeout_s=BOUND_S)).slices == 2
    internal = settings.internal_topic("partials")
    await raise_partitions(admin, [internal], 3)
    problems = await check_topics(settings)
    assert [(it.severity, it.topic) for it in problems] == [("warning", internal)]
    assert "leave it as it is" in problems[0].sentence
    every = [spec.name for spec in planned_topics(settings) if spec.state and spec.name != internal]
    await raise_partitions(admin, every, 3)
    view = await self_check(settings, timeout_s=BOUND_S)
    assert (view.slices, view.partitions) == (2, 2)


async def test_workers_that_start_at_once_agree_on_the_slices(
    settings: Settings, admin: AIOKafkaAdminClient
) -> None:
    await apply_topics(settings)
    kept = set(await asyncio.gather(*(keep_slices(admin, settings, number) for number in (5, 6, 7))))
    assert len(kept) == 1
    assert {await keep_slices(admin, settings, number) for number in (8, 9)} == kept
    # Topics that cannot hold so many end the start.
    with pytest.raises(
        ConfigurationError, match=rf"has 2 partitions and counts are kept in {kept.pop()} slices"
    ):
        await self_check(settings, timeout_s=BOUND_S)


async def test_what_is_no_number_of_slices_is_a_sentence(settings: Settings) -> None:
    await apply_topics(settings)
    producer = AIOKafkaProducer(bootstrap_servers=settings.brokers, **PATIENT)
    await producer.start()
    try:
        await producer.send_and_wait(slices_topic(settings), b"what")
    finally:
        await producer.stop()
    with pytest.raises(ConfigurationError, match="is no number of slices, so others write to it"):
        await self_check(settings, timeout_s=BOUND_S)


async def test_wrong_configuration_of_topics_is_reported(
    settings: Settings, admin: AIOKafkaAdminClient
) -> None:
    changelog = settings.internal_topic("partial-counts-changelog")
    notifications = settings.notification_topic(Priority.ERROR)
    await _create(
        admin,
        NewTopic(changelog, 2, 1, topic_configs={"cleanup.policy": "compact,delete"}),
        NewTopic(notifications, 2, 1, topic_configs={"compression.type": "uncompressed"}),
    )
    await apply_topics(settings)
    problems = {(it.topic, it.severity): it.sentence for it in await check_topics(settings)}
    assert "set cleanup.policy=compact" in problems[changelog, "error"]
    assert "LogAppendTime" in problems[notifications, "warning"]
    with pytest.raises(ConfigurationError, match=r"set cleanup\.policy=compact"):
        await self_check(settings, timeout_s=BOUND_S)


# --- The worker's self-check -----------------------------------------------------------------


async def test_self_check_creates_topics_and_returns_their_ids(
    settings: Settings, admin: AIOKafkaAdminClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger=_CHECK)
    view = await self_check(settings, timeout_s=BOUND_S)
    names = [spec.name for spec in planned_topics(settings)]
    assert view.partitions == 2
    assert f"Created the topics {', '.join(names)}." in caplog.messages
    caplog.clear()
    found = await fetch_topics(admin, names)
    assert view.topic_ids == {name: topic.topic_id for name, topic in found.items()}
    assert len(set(view.topic_ids.values())) == len(names)
    await self_check(settings, timeout_s=BOUND_S)
    assert "Created" not in caplog.text


async def test_self_check_takes_the_real_partition_count(
    settings: Settings, admin: AIOKafkaAdminClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger=_CHECK)
    existing = [spec for spec in planned_topics(settings) if spec.notifications][:2]
    await _create(admin, *(NewTopic(it.name, 3, 1, topic_configs=it.config) for it in existing))
    view = await self_check(settings, timeout_s=BOUND_S)
    assert view.partitions == 3
    assert "have 3 partitions, so TOCSIN_PARTITIONS=2 is not used" in caplog.text
    found = await fetch_topics(admin, view.topic_ids)
    assert [found.pop(name).partitions for name in (slices_topic(settings), settings.status_topic)] == [1, 1]
    assert {topic.partitions for topic in found.values()} == {3}
    assert view.slices == 3
    assert warnings(caplog) == []


async def test_self_check_tells_how_many_brokers_writes_need(
    settings: Settings, admin: AIOKafkaAdminClient
) -> None:
    assert (await self_check(settings, timeout_s=BOUND_S)).writes_need == 1
    counts = next(it for it in planned_topics(settings) if it.name == settings.event_counts_topic)
    config = counts.config | {"min.insync.replicas": "2"}
    await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, counts.name, config)])

    async def heard() -> bool:
        """The controller has taken it; the broker itself hears of it a moment later."""
        return (await self_check(settings, timeout_s=BOUND_S)).writes_need == 2

    await eventually("two brokers are needed", heard)


async def test_self_check_names_missing_topics_that_it_may_not_create(
    settings: Settings, admin: AIOKafkaAdminClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger=_CHECK)
    strict = settings.model_copy(update={"create_topics": False})
    with pytest.raises(ConfigurationError) as caught:
        await self_check(strict, timeout_s=BOUND_S)
    message = str(caught.value)
    assert f"{settings.notification_topic(Priority.CRITICAL)} is missing" in message
    assert "TOCSIN_CREATE_TOPICS=true" in message
    assert "and 11 more" in message
    found = await fetch_topics(admin, [spec.name for spec in planned_topics(settings)])
    assert {topic.error for topic in found.values()} == {UNKNOWN_TOPIC}
    await apply_topics(settings)
    await self_check(strict, timeout_s=BOUND_S)
    assert "Created" not in caplog.text


async def test_self_check_logs_warnings(
    settings: Settings, admin: AIOKafkaAdminClient, caplog: pytest.LogCaptureFixture
) -> None:
    await _create(admin, NewTopic(settings.notification_topic(Priority.WARN), 2, 1))
    await self_check(settings, timeout_s=BOUND_S)
    said = warnings(caplog)
    assert said
    assert all(it.startswith(f"The topic {settings.notification_topic(Priority.WARN)} ") for it in said)
    assert "LogAppendTime" in caplog.text


# --- Brokers that are not there --------------------------------------------------------------


@contextlib.contextmanager
def _held_port(*, listening: bool) -> Iterator[tuple[socket.socket, str]]:
    """A socket, and its address: it refuses connections, or takes them and never answers."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        if listening:
            taken.listen()
        yield taken, f"127.0.0.1:{taken.getsockname()[1]}"


@contextlib.contextmanager
def _port(*, listening: bool) -> Iterator[str]:
    """The address alone."""
    with _held_port(listening=listening) as (_, address):
        yield address


@pytest.mark.parametrize(("listening", "reason"), [(False, "refuses connections"), (True, "does not answer")])
async def test_unreachable_brokers_end_in_one_sentence(listening: bool, reason: str, unique: str) -> None:
    with _port(listening=listening) as address:
        settings = load_settings(brokers=address, app_id=unique)
        async with asyncio.timeout(BOUND_S):
            with pytest.raises(ConfigurationError) as caught:
                await self_check(settings, timeout_s=BOUND_S, patience_s=1)
    message = str(caught.value)
    assert f"{address} {reason}" in message
    assert message.endswith("TOCSIN_BROKERS.")
    assert "\n" not in message
    assert ". " not in message


async def test_one_reachable_broker_is_enough(kafka: LocalKafka, settings: Settings) -> None:
    with _port(listening=True) as silent, _port(listening=False) as refusing:
        brokers = f"{silent},{refusing},{kafka.bootstrap}"
        view = await self_check(settings.model_copy(update={"brokers": brokers}), timeout_s=BOUND_S)
    assert view.partitions == 2


async def test_self_check_waits_for_brokers_that_start_later(
    kafka: LocalKafka, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    host, _, port = kafka.bootstrap.rpartition(":")

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection(host, int(port))

        async def pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError):
                while data := await source.read(2**16):
                    target.write(data)
            target.close()

        await asyncio.gather(pump(reader, up_writer), pump(up_reader, writer))

    with _held_port(listening=False) as (taken, address):
        check = asyncio.create_task(
            self_check(settings.model_copy(update={"brokers": address}), timeout_s=BOUND_S)
        )
        async with asyncio.timeout(BOUND_S):
            while f"{address} refuses connections" not in caplog.text:
                await asyncio.sleep(0.02)
        # The same socket begins to listen: nobody else can take the port in between.
        server = await asyncio.start_server(forward, sock=taken)
        try:
            assert (await check).partitions == 2
        finally:
            server.close()


@pytest.mark.parametrize(
    ("protocol", "words"),
    [
        ("SSL", "closes a connection in TLS"),
        ("SASL_SSL", "closes a connection in TLS"),
        ("SASL_PLAINTEXT", "does not ask for SASL"),
    ],
)
async def test_wrong_protocol_is_told_apart(
    settings: Settings, protocol: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Of a broker that takes long, another sentence is said.
    monkeypatch.setattr("streams.broker.self_check.admin_client", partial(admin_client, attempt_s=BOUND_S))
    wrong = load_settings(
        brokers=settings.brokers,
        app_id=settings.app_id,
        security_protocol=protocol,
        sasl_username="me",
        sasl_password="secret",
    )
    with pytest.raises(ConfigurationError, match=words) as caught:
        await self_check(wrong, timeout_s=BOUND_S, patience_s=1)
    assert "TOCSIN_SECURITY_PROTOCOL" in str(caught.value)
    assert "secret" not in str(caught.value)


# --- The command line ------------------------------------------------------------------------


@pytest.fixture
def tocsin(monkeypatch: pytest.MonkeyPatch, unique: str, capsys: pytest.CaptureFixture[str]) -> Any:
    """Run ``tocsin topics`` as its entry point does: exit code, standard output, standard error."""
    for name, value in _names(unique).items():
        monkeypatch.setenv(f"TOCSIN_{name.upper()}", value)
    monkeypatch.setenv("TOCSIN_PARTITIONS", "2")
    level = logging.getLogger("aiokafka").level

    def run(*arguments: str) -> tuple[object, str, str]:
        monkeypatch.setattr(sys, "argv", ["tocsin", "topics", *arguments])
        with pytest.raises(SystemExit) as caught:
            main()
        out, err = capsys.readouterr()
        return caught.value.code, out, err

    yield run
    logging.getLogger("aiokafka").setLevel(level)


def test_commands_apply_and_check(kafka: LocalKafka, tocsin: Any, unique: str) -> None:
    code, out, _ = tocsin("check", "--brokers", kafka.bootstrap)
    assert code == 1
    assert f"error   {unique}.dead is missing" in out
    assert "15 topics: 14 errors, 1 warning." in out

    code, out, _ = tocsin("apply", "--brokers", kafka.bootstrap)
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == ["created"] * 15

    code, out, _ = tocsin("apply", "--brokers", kafka.bootstrap)
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == ["there"] * 15

    assert tocsin("check", "--brokers", kafka.bootstrap) == (0, "15 topics: 0 errors, 0 warnings.\n", "")


def test_commands_apply_and_check_as_json(kafka: LocalKafka, tocsin: Any, unique: str) -> None:
    code, out, _ = tocsin("check", "--json", "--brokers", kafka.bootstrap)
    found = orjson.loads(out)
    assert (code, found["topics"], found["errors"], found["warnings"]) == (1, 15, 14, 1)
    assert {"severity", "topic", "sentence"} == set(found["problems"][0])
    assert f"{unique}.dead" in {problem["topic"] for problem in found["problems"]}
    for created in (True, False):
        code, out, _ = tocsin("apply", "--json", "--brokers", kafka.bootstrap)
        topics = orjson.loads(out)["topics"]
        assert code == 0
        assert [topic["created"] for topic in topics] == [created] * 15
    assert orjson.loads(tocsin("check", "--json", "--brokers", kafka.bootstrap)[1]) == {
        "topics": 15,
        "errors": 0,
        "warnings": 0,
        "problems": [],
    }


@pytest.mark.parametrize("action", ["apply", "check"])
def test_commands_exit_with_78_where_no_broker_is(tocsin: Any, action: str) -> None:
    with _port(listening=False) as address:
        code, out, err = tocsin(action, "--brokers", address)
    assert (code, out) == (78, "")
    assert err == (
        f"tocsin: No Kafka broker can be used ({address} refuses connections): "
        "start Kafka, or set TOCSIN_BROKERS.\n"
    )


def test_commands_exit_with_78_on_a_wrong_setting(tocsin: Any) -> None:
    code, _, err = tocsin("check", "--brokers", "nowhere")
    assert code == 78
    assert "TOCSIN_BROKERS" in err
