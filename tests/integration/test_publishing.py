"""Publishing to a real Kafka: drivers, notifiers and the command."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import NewTopic
from aiokafka.partitioner import DefaultPartitioner
from click.testing import CliRunner, Result

from streams.notifications.decoding import Decoder, Limits
from streams.notifications.notification import Notification
from streams.notifications.priority import DEFAULT_PRIORITIES, Priority
from streams.publishing.driver import Outgoing, Stats
from streams.publishing.drivers.kafka import KafkaDriver
from streams.publishing.notifier import AsyncNotifier, Notifier
from streams.settings import Settings, load_settings
from tests import children
from tests.admin import PATIENT, create_topics
from tests.breakable_kafka import BreakableKafka
from tests.integration.worker_process import BOUND_S
from tests.paths import ROOT
from tocsin.cli.publish.command import command
from tocsin.local_kafka.cluster import LocalKafka

pytestmark = pytest.mark.kafka

FIVE = [priority.value.lower() for priority in DEFAULT_PRIORITIES]


@pytest.fixture
def settings(kafka: BreakableKafka, unique: str) -> Settings:
    return load_settings(brokers=kafka.bootstrap, notification_topic_prefix=f"{unique}.")


@pytest.fixture
def own_settings(own_kafka: LocalKafka, unique: str) -> Settings:
    """Those of a broker that may be stopped."""
    return load_settings(brokers=own_kafka.bootstrap, notification_topic_prefix=f"{unique}.")


@pytest.fixture
def topics(settings: Settings) -> list[str]:
    """The five notification topics, just created, with three partitions each."""
    return create_five(settings)


@pytest.fixture
def own_topics(own_settings: Settings) -> list[str]:
    """The same on a broker that may be stopped."""
    return create_five(own_settings)


def create_five(settings: Settings) -> list[str]:
    names = [settings.notification_topic(priority) for priority in DEFAULT_PRIORITIES]
    create(settings, *names)
    return names


def create(settings: Settings, *names: str, partitions: int = 3, **config: str) -> None:
    async def run() -> None:
        # The client of a service would say that a partition does not take records yet.
        configs = {key.replace("_", "."): value for key, value in config.items()}
        topics = [NewTopic(name, partitions, 1, topic_configs=configs) for name in names]
        await create_topics(settings.brokers, *topics)

    in_own_loop(run)


def read(settings: Settings, *names: str, partitions: int = 3) -> list[Any]:
    """Every record of the topics now, in the order of their offsets within a partition."""

    async def run() -> list[Any]:
        consumer = AIOKafkaConsumer(bootstrap_servers=settings.brokers, enable_auto_commit=False, **PATIENT)
        await consumer.start()
        try:
            places = [TopicPartition(name, number) for name in names for number in range(partitions)]
            consumer.assign(places)
            await consumer.seek_to_beginning()
            ends = await consumer.end_offsets(places)
            found: list[Any] = []
            while any([await consumer.position(place) < ends[place] for place in places]):
                for records in (await consumer.getmany(timeout_ms=1000)).values():
                    found += records
            return found
        finally:
            await consumer.stop()

    return in_own_loop(run)


def in_own_loop(run: Callable[[], Any]) -> Any:
    """Run a coroutine to its end, also where a loop is running already."""
    result: list[Any] = []
    thread = threading.Thread(target=lambda: result.append(asyncio.run(run())))
    thread.start()
    thread.join(BOUND_S)
    assert result, "it failed or took too long"
    return result[0]


# --- Notifiers -----------------------------------------------------------------------------


def test_notifier_from_plain_code(settings: Settings, topics: list[str]):
    with KafkaDriver(settings=settings) as driver:
        notifier = Notifier("compute.host1", driver, settings=settings)
        ids = {name: getattr(notifier, name)("compute.create_instance", {"at": name}) for name in FIVE}
        assert driver.flush(BOUND_S)
        assert driver.stats == Stats(pushed=5, delivered=5)
    decode = Decoder(Limits()).decode
    for name, topic in zip(FIVE, topics, strict=True):
        (record,) = read(settings, topic)
        found = decode(record.value, Priority(name.upper()))
        assert isinstance(found, Notification)
        assert found.repairs == ()
        assert (found.message_id, found.payload, found.publisher_id) == (
            ids[name],
            {"at": name},
            "compute.host1",
        )


async def test_notifier_from_asynchronous_code(settings: Settings, topics: list[str]):
    async with KafkaDriver(settings=settings) as driver:
        notifier = AsyncNotifier("compute.host1", driver, settings=settings)
        ids = await asyncio.gather(
            *(getattr(notifier, name)("a.b", number) for name in FIVE for number in range(100))
        )
        assert await driver.aflush(BOUND_S)
        assert driver.stats == Stats(pushed=500, delivered=500)
    found = read(settings, *topics)
    assert Counter(orjson.loads(record.value)["message_id"] for record in found) == Counter(ids)


def test_many_threads_share_one_driver_and_nothing_is_lost(settings: Settings, topics: list[str]):
    with KafkaDriver(settings=settings, buffer_bytes=100_000, max_wait_s=BOUND_S) as driver:

        def push(thread: int) -> None:
            for number in range(2000):
                driver.push(Outgoing(topics[number % 5], b"%d-%d" % (thread, number)))

        threads = [threading.Thread(target=push, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert driver.flush(BOUND_S)
        # The buffer holds a tenth of it: the threads waited for room, and nothing was dropped.
        assert driver.stats == Stats(pushed=8000, delivered=8000)
    counts = Counter(record.value for record in read(settings, *topics))
    assert counts == Counter(b"%d-%d" % (thread, number) for thread in range(4) for number in range(2000))


def test_messages_without_a_key_reach_every_partition(settings: Settings, topics: list[str]):
    with KafkaDriver(settings=settings) as driver:
        for _ in range(3):
            driver.push(Outgoing(topics[0], b"x"))
            assert driver.flush(BOUND_S)
    assert {record.partition for record in read(settings, topics[0])} == {0, 1, 2}


def test_messages_of_a_key_keep_their_order_on_the_partition_that_java_chooses(
    settings: Settings, topics: list[str]
):
    keys = [b"instance-%d" % number for number in range(20)]
    with KafkaDriver(settings=settings) as driver:
        for number in range(500):
            for key in keys:
                driver.push(Outgoing(topics[0], b"%d" % number, key, headers=(("kind", b"test"),)))
        assert driver.flush(BOUND_S)
    seen: dict[bytes, list[int]] = {key: [] for key in keys}
    for record in read(settings, topics[0]):
        assert record.partition == DefaultPartitioner()(record.key, [0, 1, 2], [0, 1, 2])
        assert record.headers == (("kind", b"test"),)
        seen[record.key].append(int(record.value))
    assert seen == {key: list(range(500)) for key in keys}


# --- Trouble -------------------------------------------------------------------------------


def test_message_that_the_broker_refuses_harms_no_other(settings: Settings, unique: str):
    topic = f"{unique}.small"
    create(settings, topic, partitions=1, max_message_bytes="100000")
    with KafkaDriver(settings=settings, linger_ms=0) as driver:
        expected = []
        for number in range(3000):
            expected.append(b"%d" % number)
            driver.push(Outgoing(topic, expected[-1]))
            if number % 1000 == 500:
                driver.push(Outgoing(topic, b"x" * 500_000))
        assert driver.flush(BOUND_S)
        assert driver.stats == Stats(pushed=3003, delivered=3000, failed=3)
    # In order too, although the batches behind the refused one had to be sent anew.
    assert [record.value for record in read(settings, topic, partitions=1)] == expected


def test_missing_topic_fails_its_own_messages_until_it_is_there(
    settings: Settings, topics: list[str], monkeypatch: pytest.MonkeyPatch
):
    from streams.broker.producers import batches
    from streams.publishing.drivers import kafka as kafka_module

    senders: list[batches.BatchSender] = []

    class Impatient(batches.BatchSender):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, topic_wait_s=BOUND_S, **options)
            senders.append(self)

    monkeypatch.setattr(kafka_module, "BatchSender", Impatient)
    missing = settings.notification_topic_prefix + "later"
    with KafkaDriver(settings=settings) as driver:
        # A topic that is there has all the time that it takes; it is known from then on.
        driver.push(Outgoing(topics[0], b"first"))
        assert driver.flush(BOUND_S)
        (sender,) = senders
        sender._topic_wait_s = 2.0
        driver.push(Outgoing(missing, b"too early"))
        driver.push(Outgoing(topics[0], b"fine"))
        assert driver.flush(BOUND_S)
        assert driver.stats == Stats(pushed=3, delivered=2, failed=1)
        create(settings, missing)
        sender._topic_wait_s = BOUND_S
        driver.push(Outgoing(missing, b"in time"))
        assert driver.flush(BOUND_S)
        assert driver.stats == Stats(pushed=4, delivered=3, failed=1)
    assert [record.value for record in read(settings, missing)] == [b"in time"]


def test_broker_that_hangs_fills_the_buffer_and_gets_it_all_later(
    own_kafka: BreakableKafka, own_settings: Settings, own_topics: list[str]
):
    settings, topics = own_settings, own_topics
    with KafkaDriver(settings=settings, buffer_bytes=200_000, max_wait_s=0.01) as driver:
        driver.push(Outgoing(topics[0], b"before"))
        assert driver.flush(BOUND_S)
        own_kafka.pause()
        try:
            taken = [driver.push(Outgoing(topics[0], b"%d" % number)) for number in range(5000)]
            assert not driver.flush(0.0)
        finally:
            own_kafka.resume()
        assert driver.flush(BOUND_S)
        assert sum(taken) < 5000
        assert driver.stats == Stats(pushed=5001, delivered=1 + sum(taken), dropped=5000 - sum(taken))
        assert driver.push(Outgoing(topics[0], b"after"))
        assert driver.flush(BOUND_S)
    expected = [b"before", *(b"%d" % number for number, was in enumerate(taken) if was), b"after"]
    assert Counter(record.value for record in read(settings, topics[0])) == Counter(expected)


def test_broker_that_is_killed_and_started_again_gets_everything_once(
    own_kafka: BreakableKafka, own_settings: Settings, own_topics: list[str]
):
    settings, topics = own_settings, own_topics
    with KafkaDriver(settings=settings) as driver:
        for number in range(10_000):
            driver.push(Outgoing(topics[0], b"%d" % number))
            if number == 5000:
                own_kafka.kill()
        own_kafka.restart_broker()
        assert driver.flush(BOUND_S)
        assert driver.stats == Stats(pushed=10_000, delivered=10_000)
    counts = Counter(record.value for record in read(settings, topics[0]))
    assert counts == Counter(b"%d" % number for number in range(10_000))


# --- Processes -----------------------------------------------------------------------------


def script(settings: Settings, text: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {
        "TOCSIN_BROKERS": settings.brokers,
        "TOCSIN_NOTIFICATION_TOPIC_PREFIX": settings.notification_topic_prefix,
        "PYTHONPATH": str(ROOT),
    }
    # Python 3.12 warns of any fork beside threads; that one works here is what a test below is about.
    arguments = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", text]
    return children.run(arguments, env=environment, capture_output=True, text=True, timeout=BOUND_S)


def test_script_that_ends_without_closing_still_delivers(settings: Settings, topics: list[str]):
    named = load_settings(
        brokers=settings.brokers.replace("127.0.0.1", "localhost"),
        notification_topic_prefix=settings.notification_topic_prefix,
    )
    result = script(
        named,
        "from streams.publishing.driver import load_driver\n"
        "from streams.publishing.notifier import Notifier\n"
        "notifier = Notifier('a.b', load_driver('kafka', exit_wait_s=60))\n"
        "for number in range(300): notifier.info('x.y', number)\n",
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert len(read(settings, topics[FIVE.index("info")])) == 300


def test_fork_gets_a_publisher_of_its_own(settings: Settings, topics: list[str]):
    result = script(
        settings,
        "import os\n"
        "from streams.publishing.driver import load_driver, Outgoing\n"
        "driver = load_driver('kafka')\n"
        f"topic = {topics[0]!r}\n"
        "for number in range(100): driver.push(Outgoing(topic, b'parent %d' % number))\n"
        "pid = os.fork()\n"
        "who = b'child' if pid == 0 else b'parent again'\n"
        "for number in range(100): driver.push(Outgoing(topic, b'%s %d' % (who, number)))\n"
        "assert driver.flush(60)\n"
        "assert driver.stats.delivered == (100 if pid == 0 else 200), driver.stats\n"
        "driver.close()\n"
        "if pid == 0: os._exit(0)\n"
        "assert os.waitpid(pid, 0)[1] == 0\n",
    )
    assert (result.returncode, result.stderr) == (0, "")
    counts = Counter(record.value for record in read(settings, topics[0]))
    whose = (b"parent", b"child", b"parent again")
    assert counts == Counter(b"%s %d" % (who, number) for who in whose for number in range(100))


# --- The command ---------------------------------------------------------------------------


@pytest.fixture
def publish(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Result]]:
    monkeypatch.setenv("TOCSIN_BROKERS", settings.brokers)
    monkeypatch.setenv("TOCSIN_NOTIFICATION_TOPIC_PREFIX", settings.notification_topic_prefix)

    level = logging.getLogger("aiokafka").level

    def run(*arguments: str, stdin: bytes = b"") -> Result:
        return CliRunner().invoke(command, arguments, input=stdin, catch_exceptions=False)

    yield run
    # The command silences the client for the rest of its process, which here is that of other tests.
    logging.getLogger("aiokafka").setLevel(level)


def test_publish_one(publish: Callable[..., Result], settings: Settings, topics: list[str]):
    result = publish(
        "--priority", "error", "--event-type", "compute.instance.create.error", "--payload", '{"id": 12}'
    )
    assert result.exit_code == 0
    assert result.stdout.startswith("published 1, failed 0 in ")
    (record,) = read(settings, *topics)
    assert record.topic == topics[FIVE.index("error")]
    found = Decoder(Limits()).decode(record.value, Priority.ERROR)
    assert isinstance(found, Notification)
    assert (found.event_type, found.payload, found.repairs) == (
        "compute.instance.create.error",
        {"id": 12},
        (),
    )


def test_publish_lines_reports_broken_ones_and_sends_the_rest(
    publish: Callable[..., Result], settings: Settings, topics: list[str], tmp_path: Path
):
    file = tmp_path / "lines"
    file.write_bytes(
        b'{"event_type": "a", "priority": "CRITICAL"}\n'
        b"broken\n"
        b"\n"
        b'{"event_type": "b"}\n'
        b'{"event_type": "c", "priority": "FATAL"}\n'
        b'{"event_type": "d", "priority": "debug"}'
    )
    result = publish("--priority", "warn", str(file))
    assert result.exit_code == 1
    assert "line 2: " in result.stderr
    assert "line 5: " in result.stderr
    assert result.stdout.startswith("published 3, failed 2 in ")
    found = {(orjson.loads(record.value)["event_type"], record.topic) for record in read(settings, *topics)}
    assert found == {
        ("a", topics[FIVE.index("critical")]),
        ("b", topics[FIVE.index("warn")]),
        ("d", topics[FIVE.index("debug")]),
    }


def test_publish_raw_sends_standard_input_as_it_is(
    publish: Callable[..., Result], settings: Settings, topics: list[str]
):
    result = publish("--raw", "--priority", "debug", "-", stdin=b'{"a": \nnot json\n\xff\xfe\n')
    assert result.exit_code == 0
    found = read(settings, *topics)
    assert {record.topic for record in found} == {topics[FIVE.index("debug")]}
    assert sorted(record.value for record in found) == [b"not json", b'{"a":', b"\xff\xfe"]


def test_publish_generated_load_counts_what_is_there(
    publish: Callable[..., Result], settings: Settings, topics: list[str]
):
    result = publish("--generate", "--count", "5000", "--seed", "3", "--bad-share", "0.01")
    assert result.exit_code == 0
    assert result.stdout.startswith("published 5000, failed 0 in ")
    found = read(settings, *topics)
    assert len(found) == 5000
    decode = Decoder(Limits()).decode
    good = [decode(record.value, Priority.INFO) for record in found]
    ids = [one.message_id for one in good if isinstance(one, Notification)]
    assert len(set(ids)) == len(ids)
    assert 4900 < len(ids) < 5000
    assert set(Counter(record.topic for record in found)) == set(topics)


def test_publish_says_the_counts_as_json(
    publish: Callable[..., Result], settings: Settings, topics: list[str]
):
    result = publish("--json", "-", stdin=b'{"event_type": "a"}\nbroken\n')
    assert result.exit_code == 1
    found = orjson.loads(result.stdout)
    assert found.pop("seconds") > 0
    assert found == {"published": 1, "failed": 1}


def test_publish_without_topics_fails_and_says_what_to_do(publish: Callable[..., Result], settings: Settings):
    result = publish("--event-type", "a.b", "--timeout", "60")
    assert result.exit_code == 1
    assert f"there is no topic {settings.notification_topic(Priority.INFO)}" in result.stderr
    assert "tocsin topics apply" in result.stderr
    assert result.stdout.startswith("published 0, failed 1 in ")


def test_publish_without_brokers_fails_in_one_sentence(publish: Callable[..., Result]):
    result = publish("--event-type", "a.b", "--brokers", "127.0.0.1:1")
    assert result.exit_code == 1
    assert result.stderr.startswith("tocsin publish: Kafka at 127.0.0.1:1 does not answer")
    assert result.stderr.count("\n") == 1


def test_endless_load_ends_with_a_signal_and_confirms_what_it_sent(settings: Settings, topics: list[str]):
    environment = os.environ | {
        "TOCSIN_BROKERS": settings.brokers,
        "TOCSIN_NOTIFICATION_TOPIC_PREFIX": settings.notification_topic_prefix,
        "PYTHONPATH": str(ROOT),
    }
    arguments = [sys.executable, "-c", "from tocsin.cli import main; main()"]
    process = children.start(
        [*arguments, "publish", "--generate", "--rate", "2000"],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        while not read(settings, *topics):
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=BOUND_S)
    finally:
        process.kill()
    assert process.returncode == 0
    assert output.startswith(f"published {len(read(settings, *topics))}, failed 0 in ")
