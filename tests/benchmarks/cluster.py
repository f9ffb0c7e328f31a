"""The Kafka of a benchmark run: its own, in a scratch folder, gone afterwards."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from streams.notifications.priority import DEFAULT_PRIORITIES, Priority
from tests.admin import admin_of
from tests.benchmarks.processes import BenchmarkError
from tests.scratch import scratch_folder
from tocsin.local_kafka.cluster import LocalKafka

#: A file system in memory: a disk's writing and deleting, seconds after the run that caused them, would be
#: measured with whatever runs then.
_IN_MEMORY = Path("/dev/shm")
_ENOUGH_BYTES = 12 * 2**30
_KNOWN_S = 30.0
_KNOWN_POLL_S = 0.02


def scratch() -> str:
    """Where benchmarks put Kafka's data and everything else: in memory if there is room, else on disk."""
    if _IN_MEMORY.is_dir() and shutil.disk_usage(_IN_MEMORY).free >= _ENOUGH_BYTES:
        return str(_IN_MEMORY)
    return tempfile.gettempdir()


@contextmanager
def bench_cluster() -> Iterator[tuple[str, Path]]:
    """Bootstrap address of a Kafka of our own, and a scratch folder for everything else."""
    with scratch_folder("tocsin-bench-", scratch()) as folder:
        kafka = LocalKafka(folder / "kafka", die_with_parent=True)
        try:
            yield kafka.start(lambda what, done, _: None if done else print(what, flush=True)), folder
        finally:
            kafka.stop()


def notification_topics(prefix: str) -> dict[Priority, str]:
    """Topic of every priority."""
    return {priority: prefix + priority.value.lower() for priority in DEFAULT_PRIORITIES}


def create_topics(brokers: str, names: list[str], partitions: int, *, compacted: bool = False) -> None:
    """Create topics with one replica, and wait until the broker tells of every partition."""
    configs = {"cleanup.policy": "compact"} if compacted else {}

    async def known(admin: AIOKafkaAdminClient) -> bool:
        described = await admin.describe_topics(names)
        return all(
            not topic["error_code"] and sum(part["leader"] >= 0 for part in topic["partitions"]) == partitions
            for topic in described
        )

    async def create() -> None:
        async with admin_of(brokers) as admin:
            wanted = [NewTopic(name, partitions, 1, topic_configs=configs) for name in names]
            answer = await admin.create_topics(wanted)
            for name, code, *_ in answer.topic_errors:
                if code:
                    raise BenchmarkError(f"Kafka did not create {name} (error {code}).")
            try:
                async with asyncio.timeout(_KNOWN_S):
                    while not await known(admin):
                        await asyncio.sleep(_KNOWN_POLL_S)
            except TimeoutError as error:
                raise BenchmarkError(f"Kafka does not tell of {', '.join(names)}.") from error

    asyncio.run(create())


def delete_topics(brokers: str, prefix: str) -> None:
    """Delete every topic whose name begins with ``prefix``, to give the disk back."""

    async def delete() -> None:
        async with admin_of(brokers) as admin:
            names = [name for name in await admin.list_topics() if name.startswith(prefix)]
            if names:
                await admin.delete_topics(names)

    asyncio.run(delete())


class CommittedOffsets:
    """Watches what a group has committed, over one connection."""

    def __init__(self, brokers: str, group: str, topics: list[str]) -> None:
        self._loop = asyncio.new_event_loop()
        self._brokers = brokers
        self._group = group
        self._topics = set(topics)
        self._admin: AIOKafkaAdminClient | None = None

    def total(self) -> int:
        """Sum of the committed offsets of the topics: records that are done, as their offsets begin at 0."""
        return self._loop.run_until_complete(self._total())

    async def _total(self) -> int:
        if self._admin is None:
            self._admin = AIOKafkaAdminClient(bootstrap_servers=self._brokers)
            await self._admin.start()
        offsets: dict[TopicPartition, object] = await self._admin.list_consumer_group_offsets(self._group)
        return sum(
            max(0, meta.offset)  # type: ignore[attr-defined]
            for tp, meta in offsets.items()
            if tp.topic in self._topics
        )

    def close(self) -> None:
        """Disconnect."""
        if self._admin is not None:
            self._loop.run_until_complete(self._admin.close())
        self._loop.close()
