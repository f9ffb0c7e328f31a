"""``python -m tests.benchmarks.bridge_rabbit``: how many messages a second one bridge takes out of RabbitMQ.

A backlog: messages of the driver rabbit wait in durable queues of five priorities, or those of
oslo.messaging's own publishers in its queues of seven, then the bridge starts; from the first that Kafka
confirmed to the last. While they publish: bridge and publishers are connected, and the clock runs from the
first message that is published to the last that Kafka has confirmed. How fast the publishers are by
themselves is beside it, and how much processor time each process took.
By processor time: the same messages by what the bridge's process used for them, since publishers, RabbitMQ,
Kafka and the bridge share the machine. Every run must have each message in Kafka, once.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import time
import urllib.request
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from streams.notifications.priority import DEFAULT_PRIORITIES, Priority
from streams.publishing.driver import load_driver
from streams.publishing.notifier import Notifier
from tests.benchmarks import report
from tests.benchmarks.cluster import bench_cluster, create_topics
from tests.benchmarks.measure import median_and_spread
from tests.benchmarks.processes import BenchmarkError, Child, running, wait_until
from tests.benchmarks.targets import Target, all_met
from tests.rabbit_server import RabbitServer

#: Messages a second through the bridge from oslo.messaging's publishers.
LIMIT = 3_000.0
_PAYLOAD = {"instance_id": "4b0ee1f0-6a57-4a5a-8bd0-1f8a1bd6a1c5", "state": "active", "metrics": [1, 2, 3]}
_WAIT_S = 300.0
_LIVE = "oslo.messaging's, while they publish"
_ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+")
_MESSAGES = re.compile(r"^tocsin_rabbit_bridge_messages_total\{[^}]*\} (\S+)$", re.MULTILINE)
_PROCESSOR = re.compile(r"^process_cpu_seconds_total (\S+)$", re.MULTILINE)
_PRIORITIES = ",".join(each.lower() for each in Priority)


class Bridge:
    """A bridge that runs, seen through its metrics."""

    def __init__(self, child: Child) -> None:
        self._child = child
        wait_until(lambda: _ADDRESS.search(child.log.read_text()) is not None, _WAIT_S, "the bridge", child)
        found = _ADDRESS.search(child.log.read_text())
        assert found is not None
        self._url = f"{found[0]}/metrics"

    def _metrics(self) -> str:
        self._child.check()
        with urllib.request.urlopen(self._url, timeout=_WAIT_S) as answer:
            return str(answer.read().decode())

    def confirmed(self) -> int:
        """Messages that Kafka has confirmed."""
        return int(sum(map(float, _MESSAGES.findall(self._metrics()))))

    def processor_s(self) -> float:
        """Seconds of processor time that it used."""
        (found,) = _PROCESSOR.findall(self._metrics())
        return float(found)

    def wait(self, number: int) -> float:
        """Wait for so many confirmed, and return when that was."""
        wait_until(lambda: self.confirmed() >= number, _WAIT_S, f"{number} messages", self._child)
        return time.monotonic()


class Machine:
    """RabbitMQ and Kafka, with topics and queues of its own for each run."""

    def __init__(self, brokers: str, server: RabbitServer, folder: Path) -> None:
        self._brokers = brokers
        self._server = server
        self._folder = folder
        self._runs = 0

    def backlog(self, number: int) -> dict[str, float]:
        """Rates for messages that waited."""
        topic = self._begin()
        driver = load_driver("rabbit", url=self._server.url, buffer_bytes=2**30)
        notifier = Notifier("compute.host1", driver, topic_prefix=f"{topic}.")
        for index in range(number):
            notifier.publish(
                DEFAULT_PRIORITIES[index % 5], "compute.instance.create.end", _PAYLOAD, context={"u": 1}
            )
        if not driver.flush(_WAIT_S) or driver.stats.delivered != number:
            raise BenchmarkError(f"RabbitMQ did not take everything: {driver.stats}")
        driver.close()
        with self._bridge(topic) as bridge:
            bridge.wait(1)
            before, began, used = bridge.confirmed(), time.monotonic(), bridge.processor_s()
            ended = bridge.wait(number)
            used = bridge.processor_s() - used
        self._check(topic, number)
        return {"rate": (number - before) / (ended - began), "by processor": (number - before) / used}

    def oslo(self, publishers: int, each: int) -> dict[str, float]:
        """Rates for a backlog of oslo.messaging's publishers, ``each`` of every priority."""
        topic = self._begin()
        number = publishers * each * len(Priority)
        self._publish(topic, publishers, each)
        with self._bridge(topic) as bridge:
            bridge.wait(1)
            before, began, used = bridge.confirmed(), time.monotonic(), bridge.processor_s()
            ended = bridge.wait(number)
            used = bridge.processor_s() - used
        self._check(topic, number)
        return {"rate": (number - before) / (ended - began), "by processor": (number - before) / used}

    def live(self, publishers: int, each: int) -> dict[str, float]:
        """Rates while these publishers and the bridge run together, and the cores that each took."""
        topic = self._begin()
        number, before = publishers * each * len(Priority), publishers * len(Priority)
        go = self._folder / f"{topic}.go"
        with ExitStack() as stack:
            children = [
                stack.enter_context(
                    running(
                        "tests.benchmarks.oslo_load",
                        *(self._server.transport_url, topic, str(each), str(go)),
                        log=self._folder / f"{topic}.publisher.{index}.log",
                    )
                )
                for index in range(publishers)
            ]
            for child in children:
                wait_until(lambda c=child: "connected" in c.log.read_text(), _WAIT_S, "a publisher", child)
            bridge = stack.enter_context(self._bridge(topic))
            bridge.wait(before)
            servers = self._server.processor_s()
            used = bridge.processor_s()
            began = time.monotonic()
            go.touch()
            ended = bridge.wait(before + number)
            used = bridge.processor_s() - used
            servers = self._server.processor_s() - servers
            for child in children:
                child.wait(_WAIT_S)
            theirs = [json.loads(child.log.read_text().splitlines()[-1]) for child in children]
        self._check(topic, before + number)
        took_s = ended - began
        return {
            "rate": number / took_s,
            "by processor": number / used,
            "published": number / max(each["s"] for each in theirs),
            "cores of publishers": sum(each["processor_s"] for each in theirs) / took_s,
            "cores of RabbitMQ": servers / took_s,
            "cores of the bridge": used / took_s,
        }

    def _publish(self, topic: str, publishers: int, each: int) -> None:
        with ExitStack() as stack:
            children = [
                stack.enter_context(
                    running(
                        "tests.integration.oslo_publisher",
                        *(self._server.transport_url, topic, "messagingv2", str(each)),
                        log=self._folder / f"{topic}.publisher.{index}.log",
                    )
                )
                for index in range(publishers)
            ]
            for child in children:
                child.wait(_WAIT_S)

    def _begin(self) -> str:
        self._runs += 1
        topic = f"bench{self._runs}"
        names = [f"{topic}.{each.lower()}" for each in Priority]
        create_topics(self._brokers, [*names, f"{topic}.dead"], 8)
        return topic

    @contextmanager
    def _bridge(self, topic: str) -> Iterator[Bridge]:
        env = {
            "TOCSIN_BROKERS": self._brokers,
            "TOCSIN_RABBIT_URL": self._server.url,
            "TOCSIN_RABBIT_BRIDGE_PORT": "0",
            "TOCSIN_PRIORITIES": _PRIORITIES,
            "TOCSIN_NOTIFICATION_TOPIC_PREFIX": f"{topic}.",
            "TOCSIN_DEAD_LETTER_TOPIC": f"{topic}.dead",
        }
        log = self._folder / f"{topic}.log"
        with running("tocsin", "bridge", "rabbit", "--topic", topic, log=log, env=env) as child:
            yield Bridge(child)

    def _check(self, topic: str, number: int) -> None:
        found = _ends(self._brokers, [f"{topic}.{each.lower()}" for each in Priority])
        if found != number:
            raise BenchmarkError(f"{found} records lie in Kafka for {number} messages")


def _ends(brokers: str, topics: list[str]) -> int:
    """Records that lie in topics which were never cut."""

    async def ends() -> int:
        consumer = AIOKafkaConsumer(bootstrap_servers=brokers)
        await consumer.start()
        try:
            found = await consumer.end_offsets(
                [TopicPartition(topic, p) for topic in topics for p in range(8)]
            )
            return sum(found.values())
        finally:
            await consumer.stop()

    return asyncio.run(ends())


def targets(results: dict[str, list[dict[str, float]]]) -> list[Target]:
    """At least 3,000 messages a second, in the median run."""
    return [
        Target("bridge_rabbit", name, LIMIT, _median(runs, "rate"), "messages/s", False)
        for name, runs in results.items()
    ]


def main(arguments: list[str] | None = None) -> int:
    """Measure; 0 when the targets are met."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--messages", type=int, default=50_000, help="of the backlog")
    parser.add_argument("--publishers", type=int, default=4, help="processes of oslo.messaging's publisher")
    parser.add_argument("--each", type=int, default=1_000, help="of each priority, by each publisher")
    parser.add_argument("--quick", action="store_true", help="fewer, once")
    options = parser.parse_args(arguments)
    if options.quick:
        options.repeats, options.messages, options.each = 1, min(options.messages, 5_000), 100
    before = report.machine()
    results: dict[str, list[dict[str, float]]] = defaultdict(list)
    with bench_cluster() as (brokers, folder):
        server = RabbitServer(folder / "rabbitmq")
        try:
            server.start()
            machine = Machine(brokers, server, folder)
            for repeat in range(options.repeats):
                runs = {
                    "a backlog": machine.backlog(options.messages),
                    "oslo.messaging's, a backlog": machine.oslo(options.publishers, options.each),
                    _LIVE: machine.live(options.publishers, options.each),
                }
                for name, run in runs.items():
                    results[name].append(run)
                    shown = ", ".join(
                        f"{what} {value:,.{1 if value < 10 else 0}f}" for what, value in run.items()
                    )
                    print(f"{repeat + 1}/{options.repeats} {name}: {shown}", flush=True)
        finally:
            server.stop()
    report.show(
        "Messages a second from RabbitMQ to Kafka, one bridge; the median of the runs",
        ["messages of", "by the clock", "by the bridge's processor time"],
        [
            [name, *(f"{_median(runs, what):,.0f}" for what in ("rate", "by processor"))]
            for name, runs in results.items()
        ],
    )
    reached = targets(results)
    result: dict[str, Any] = {"options": vars(options), "runs": results}
    report.finish("bridge_rabbit", before, reached, result)
    return 0 if all_met(reached) else 1


def _median(runs: list[dict[str, float]], what: str) -> float:
    return median_and_spread(run[what] for run in runs)[0]


if __name__ == "__main__":
    raise SystemExit(main())
