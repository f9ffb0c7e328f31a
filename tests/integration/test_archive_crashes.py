"""An archiver that is killed, whose disk is full, or that cannot work: nothing is lost, and it is said."""

from __future__ import annotations

import resource
from collections import Counter
from pathlib import Path

import pytest

from tests.admin import apply_topics
from tests.integration.archiving import (
    Content,
    archiver,
    caught_up,
    files,
    in_files,
    is_ready,
    kept,
    published,
    ready,
)
from tests.integration.worker_process import Deployment, eventually
from tests.integration.writing import made_load, writer

pytestmark = pytest.mark.kafka


async def _after_a_kill(deployment: Deployment, folder: Path, point: str) -> Counter[Content]:
    """What is missing after an archiver was killed at a point, and another one has archived the rest."""
    settings = deployment.settings
    await apply_topics(settings)
    command = ["tests.integration.killed_archiver", point, str(folder)]
    killed = deployment.worker("killed", command=command, instance_id="one").start()
    async with writer(settings) as out, out.steadily(made_load(seed=92), rate=500):
        assert await killed.ended() == -9, killed.log()
    other = archiver(deployment, folder, "one", instance=True).start()
    await caught_up(deployment)
    await other.stop()
    source = await published(settings)
    assert source.total() > 100
    _, repeats = in_files(*files(folder))
    assert (repeats > 0) is (point == "before-commit")
    return source - kept(*files(folder))


@pytest.mark.parametrize("point", ["before-write", "before-commit"])
async def test_a_kill_between_writing_and_committing_loses_nothing(
    deployment: Deployment, tmp_path: Path, point: str
) -> None:
    assert await _after_a_kill(deployment, tmp_path / "archive", point) == Counter()


async def test_an_archiver_that_commits_before_it_writes_is_caught(
    deployment: Deployment, tmp_path: Path
) -> None:
    """The negative control."""
    assert await _after_a_kill(deployment, tmp_path / "archive", "hasty") != Counter()


async def test_a_full_disk_is_waited_for(deployment: Deployment, tmp_path: Path) -> None:
    folder = tmp_path / "archive"
    await apply_topics(deployment.settings)
    one = archiver(deployment, folder, "a", instance=True).start()
    await ready(folder, one)
    pid = one.process.pid
    _, most = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    log_bytes = len(one.tail()) + 4000
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (log_bytes, most))
    async with writer(deployment.settings) as out:
        await out.made(made_load(seed=5, count=3000))
        await eventually("it says so", lambda: "The archive cannot be written" in one.log())
        await eventually("it is not ready", lambda: not is_ready(folder, one))
        await out.made(made_load(seed=6, count=100))
    # It ends in order, and what it could not write is archived by the next one.
    await one.stop()
    assert "records that were read could not be written: they are not committed" in one.log()
    one.start()
    # At once: it would write all that is left soon after it is ready.
    resource.prlimit(one.process.pid, resource.RLIMIT_FSIZE, (log_bytes, most))
    await eventually("it says so again", lambda: "The archive cannot be written" in one.log())
    resource.prlimit(one.process.pid, resource.RLIMIT_FSIZE, (most, most))
    await caught_up(deployment)
    await ready(folder, one)
    await one.stop()
    assert not folder.with_suffix(".a").exists()
    assert one.log().count("The archive cannot be written") == 1
    assert one.log().count("The archive can be written again") == 1
    assert kept(*files(folder)) == await published(deployment.settings)
    assert in_files(*files(folder))[1] == 0


async def test_two_with_one_instance_id_are_told(deployment: Deployment, tmp_path: Path) -> None:
    folder = tmp_path / "archive"
    await apply_topics(deployment.settings)
    first = archiver(deployment, folder, "one", instance=True).start()
    await ready(folder, first)
    second = archiver(deployment, folder, "one", instance=True).start()
    assert await first.ended() == 78
    assert "give each a TOCSIN_INSTANCE_ID of its own" in first.log()
    await second.stop()


async def test_a_start_that_cannot_work_says_why(deployment: Deployment, tmp_path: Path) -> None:
    missing = archiver(deployment, tmp_path / "archive", "missing").start()
    assert await missing.ended() == 78
    assert "is missing: run `tocsin topics apply`" in missing.log()
    (tmp_path / "file").touch()
    no_folder = archiver(deployment, tmp_path / "file" / "archive", "no-folder").start()
    assert await no_folder.ended() == 78
    assert "cannot be used as the folder of an archive" in no_folder.log()
    deployment.configure(brokers="127.0.0.1:1", wait_for_brokers_s="1")
    away = archiver(deployment, tmp_path / "archive", "away").start()
    assert await away.ended() == 75
    assert "Traceback" not in missing.log() + no_folder.log() + away.log()
    assert files(tmp_path / "archive") == []
