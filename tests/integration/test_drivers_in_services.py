"""The drivers with a connection in services as they are: green threads, forks, the interpreter's end."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import orjson
import psutil
import pytest

from streams.settings import load_settings
from tests import children
from tests.integration.service_kinds import BEGINNINGS, ENDS, FORKS, NOTIFIER, OWN_LOOP, WORKS
from tests.integration.test_publishing import create, read
from tests.integration.test_rabbit_driver import drained
from tests.integration.worker_process import BOUND_S
from tests.long_form import in_the_long_form
from tests.paths import ROOT
from tests.ports import free_port
from tests.rabbit_server import rabbit
from tocsin.local_kafka.cluster import LocalKafka

__all__ = ["rabbit"]

pytestmark = pytest.mark.kafka

_POLL_S = 0.05
#: Arguments of a service, and what counts the payloads that it left.
Place = tuple[list[str], Callable[[], Counter[object]]]


@pytest.fixture(params=[pytest.param("rabbit", marks=pytest.mark.xdist_group("rabbit")), "kafka"])
def place(request: pytest.FixtureRequest, unique: str) -> Place:
    """A real server of each kind, and what one service left there."""
    topic = f"{unique}.info"
    if request.param == "rabbit":
        url = request.getfixturevalue("rabbit").url
        options = {"url": url, "exchange": unique, "form": "flat", "exit_wait_s": 60}

        def left() -> Counter[object]:
            return Counter(orjson.loads(message.body)["payload"] for message in drained(url, topic))

    else:
        kafka: LocalKafka = request.getfixturevalue("kafka")
        settings = load_settings(brokers=kafka.bootstrap)
        create(settings, topic)
        options = {"brokers": kafka.bootstrap, "exit_wait_s": 60}

        def left() -> Counter[object]:
            return Counter(orjson.loads(record.value)["payload"] for record in read(settings, topic))

    return [request.param, json.dumps(options), f"{unique}."], left


def serve(kind: str, script: str, arguments: list[str]) -> None:
    """Run a service to its end; it must say nothing."""
    text = f"{BEGINNINGS[kind]}\nname_of_kind = {kind!r}\n{NOTIFIER}\n{script}"
    # Python 3.12 warns of any fork beside threads.
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", text, *arguments]
    result = children.run(command, cwd=ROOT, capture_output=True, text=True, timeout=BOUND_S)
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize("kind", BEGINNINGS)
def test_others_go_on_while_it_delivers(place: Place, kind: str):
    arguments, left = place
    serve(kind, WORKS, arguments)
    assert left() == Counter(f"{who} {number}" for who in range(5) for number in range(200))


@pytest.mark.parametrize("kind", BEGINNINGS)
def test_a_service_with_an_event_loop_of_its_own_keeps_it(place: Place, kind: str):
    arguments, left = place
    serve(kind, OWN_LOOP, arguments)
    assert left() == Counter(f"loop {number}" for number in range(50))


@pytest.mark.parametrize("kind", BEGINNINGS)
def test_a_service_that_ends_without_closing_still_delivers(place: Place, kind: str):
    arguments, left = place
    serve(kind, ENDS, arguments)
    assert left() == Counter(f"end {number}" for number in range(300))


# Eventlet on asyncio does not run in a forked process by itself.
@pytest.mark.parametrize("kind", [kind for kind in BEGINNINGS if kind != "eventlet-on-asyncio"])
def test_forked_workers_have_connections_of_their_own(place: Place, kind: str):
    arguments, left = place
    serve(kind, FORKS, arguments)
    whose = ("parent", "parent again", "child 0", "child 1")
    assert left() == Counter(f"{who} {number}" for who in whose for number in range(100))


_GEVENT_PARTLY = """
from gevent import monkey
monkey.patch_all(thread=False)
from tocsin import load_driver
load_driver("rabbit", url="amqp://127.0.0.1:1/")
"""


def test_gevent_without_threads_is_refused_with_a_sentence():
    command = [sys.executable, "-c", _GEVENT_PARTLY]
    result = children.run(command, cwd=ROOT, capture_output=True, text=True, timeout=BOUND_S)
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1].endswith(
        "ConfigurationError: The publishing driver rabbit cannot work where gevent has patched sockets "
        "and not threads: use gevent.monkey.patch_all(), or none of it."
    )


# --- oslo.service --------------------------------------------------------------------------

_OSLO_SERVICE = """
import signal
from oslo_config import cfg
from oslo_service import service
class Publishing(service.Service):
    def start(self):
        super().start()
        for number in range(100): notifier.info("a.b", f"{number}")
        assert driver.flush(60), driver.stats
        open(os.path.join(sys.argv[4], str(os.getpid())), "w").close()
notifier.info("a.b", "of the parent")
launcher = service.launch(cfg.ConfigOpts(), Publishing(), workers=2)
def stop():
    while len(os.listdir(sys.argv[4])) < 2: time.sleep(0.05)
    os.kill(os.getpid(), signal.SIGTERM)
threading.Thread(target=stop, daemon=True).start()
launcher.wait()
"""


def test_oslo_service_forks_workers_that_publish(place: Place, tmp_path: Path):
    arguments, left = place
    serve("eventlet", _OSLO_SERVICE, [*arguments, str(tmp_path)])
    assert left() == Counter({"of the parent": 1} | {f"{number}": 2 for number in range(100)})


# --- Servers of applications ---------------------------------------------------------------

_APP = """
import sys
{notifier}
def application(environ, start_response):
    notifier.info("http.request", environ["QUERY_STRING"])
    start_response("200 OK", [("content-type", "text/plain")])
    return [str(os.getpid()).encode()]
"""
_UWSGI = Path(sys.executable).with_name("uwsgi")


def answered(
    folder: Path, arguments: list[str], command: list[str], *, logs_requests: bool = False
) -> tuple[int, str]:
    """Let a server of two processes run an application that publishes once for each request.

    Args:
        folder: for the application ``service`` and the log.
        arguments: of the driver.
        command: of the server; ADDRESS in it stands for where it shall listen.
        logs_requests: the server logs each request once it is done with it, and is told to stop only then.

    Returns:
        How often it answered, and what it said.
    """
    head = f"sys.argv = ['service', *{arguments!r}]\n{NOTIFIER}"
    (folder / "service.py").write_text(_APP.format(notifier=head))
    address = f"127.0.0.1:{free_port()}"
    environment = os.environ | {"PYTHONPATH": f"{folder}:{ROOT}"}
    said = folder / "log"
    with said.open("wb") as log:
        server = children.start(
            [word.replace("ADDRESS", address) for word in command],
            env=environment,
            cwd=folder,
            stdout=log,
            stderr=log,
        )
    try:
        pids: set[bytes] = set()
        number = 0
        until = time.monotonic() + BOUND_S
        while len(pids) < 2 or number < 50:
            assert server.poll() is None, said.read_text()
            assert time.monotonic() < until, said.read_text()
            try:
                with urllib.request.urlopen(f"http://{address}/?{number}", timeout=BOUND_S) as answer:
                    pids.add(answer.read())
            except OSError:
                time.sleep(_POLL_S)  # it does not listen yet
                continue
            number += 1
        while logs_requests and not (
            said.read_text().count("GET /?") >= number
            and all(psutil.Process(int(pid)).status() == psutil.STATUS_SLEEPING for pid in pids)
        ):
            assert time.monotonic() < until, said.read_text()
            time.sleep(_POLL_S)
        server.send_signal(signal.SIGTERM)
        assert server.wait(BOUND_S) == 0, said.read_text()
    finally:
        server.kill()
        server.wait()
    return number, said.read_text()


@pytest.mark.parametrize("worker", ["sync", "gthread", "gevent"])
@pytest.mark.parametrize("preload", [True, *in_the_long_form(False)], ids=["preloaded", "each-its-own"])
def test_gunicorn_forks_workers_that_publish(place: Place, worker: str, preload: bool, tmp_path: Path):
    arguments, left = place
    options = ["--workers", "2", "--worker-class", worker, "--bind", "ADDRESS", "--no-control-socket"]
    command = [sys.executable, "-m", "gunicorn", *options, *(["--preload"] if preload else [])]
    number, said = answered(tmp_path, arguments, [*command, "service"])
    assert left() == Counter(map(str, range(number))), said


#: uWSGI forks without telling Python, and does not end as Python does.
_UWSGI_OPTIONS = ["--master", "--processes", "2", "--need-app", "--die-on-term", "--module", "service"]


@pytest.mark.parametrize("how", ["--enable-threads", "--threads=2"])
@pytest.mark.parametrize("lazy", [False, *in_the_long_form(True)], ids=["preloaded", "each-its-own"])
def test_uwsgi_forks_workers_that_publish(place: Place, how: str, lazy: bool, tmp_path: Path):
    arguments, left = place
    options = [*_UWSGI_OPTIONS, how, *(["--lazy-apps"] if lazy else [])]
    command = [str(_UWSGI), "--http-socket", "ADDRESS", *options]
    # One that is told to stop in a request, whose client may have its answer already, runs no exit hooks.
    number, said = answered(tmp_path, arguments, command, logs_requests=True)
    assert left() == Counter(map(str, range(number))), said


def test_uwsgi_without_threads_is_refused_with_a_sentence(tmp_path: Path):
    (tmp_path / "service.py").write_text(
        'from tocsin import load_driver\nload_driver("file", path="there")\n'
    )
    result = children.run(
        [_UWSGI, "--http-socket", "127.0.0.1:0", *_UWSGI_OPTIONS],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": f"{tmp_path}:{ROOT}"},
        capture_output=True,
        text=True,
        timeout=BOUND_S,
    )
    assert result.returncode != 0
    assert (
        "ConfigurationError: The publishing driver file needs a thread, which uWSGI does not run: "
        "set enable-threads = true for uWSGI.\n"
    ) in result.stderr
    assert not (tmp_path / "there").exists()
