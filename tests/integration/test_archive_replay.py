"""An archive that is replayed into an empty cluster is counted as the first time."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from streams.notifications import Priority
from tests.admin import apply_topics
from tests.integration.archiving import (
    Content,
    archiver,
    caught_up,
    files,
    published,
    replayed,
    tocsin,
)
from tests.integration.reading import all_committed, counts_at_rest, public_counts, stop_combined
from tests.integration.worker_process import Deployment, eventually
from tests.integration.writing import made_load, writer
from tocsin.local_kafka.cluster import LocalKafka

pytestmark = pytest.mark.kafka

_ODD = b"\xff\x00 no UTF-8 \x80"


async def test_a_replay_into_an_empty_cluster_is_counted_as_the_first_time(
    deployment: Deployment, file_kafka: LocalKafka, tmp_path: Path
) -> None:
    folder = tmp_path / "archive"
    deployment.configure(priorities="critical,error,warn,info,debug,sample")
    settings = deployment.settings
    await apply_topics(settings)
    async with writer(settings) as out:
        await out.made(made_load(seed=4, count=1000))
        topic = settings.notification_topic(Priority.SAMPLE)
        await out.raw(topic, b'{"event_type": "odd"}', [("h", _ODD), ("none", None)], key=_ODD)  # type: ignore[list-item]
    archived = archiver(deployment, folder, "a").start()
    worker = await deployment.worker("first").start().ready()
    await caught_up(deployment)
    await archived.stop()
    await eventually("all is counted", lambda: all_committed(settings))
    await stop_combined(worker, settings)
    before, counts = await published(settings), (await counts_at_rest(settings)).now()
    assert counts.total() == before.total() == 1001

    deployment.configure(
        brokers=file_kafka.bootstrap, notification_topic_prefix=f"{deployment.unique}.again."
    )
    empty = deployment.settings
    await apply_topics(empty)
    # The same files twice: each record goes out once.
    code, report, said = await replayed(deployment, files(folder) * 2)
    assert (code, report["published"], report["failed"]) == (0, 1001, 0), said
    assert "1001 that are in the files twice were sent once" in said
    after = await published(empty)

    def contents(some: Counter[Content]) -> list[str]:
        return sorted(
            repr((topic.rpartition(".")[2], key, value, headers))
            for topic, _, _, key, value, headers, _ in some.elements()
        )

    assert contents(after) == contents(before)
    worker = await deployment.worker("again").start().ready()
    async with public_counts(empty) as found:
        await found.reach(counts)
    await eventually("all is committed", lambda: all_committed(empty))
    await stop_combined(worker, empty)
    code, report, said = await tocsin(deployment, "verify")
    assert (code, report["agree"], report["differences"]) == (0, True, []), (report["sentences"], said)
