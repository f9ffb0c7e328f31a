"""A real Prometheus for tests, from Debian's package, in a folder and at a port of its own."""

from __future__ import annotations

import http.client
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from tests import children
from tests.debian_packages import unpacked
from tests.ports import free_port

_START_S = 120.0
_POLL_S = 0.1
_STOP_S = 30.0


def tool(name: str) -> Path:
    """The path of ``prometheus`` or ``promtool``.

    Raises:
        NotToBeHadError: there is no Prometheus for this machine.
    """
    return unpacked("prometheus", ("prometheus",)) / "usr/bin" / name


def promtool(*arguments: str | Path, given: str | None = None) -> str:
    """Run promtool on a text, or on files; it must have nothing to say against them."""
    ran = subprocess.run(
        [tool("promtool"), *arguments], input=given, capture_output=True, text=True, check=False
    )
    said = ran.stdout + ran.stderr
    assert ran.returncode == 0, said
    return said


class PrometheusServer:
    """One that scrapes every two seconds, and ends with this process.

    Args:
        folder: for its data; made when missing.
        targets: host and port of what it scrapes, as the job ``tocsin``.
        rules: files of rules.
    """

    def __init__(self, folder: Path, targets: Sequence[str], rules: Sequence[Path] = ()) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        # JSON is YAML. What does not answer in time counts as gone: a busy machine needs more than a moment.
        config = {
            "global": {"scrape_interval": "2s", "scrape_timeout": "2s", "evaluation_interval": "1s"},
            "rule_files": [str(file) for file in rules],
            "scrape_configs": [{"job_name": "tocsin", "static_configs": [{"targets": list(targets)}]}],
        }
        self.config = folder / "prometheus.yml"
        self.config.write_bytes(orjson.dumps(config))

    def start(self) -> None:
        """Start it, and return when it answers."""
        with (self._folder / "output").open("wb") as output:
            self._process = children.start(
                [
                    tool("prometheus"),
                    f"--config.file={self.config}",
                    f"--storage.tsdb.path={self._folder / 'data'}",
                    f"--web.listen-address=127.0.0.1:{self._port}",
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        until = time.monotonic() + _START_S
        while not self._is_ready():
            said = (self._folder / "output").read_text(errors="replace")[-2000:]
            assert self._process.poll() is None, f"Prometheus ended: {said}"
            assert time.monotonic() < until, f"Prometheus does not start: {said}"
            time.sleep(_POLL_S)

    def _is_ready(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=_START_S)
        try:
            connection.request("GET", "/-/ready")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()

    async def ask(self, path: str, **asked: str) -> Any:
        """The data of an answer of its API."""
        url = f"http://127.0.0.1:{self._port}/api/v1/{path}"
        async with aiohttp.ClientSession() as client, client.get(url, params=asked) as answer:
            body = await answer.json()
        assert body["status"] == "success", body
        return body["data"]

    async def values(self, query: str) -> list[float]:
        """What a query results in now."""
        found = (await self.ask("query", query=query))["result"]
        return [float(each["value"][1]) for each in found]

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()


@contextmanager
def running(folder: Path, targets: Sequence[str], rules: Sequence[Path] = ()) -> Iterator[PrometheusServer]:
    """One for the length of a block."""
    server = PrometheusServer(folder, targets, rules)
    try:
        server.start()
        yield server
    finally:
        server.stop()
