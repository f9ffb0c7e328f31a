"""A real RabbitMQ for tests, from Debian's packages, in a folder and at ports of its own."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aio_pika
import psutil
import pytest
import trustme

from tests import children
from tests.breakable_kafka import is_frozen
from tests.debian_packages import NotToBeHadError, unpacked
from tests.ports import free_port, free_ports

_PACKAGES = (
    "rabbitmq-server",
    *(
        f"erlang-{part}"
        for part in (
            *("base", "asn1", "crypto", "eldap", "ftp", "inets", "mnesia", "os-mon", "parsetools"),
            *("public-key", "runtime-tools", "snmp", "ssl", "syntax-tools", "tftp", "tools", "xmerl"),
        )
    ),
)
#: Seconds for the server to answer, on a busy machine.
_START_S = 180.0
_POLL_S = 0.05


class RabbitServer:
    """One node of RabbitMQ, which ends with this process.

    Args:
        folder: for its data and logs; made when missing.
        more: lines for its configuration.
        advanced: settings of the application ``rabbit`` that have no such line, as Erlang terms.

    Raises:
        NotToBeHadError: there is no RabbitMQ for this machine.
    """

    def __init__(self, folder: Path, *more: str, advanced: str = "") -> None:
        self._root = unpacked("rabbitmq", _PACKAGES)
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.port, self._epmd_port, self._node_port = free_ports(3)
        self._node = f"t{uuid.uuid4().hex[:8]}@localhost"
        lines = (f"listeners.tcp.1 = 127.0.0.1:{self.port}", *more)
        (folder / "rabbitmq.conf").write_text("".join(f"{line}\n" for line in lines))
        (folder / "advanced.config").write_text(f"[{{rabbit, [{advanced}]}}].\n")
        (folder / "plugins").write_text("[].\n")
        erl = folder / "erl"
        erl.write_text('#!/bin/sh\nexec "$BINDIR/erlexec" "$@"\n')
        erl.chmod(0o755)
        self._epmd: subprocess.Popen[bytes] | None = None
        self._server: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """AMQP URL of the user that a new RabbitMQ has."""
        return f"amqp://guest:guest@127.0.0.1:{self.port}/"

    @property
    def transport_url(self) -> str:
        """The same in the form of oslo.messaging."""
        return self.url.replace("amqp", "rabbit", 1)

    @property
    def version(self) -> str:
        """Such as 3.10.8."""
        (found,) = (self._root / "usr/lib/rabbitmq/lib").glob("rabbitmq_server-*")
        return found.name.removeprefix("rabbitmq_server-")

    def start(self) -> None:
        """Start it, and return when it answers."""
        erlang = self._root / "usr/lib/erlang"
        (runtime,) = erlang.glob("erts-*/bin")
        environment = {
            "PATH": f"{self._folder}:{runtime}:{os.environ['PATH']}",
            # As Debian's script of that name, which only works where Debian installs it.
            "ROOTDIR": str(erlang),
            "BINDIR": str(runtime),
            "EMU": "beam",
            "PROGNAME": "erl",
            "HOME": str(self._folder),
            "LC_ALL": "C.UTF-8",
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_CRASH_DUMP_SECONDS": "0",
            "RABBITMQ_NODENAME": self._node,
            "RABBITMQ_DIST_PORT": str(self._node_port),
            "RABBITMQ_MNESIA_BASE": str(self._folder / "data"),
            "RABBITMQ_LOG_BASE": str(self._folder / "log"),
            "RABBITMQ_CONFIG_FILE": str(self._folder / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(self._folder / "advanced.config"),
            "RABBITMQ_CONF_ENV_FILE": str(self._folder / "none"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self._folder / "plugins"),
            "RABBITMQ_PID_FILE": str(self._folder / "pid"),
            # Threads that wait for work sleep at once: many servers share two processors with the tests.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+sbwt none +sbwtdcpu none +sbwtdio none",
            # Its script then becomes the server instead of waiting for it, so that the leash holds that.
            "RUNNING_UNDER_SYSTEMD": "true",
        }
        if self._epmd is None:
            # One of our own in the foreground: a server that finds none leaves one behind.
            command = [runtime / "epmd", "-port", str(self._epmd_port), "-address", "127.0.0.1"]
            self._epmd = children.start(
                command, env=environment, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            self._wait_for(self._epmd_port, self._epmd)
        with (self._folder / "output").open("ab") as output:
            self._server = children.start(
                [self._root / "usr/lib/rabbitmq/bin/rabbitmq-server"],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        self._wait_for(self.port, self._server)
        in_own_loop(self._answers())

    def kill(self) -> None:
        """End it as a crash of the machine would."""
        assert self._server is not None
        self._server.kill()
        self._server.wait()

    def pause(self) -> None:
        """Let it hang; returns when each of its threads stands still."""
        assert self._server is not None
        self._server.send_signal(signal.SIGSTOP)
        until = time.monotonic() + _START_S
        while not is_frozen(self._server.pid):
            assert time.monotonic() < until, "RabbitMQ still runs after SIGSTOP"
            time.sleep(_POLL_S)

    def resume(self) -> None:
        """Let it go on."""
        assert self._server is not None
        self._server.send_signal(signal.SIGCONT)

    def processor_s(self) -> float:
        """Seconds of processor time that it has used since it was started."""
        assert self._server is not None
        used = psutil.Process(self._server.pid).cpu_times()
        return float(used.user + used.system)

    def stop(self) -> None:
        """End all of it."""
        for process in (self._server, self._epmd):
            if process is not None:
                process.kill()
                process.wait()

    def _wait_for(self, port: int, process: subprocess.Popen[bytes]) -> None:
        until = time.monotonic() + _START_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1.0).close()
                return
            except OSError:
                log = self._folder / "output"
                said = log.read_text(errors="replace")[-2000:] if log.exists() else ""
                assert process.poll() is None, f"RabbitMQ ended: {said}"
                assert time.monotonic() < until, f"RabbitMQ does not start: {said}"
                time.sleep(_POLL_S)

    async def _answers(self) -> None:
        """Wait until a client can log in, which is a little later than it listens."""
        until = time.monotonic() + _START_S
        while True:
            try:
                connection = await aio_pika.connect(self.url, timeout=_START_S)
            except (OSError, aio_pika.exceptions.AMQPError):
                assert time.monotonic() < until
                await asyncio.sleep(_POLL_S)
            else:
                await connection.close()
                return


def in_own_loop(routine: Any) -> Any:
    """Run a coroutine to its end, also where a loop is running already."""
    result: list[Any] = []
    thread = threading.Thread(target=lambda: result.append(asyncio.run(routine)))
    thread.start()
    thread.join(2 * _START_S)
    assert result, "it failed or took too long"
    return result[0]


@pytest.fixture(scope="session")
def rabbit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitServer]:
    """A running RabbitMQ; tests that share it name their exchanges and topics by ``unique``."""
    with running(tmp_path_factory.mktemp("rabbitmq")) as server:
        yield server


@pytest.fixture
def own_rabbit(tmp_path: Path) -> Iterator[RabbitServer]:
    """A running RabbitMQ that may be killed."""
    with running(tmp_path / "rabbitmq") as server:
        yield server


@contextmanager
def running(folder: Path, *more: str, advanced: str = "") -> Iterator[RabbitServer]:
    """A running RabbitMQ; skips the test, and says why, where there is none."""
    try:
        server = RabbitServer(folder, *more, advanced=advanced)
    except NotToBeHadError as error:
        pytest.skip(f"There is no RabbitMQ for this test: {error}.")
    try:
        server.start()
        yield server
    finally:
        server.stop()


def speaking_tls(folder: Path) -> tuple[int, tuple[str, ...]]:
    """A port, and lines of the configuration with which RabbitMQ speaks TLS there.

    Args:
        folder: for the certificate, its key, and ``ca.pem`` of the authority that has issued it.
    """
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    issued = authority.issue_cert("127.0.0.1")
    issued.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    issued.private_key_pem.write_to_path(folder / "key.pem")
    port = free_port()
    return port, (
        f"listeners.ssl.1 = 127.0.0.1:{port}",
        f"ssl_options.cacertfile = {folder}/ca.pem",
        f"ssl_options.certfile = {folder}/cert.pem",
        f"ssl_options.keyfile = {folder}/key.pem",
    )
