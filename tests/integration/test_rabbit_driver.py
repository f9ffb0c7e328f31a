"""Publishing to a real RabbitMQ, read by oslo.messaging's own notification listener."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import aio_pika
import pytest

from streams.notifications.decoding import Decoder, Limits
from streams.notifications.notification import Notification
from streams.notifications.priority import DEFAULT_PRIORITIES, Priority
from streams.outgoing import Outgoing
from streams.publishing.driver import Stats
from streams.publishing.drivers.rabbit import _AHEAD, RabbitDriver
from streams.publishing.notifier import AsyncNotifier, Notifier
from tests import children
from tests.integration.worker_process import BOUND_S
from tests.paths import ROOT
from tests.rabbit_server import (
    RabbitServer,
    in_own_loop,
    own_rabbit,
    rabbit,
    running,
    speaking_tls,
)

__all__ = ["own_rabbit", "rabbit"]

# In one process, so that they share one server.
pytestmark = pytest.mark.xdist_group("rabbit")

FIVE = [priority.value.lower() for priority in DEFAULT_PRIORITIES]


class Listener:
    """oslo.messaging's notification listener, in a process of its own."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def read(self, number: int) -> list[dict[str, Any]]:
        """The next ``number`` notifications that it got."""
        assert self._process.stdout is not None
        lines = [self._process.stdout.readline() for _ in range(number)]
        assert all(lines), "the listener ended"
        return [json.loads(line) for line in lines]


@contextmanager
def listening(url: str, exchange: str, topic: str, durable: str = "durable") -> Iterator[Listener]:
    process = children.start(
        [sys.executable, ROOT / "tests/integration/oslo_listener.py", url, exchange, topic, durable],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    # What never comes shall not hold up the run.
    alarm = threading.Timer(BOUND_S, process.kill)
    alarm.start()
    try:
        yield Listener(process)
    finally:
        alarm.cancel()
        process.kill()
        process.communicate()


def drained(url: str, *queues: str) -> list[Any]:
    """What lies in queues now, taken out; in the order of each."""

    async def run() -> list[Any]:
        async with await aio_pika.connect(url) as connection:
            channel = await connection.channel()
            found = []
            for name in queues:
                queue = await channel.get_queue(name)
                while (message := await queue.get(fail=False, no_ack=True, timeout=BOUND_S)) is not None:
                    found.append(message)
            return found

    return in_own_loop(run())


def on_channel(url: str, action: Any) -> Any:
    """Run ``action(channel)`` on a channel of its own."""

    async def run() -> Any:
        async with await aio_pika.connect(url) as connection:
            return await action(await connection.channel()) or True

    return in_own_loop(run())


# --- Read by others ------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["envelope", "flat"])
def test_oslo_listener_reads_every_priority(rabbit: RabbitServer, unique: str, form: str):
    seven = [priority.value.lower() for priority in Priority]
    context = {"user_id": "u-1", "project_id": "p-1"}
    with listening(rabbit.transport_url, unique, unique) as listener:
        with RabbitDriver(url=rabbit.url, exchange=unique, form=form) as driver:
            notifier = Notifier("compute.host1", driver, topic_prefix=f"{unique}.")
            ids = {
                name: notifier.publish(name, f"compute.{name}", {"at": [name, "é"]}, context=context)
                for name in seven
            }
            assert driver.flush(BOUND_S)
            assert driver.stats == Stats(pushed=7, delivered=7)
        found = listener.read(7)
    assert all(each.pop("timestamp") for each in found)
    assert {each["priority"]: each for each in found} == {
        name: {
            "priority": name,
            "context": context,
            "publisher_id": "compute.host1",
            "event_type": f"compute.{name}",
            "payload": {"at": [name, "é"]},
            "message_id": ids[name],
        }
        for name in seven
    }


def test_oslo_listener_that_comes_later_finds_what_was_published(rabbit: RabbitServer, unique: str):
    with RabbitDriver(url=rabbit.url, exchange=unique) as driver:
        Notifier("p", driver, topic_prefix=f"{unique}.").error("a.b", 1)
        assert driver.flush(BOUND_S)
    with listening(rabbit.transport_url, unique, unique) as listener:
        (found,) = listener.read(1)
    assert (found["priority"], found["payload"]) == ("error", 1)


def test_queues_that_oslo_declared_otherwise_are_used_as_they_are(rabbit: RabbitServer, unique: str):
    # Not durable, which is oslo.messaging's default: to declare them as durable would be refused.
    with listening(rabbit.transport_url, unique, unique, "transient") as listener:

        async def declared(channel: Any) -> None:
            while True:
                try:
                    await channel.get_queue(f"{unique}.sample")  # the last
                    return
                except aio_pika.exceptions.ChannelNotFoundEntity:
                    await channel.reopen()
                    await asyncio.sleep(0.1)

        on_channel(rabbit.url, declared)
        with RabbitDriver(url=rabbit.url, exchange=unique) as driver:
            Notifier("p", driver, topic_prefix=f"{unique}.").warn("a.b", 1)
            assert driver.flush(BOUND_S)
            assert driver.stats == Stats(pushed=1, delivered=1)
        (found,) = listener.read(1)
    assert found["priority"] == "warn"


@pytest.mark.parametrize("form", ["envelope", "flat"])
async def test_what_lies_in_rabbitmq_is_what_tocsin_reads(rabbit: RabbitServer, unique: str, form: str):
    async with RabbitDriver(url=rabbit.url, exchange=unique, form=form) as driver:
        notifier = AsyncNotifier("compute.host1", driver, topic_prefix=f"{unique}.")
        message_id = await notifier.critical("a.b", {"at": 1}, context={"user_id": "u"})
        assert await driver.aflush(BOUND_S)
    (message,) = drained(rabbit.url, f"{unique}.critical")
    assert (message.message_id, message.delivery_mode, message.content_type) == (
        message_id,
        2,
        "application/json",
    )
    found = Decoder(Limits()).decode(message.body, Priority.CRITICAL)
    assert isinstance(found, Notification)
    assert (found.message_id, found.payload, found.context, found.repairs) == (
        message_id,
        {"at": 1},
        {"user_id": "u"},
        (),
    )


def test_headers_go_along_and_bytes_that_are_no_json_too(rabbit: RabbitServer, unique: str):
    with RabbitDriver(url=rabbit.url, exchange=unique) as driver:
        driver.push(Outgoing(f"{unique}.info", b"\xff no json", headers=(("traceparent", b"00-1-2-01"),)))
        assert driver.flush(BOUND_S)
    (message,) = drained(rabbit.url, f"{unique}.info")
    assert (message.body, message.headers) == (b"\xff no json", {"traceparent": "00-1-2-01"})
    assert message.message_id


def test_quorum_queues_are_made_where_they_are_asked_for(rabbit: RabbitServer, unique: str):
    with RabbitDriver(url=rabbit.url, exchange=unique, queue_type="quorum") as driver:
        driver.push(Outgoing(f"{unique}.info", b"1"))
        assert driver.flush(BOUND_S)

    async def declared(channel: Any) -> None:
        await channel.declare_queue(f"{unique}.info", durable=True, arguments={"x-queue-type": "quorum"})

    on_channel(rabbit.url, declared)
    assert [message.body for message in drained(rabbit.url, f"{unique}.info")] == [b"1"]


# --- Trouble -------------------------------------------------------------------------------


def test_what_reaches_no_queue_is_failed_not_lost_silently(rabbit: RabbitServer, unique: str):
    async def exchange_alone(channel: Any) -> None:
        await channel.declare_exchange(unique, "topic", durable=True)

    on_channel(rabbit.url, exchange_alone)
    with RabbitDriver(url=rabbit.url, exchange=unique, declare=False) as driver:
        driver.push(Outgoing(f"{unique}.info", b"1"))
        assert driver.flush(BOUND_S)
        assert driver.stats == Stats(pushed=1, failed=1)


def test_queue_that_is_deleted_meanwhile_is_made_again(rabbit: RabbitServer, unique: str):
    topic = f"{unique}.info"
    with RabbitDriver(url=rabbit.url, exchange=unique) as driver:
        driver.push(Outgoing(topic, b"before"))
        assert driver.flush(BOUND_S)

        async def delete(channel: Any) -> None:
            await channel.queue_delete(topic)

        on_channel(rabbit.url, delete)
        for number in range(50):
            driver.push(Outgoing(topic, b"%d" % number))
        assert driver.flush(BOUND_S)
        assert driver.stats == Stats(pushed=51, delivered=51)
    found = Counter(message.body for message in drained(rabbit.url, topic))
    assert found == Counter(b"%d" % number for number in range(50))


def test_message_that_closes_the_channel_takes_no_other_with_it(tmp_path: Any, unique: str):
    limited = running(tmp_path / "rabbitmq", "max_message_size = 50000")
    with limited as server, RabbitDriver(url=server.url) as driver:
        topic = f"{unique}.info"
        for number in range(300):
            driver.push(Outgoing(topic, b"%d" % number))
            if number % 100 == 50:
                driver.push(Outgoing(topic, b"x" * 100_000))
        assert driver.flush(BOUND_S)
        assert driver.stats == Stats(pushed=303, delivered=300, failed=3)
        found = {message.body for message in drained(server.url, topic)}
    assert found == {b"%d" % number for number in range(300)}


def test_full_queue_that_refuses_fails_what_it_does_not_take(rabbit: RabbitServer, unique: str):
    topic = f"{unique}.debug"

    async def small(channel: Any) -> None:
        await channel.declare_queue(
            topic, durable=True, arguments={"x-max-length": 2, "x-overflow": "reject-publish"}
        )

    on_channel(rabbit.url, small)
    with RabbitDriver(url=rabbit.url, exchange=unique) as driver:
        for number in range(5):
            driver.push(Outgoing(topic, b"%d" % number))
        driver.push(Outgoing(f"{unique}.info", b"other"))
        assert driver.flush(BOUND_S)
        stats = driver.stats
    held = drained(rabbit.url, topic)
    # RabbitMQ's bound is approximate: what counts is that all is accounted for.
    assert stats == Stats(pushed=6, delivered=1 + len(held), failed=5 - len(held))
    assert stats.failed > 0


def killed_under_load(server: RabbitServer, driver: RabbitDriver, unique: str) -> tuple[list[str], list[Any]]:
    """Publish while RabbitMQ is killed and starts again; the ids, and what lies there in the end."""
    ids: list[str] = []
    more, restarted = threading.Event(), threading.Event()
    start, started = driver._start, 0

    def counted(*arguments: Any) -> None:
        nonlocal started
        start(*arguments)
        started += 1

    driver._start = counted  # type: ignore[method-assign]

    notifier = Notifier("p", driver, topic_prefix=f"{unique}.")

    def load() -> None:
        while not restarted.is_set() or len(ids) < 6000:
            ids.append(notifier.publish(FIVE[len(ids) % 5], "a.b", len(ids)))
            if len(ids) >= 4000:
                more.set()
                # The load goes on, without filling the buffer.
                restarted.wait(0.005)

    with driver:
        # Each queue is there: while one is looked for, nothing is sent, and a server that hangs says nothing.
        ids += [notifier.publish(priority, "a.b", "first") for priority in FIVE]
        assert driver.flush(BOUND_S)
        loading = threading.Thread(target=load)
        loading.start()
        try:
            assert more.wait(BOUND_S)
            until = time.monotonic() + BOUND_S
            while driver.stats.delivered < 500:
                assert time.monotonic() < until
                time.sleep(0.001)
            # What is sent to a server that stands still is lost with it: wait until some is, or as many are
            # under way as may be.
            server.pause()
            before = started
            while started == before and started - driver.stats.delivered < _AHEAD:
                assert time.monotonic() < until
                time.sleep(0.001)
            server.kill()
            server.start()
        finally:
            restarted.set()
            loading.join()
        assert driver.flush(BOUND_S)
        assert driver.stats == Stats(pushed=len(ids), delivered=len(ids))
    return ids, drained(server.url, *(f"{unique}.{name}" for name in FIVE))


def test_server_that_is_killed_and_started_again_under_load_loses_nothing(
    own_rabbit: RabbitServer, unique: str
):
    ids, found = killed_under_load(own_rabbit, RabbitDriver(url=own_rabbit.url), unique)
    assert {message.message_id for message in found} == set(ids)
    # A message that lies there twice has the same id in both places.
    bodies: dict[str, set[bytes]] = {}
    for message in found:
        bodies.setdefault(message.message_id, set()).add(message.body)
    assert all(len(each) == 1 for each in bodies.values())


def test_driver_that_believed_in_what_it_sent_would_lose_some(own_rabbit: RabbitServer, unique: str):
    class Believing(RabbitDriver):
        """The negative control: takes for delivered what was sent."""

        async def _disconnect(self, wire: Any) -> None:
            await super()._disconnect(wire)
            while self._again:
                self._settled([self._again.popleft().message], None)

    ids, found = killed_under_load(own_rabbit, Believing(url=own_rabbit.url), unique)
    assert {message.message_id for message in found} < set(ids)


def test_server_that_hangs_holds_up_nobody_and_gets_it_all_later(own_rabbit: RabbitServer, unique: str):
    with RabbitDriver(url=own_rabbit.url, heartbeat_s=1, buffer_bytes=500_000, max_wait_s=0.01) as driver:
        driver.push(Outgoing(f"{unique}.debug", b"before"))
        assert driver.flush(BOUND_S)
        own_rabbit.pause()
        try:
            debug = [driver.push(Outgoing(f"{unique}.debug", b"d" * 1000)) for _ in range(600)]
            critical = [driver.push(Outgoing(f"{unique}.critical", b"%d" % number)) for number in range(100)]
        finally:
            own_rabbit.resume()
        assert not all(debug)
        assert all(critical), "the least urgent go first"
        assert driver.flush(BOUND_S)
        stats = driver.stats
        assert stats.failed == 0
        assert driver.dropped_by_priority == {Priority.DEBUG: stats.dropped}
        assert stats.delivered + stats.dropped == stats.pushed == 701
    found = {message.body for message in drained(own_rabbit.url, f"{unique}.critical")}
    assert found == {b"%d" % number for number in range(100)}


def test_other_hosts_are_tried_when_one_does_not_answer(rabbit: RabbitServer, unique: str):
    url = rabbit.url.replace("amqp://guest", "rabbit://guest:guest@127.0.0.1:1,guest")
    with RabbitDriver(url=url) as driver:
        driver.push(Outgoing(f"{unique}.info", b"1"))
        assert driver.flush(BOUND_S)
        assert driver.stats == Stats(pushed=1, delivered=1)


def test_no_password_in_the_log(rabbit: RabbitServer, unique: str, caplog: pytest.LogCaptureFixture):
    with RabbitDriver(url=rabbit.url.replace("guest@", "hidden@")) as driver:
        driver.push(Outgoing(f"{unique}.info", b"1"))
        while not caplog.records:
            assert driver.flush(0.05) is False
        driver.close(0.0)
        assert driver._thread is not None
        driver._thread.join(BOUND_S)
        assert driver.stats == Stats(pushed=1, failed=1)
    ours = [record.message for record in caplog.records if record.name.startswith("tocsin")]
    assert any(f"RabbitMQ at 127.0.0.1:{rabbit.port} does not answer" in text for text in ours)
    assert not any("hidden" in text for text in caplog.messages)
    assert {record.name for record in caplog.records} == {"tocsin.publishing.rabbit"}


def test_tls_with_an_authority_of_ones_own(tmp_path: Any, unique: str, caplog: pytest.LogCaptureFixture):
    port, lines = speaking_tls(tmp_path)
    with running(tmp_path / "rabbitmq", *lines) as server:
        url = f"amqps://guest:guest@127.0.0.1:{port}/"
        with RabbitDriver(url=f"{url}?cafile={tmp_path}/ca.pem") as driver:
            driver.push(Outgoing(f"{unique}.info", b"1"))
            assert driver.flush(BOUND_S)
            assert driver.stats == Stats(pushed=1, delivered=1)
        with RabbitDriver(url=url) as stranger:
            stranger.push(Outgoing(f"{unique}.info", b"2"))
            while not any("certificate verify failed" in text for text in caplog.messages):
                assert stranger.flush(0.05) is False
            stranger.close(0.0)
        assert [message.body for message in drained(server.url, f"{unique}.info")] == [b"1"]


# --- Processes -----------------------------------------------------------------------------


def test_script_that_ends_without_closing_still_delivers(rabbit: RabbitServer, unique: str):
    script = (
        "import sys\n"
        "from tocsin import Notifier, load_driver\n"
        "driver = load_driver('rabbit', url=sys.argv[1], exit_wait_s=60)\n"
        "notifier = Notifier('a.b', driver, topic_prefix=sys.argv[2] + '.')\n"
        "for number in range(300): notifier.info('x.y', number)\n"
    )
    result = children.run(
        [sys.executable, "-c", script, rabbit.url, unique], capture_output=True, text=True, cwd=ROOT
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert len(drained(rabbit.url, f"{unique}.info")) == 300
