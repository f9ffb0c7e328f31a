"""yagi's use case, by the very lines of docs/ways.md: from a service over RabbitMQ to a hub's subscriber."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import aio_pika
import aiohttp
import feedparser
import orjson
import pytest

from tests import children, leash
from tests.integration.forwards import read_forwards
from tests.integration.reading import Counts, public_counts
from tests.integration.worker_process import BOUND_S, ROOT, Deployment, eventually
from tests.ports import free_ports
from tests.rabbit_server import RabbitServer, in_own_loop, rabbit
from tests.websub import flask_websub_hub, links_of, subscriber

__all__ = ["rabbit"]

pytestmark = [pytest.mark.kafka, pytest.mark.xdist_group("rabbit")]

_SECTION = (ROOT / "docs/ways.md").read_text().split("## A cloud in an afternoon\n")[1].split("\n## ")[0]
PRIORITIES = ("critical", "error", "warn", "info", "debug")
EACH = 8


def block(language: str, number: int = 0) -> str:
    """A block of code of the section."""
    return re.findall(rf"^```{language}\n(.*?)^```", _SECTION, re.MULTILINE | re.DOTALL)[number]


def put(text: str, values: Mapping[str, str]) -> str:
    """A text with other addresses in the place of those of the document, each of which is there once."""
    for theirs, ours in values.items():
        assert text.count(theirs) == 1, theirs
        text = text.replace(theirs, ours)
    assert "example.org" not in text
    return text


def ids(document: bytes) -> Counter[str]:
    """Ids in the payloads of the entries of a feed, which are in oslo.messaging's envelope."""
    found = feedparser.parse(document)
    assert not found.bozo, found.get("bozo_exception")
    alerts = [orjson.loads(entry.content[0].value) for entry in found.entries]
    assert "hush" not in str(alerts), "secrets are masked"
    return Counter(orjson.loads(each["notification"]["oslo.message"])["payload"]["id"] for each in alerts)


@contextmanager
def running(lines: str, folder: Path, environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Lines in a shell, as in a terminal of their own; ``tocsin`` is this one, and outlives no test."""
    tools = folder / "bin"
    tools.mkdir()
    tocsin = tools / "tocsin"
    tocsin.write_text(
        f'#!/bin/sh\nexec {sys.executable} -I -S {leash.__file__} $PPID {sys.executable} -m tocsin "$@"\n'
    )
    tocsin.chmod(0o755)
    log = folder / "log"
    with log.open("wb") as output:
        process = children.start(
            # The shell of a terminal outlives Ctrl-C, too.
            ["sh", "-c", f"trap : INT\n{lines}"],
            cwd=folder,
            env=environment | {"PATH": f"{tools}:{os.environ['PATH']}"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(BOUND_S)
        print(f"---------------- end of the log\n{log.read_text(errors='replace')[-8000:]}")


@pytest.fixture
def cloud(rabbit: RabbitServer, tmp_path: Path) -> Iterator[Path]:
    """nova.conf of a service of a cloud, whose queues are deleted in the end."""
    conf = tmp_path / "nova.conf"
    conf.write_text(f"[DEFAULT]\ntransport_url = {rabbit.transport_url}\n{block('ini')}")
    yield conf

    async def clean() -> bool:
        async with await aio_pika.connect(rabbit.url) as connection:
            channel = await connection.channel()
            for each in PRIORITIES:
                await channel.queue_delete(f"notifications.{each}")
            return True

    in_own_loop(clean())


async def publish(conf: Path, number: int) -> None:
    ended = await asyncio.to_thread(
        children.run,
        [sys.executable, ROOT / "tests/integration/configured_publisher.py", conf, str(number)],
        cwd=ROOT,
        capture_output=True,
        timeout=BOUND_S,
    )
    assert ended.returncode == 0, ended.stderr.decode()


async def test_the_documented_line_connects_a_cloud_with_a_subscriber(
    rabbit: RabbitServer, deployment: Deployment, cloud: Path, tmp_path: Path
) -> None:
    settings = deployment.settings
    web, probes = free_ports(2)
    subprocess.run(["sh", "-c", block("sh", 0)], cwd=tmp_path, check=True)
    # Before the line runs: what waits in RabbitMQ is not lost.
    await publish(cloud, 1)
    with flask_websub_hub(tmp_path) as hub:
        line = put(
            block("sh", 1),
            {
                "kafka.example.org:9092": settings.brokers,
                "rabbit://openstack:secret@controller.example.org:5672/": rabbit.transport_url,
                "http://tocsin.example.org:6066": f"http://127.0.0.1:{web}",
                "http://hub.example.org/hub": hub,
            },
        )
        # What keeps it apart from the tests beside it; the line says nothing of these.
        apart = deployment.environment(brokers=None, web_port=str(web), rabbit_bridge_port=str(probes))
        base = f"http://127.0.0.1:{web}"
        with running(line, tmp_path, apart) as shell:
            async with aiohttp.ClientSession(base) as client, subscriber() as reader:

                async def ready() -> bool:
                    assert shell.poll() is None
                    try:
                        async with client.get("/readyz") as answer:
                            return answer.status == 200
                    except aiohttp.ClientError:
                        return False

                await eventually("the worker is ready", ready)
                links = await links_of(client, "/feeds/events/compute.*.atom")
                # Nothing else is open.
                async with client.get("/api/v1/counts") as answer:
                    assert answer.status == 401
                token = (tmp_path / "web-token").read_text().strip()
                sign_in = {"Authorization": aiohttp.encode_basic_auth("", token)}
                async with client.get("/api/v1/counts", headers=sign_in) as answer:
                    assert answer.status == 200
                await reader.subscribe(links["hub"], links["self"])
                await publish(cloud, EACH)
                found: Counter[str] = Counter()
                wanted = Counter(
                    f"{priority} {index}" for priority in PRIORITIES[:4] for index in range(EACH)
                ) + Counter(f"{priority} 0" for priority in PRIORITIES[:4])
                while found != wanted:
                    async with asyncio.timeout(BOUND_S):
                        found = ids(await reader.received.get())
                    assert found <= wanted
                assert reader.refused == []
                async with public_counts(settings) as counts:
                    await counts.reach(
                        Counts({(each.upper(), f"compute.instance.{each}"): EACH + 1 for each in PRIORITIES})
                    )
                for severity in PRIORITIES[:4]:
                    assert len(await read_forwards(settings, severity)) == EACH + 1
            # Ctrl-C, which a terminal sends to all that runs in it.
            os.killpg(shell.pid, signal.SIGINT)
            await eventually("all has ended", lambda: shell.poll() is not None)
            assert shell.returncode == 0, "the worker ended in good order"
    log = (tmp_path / "log").read_text()
    assert f"{5 * (EACH + 1)} messages were confirmed" in log
    assert rabbit.transport_url not in log
