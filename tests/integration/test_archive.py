"""``tocsin archive`` and ``tocsin publish --raw`` as processes, on a real Kafka: all, whatever happens."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path

import pytest

from streams.notifications import Priority
from tests.admin import apply_topics
from tests.integration.archiving import (
    archiver,
    caught_up,
    files,
    in_files,
    kept,
    kept_now,
    publish_values,
    published,
    ready,
)
from tests.integration.worker_process import SHORT_SESSION_TIMEOUT_S, Deployment, eventually
from tests.integration.writing import made_load, writer

pytestmark = pytest.mark.kafka

_ODD = b"\xff\x00 no UTF-8 \x80"


def _has_more(folder: Path, than: int) -> bool:
    return kept_now(folder).total() > than


async def test_killed_under_load_the_files_hold_what_the_topics_do(
    deployment: Deployment, tmp_path: Path
) -> None:
    folder = tmp_path / "archive"
    await apply_topics(deployment.settings)
    async with writer(deployment.settings) as out:
        odd = deployment.settings.notification_topic(Priority.WARN)
        await out.raw(odd, _ODD, [("h", _ODD), ("h", b"text"), ("none", None)], key=_ODD)  # type: ignore[list-item]
        await out.raw(odd, None)
        archivers = [
            archiver(
                deployment,
                folder,
                name,
                *("--roll-mib", "0.05"),
                instance=name == "a",
                session_s=SHORT_SESSION_TIMEOUT_S,
            ).start()
            for name in "ab"
        ]
        async with out.steadily(made_load(seed=3)):
            for turn in range(2):
                before = kept_now(folder).total()
                await eventually("more is archived", partial(_has_more, folder, before))
                archivers[turn].kill()
                archivers[turn].start()
            await out.goes_on(100)
    await caught_up(deployment)
    # One of them may have done it alone, and be told to stop before it has begun; its ready file may be old.
    await asyncio.gather(*(each.ready() for each in archivers))
    for each in archivers:
        each.terminate()
        assert await each.ended() == 0, each.tail()
    assert kept(*files(folder)) == await published(deployment.settings)
    assert all(path.name.endswith(".jsonl.gz") for path in files(folder)), files(folder)


async def test_members_that_come_and_go_in_order_archive_each_record_once(
    deployment: Deployment, tmp_path: Path
) -> None:
    folder = tmp_path / "archive"
    await apply_topics(deployment.settings)
    async with writer(deployment.settings) as out:
        first = archiver(deployment, folder, "first").start()
        async with out.steadily(made_load(seed=7)):
            await ready(folder, first)
            second = archiver(deployment, folder, "second").start()
            await ready(folder, second)
            await out.goes_on(1500)
            await first.stop()
            await out.goes_on(1500)
            first.start()
            await ready(folder, first)
            await out.goes_on(500)
    await caught_up(deployment)
    await first.stop()
    await second.stop()
    repeats = in_files(*files(folder))[1]
    assert (kept(*files(folder)), repeats) == (await published(deployment.settings), 0)
    assert second.log().count("Archiving 10 partitions") == 2


async def test_its_probes_and_metrics_tell_how_it_is(deployment: Deployment, tmp_path: Path) -> None:
    settings, folder = deployment.settings, tmp_path / "archive"
    topic = settings.notification_topic(Priority.ERROR)
    await apply_topics(settings)
    one = archiver(deployment, folder, "one", instance=True).start()
    await one.ready()
    await publish_values(settings, topic, "archived", 40)
    await caught_up(deployment)

    text = (await asyncio.to_thread(one.get, "/metrics"))[1].decode()
    for line in (
        "tocsin_archive_records_total 40.0",
        'tocsin_archive_waiting_records{priority="ERROR"} 0.0',
        "tocsin_archive_held_bytes 0.0",
        "tocsin_archive_missing_records_total 0.0",
        "tocsin_archive_ready 1.0",
    ):
        assert line in text
    assert (await asyncio.to_thread(one.get, "/livez"))[0] == 200
    taken = one.address
    assert taken is not None
    other = archiver(deployment, tmp_path / "other", "other", port=taken[1]).start()
    assert await other.ended() == 78
    assert "TOCSIN_ARCHIVE_PORT: another program listens on" in other.log().splitlines()[-1]
    await one.stop()
