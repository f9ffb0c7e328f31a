"""``tocsin top`` against an HTTP server that stands for a worker."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import orjson
import pytest
from click.testing import CliRunner, Result

from tocsin.cli.top import command

_SCHEDULER = {
    "as_of": "2026-01-02T03:04:05.000Z",
    "classes": [
        {
            "priority": "CRITICAL",
            "weight": 16.0,
            "share": {"configured": 0.516, "achieved": 0.5},
            "buffered": {"records": 1234, "bytes": 5 * 2**20},
            "lag": {"records": 98765, "seconds": 12.34},
            "dispatched": 4_321_000,
            "service_seconds": 7.5,
        },
        {
            "priority": "DEBUG",
            "weight": 1.0,
            "share": {"configured": 0.03, "achieved": None},
            "buffered": {"records": 0, "bytes": 0},
            "lag": {"records": 0, "seconds": None},
            "dispatched": 0,
            "service_seconds": 0.0,
        },
    ],
}
_COUNTS = {
    "as_of": "2026-01-02T03:04:05.000Z",
    "complete": False,
    "missing_partitions": [1],
    "window": "1m",
    "items": [
        {
            "event_type": "compute.create.end",
            "priority": "INFO",
            "count": 1500,
            "last_seen": "2026-01-02T03:04:04.000Z",
        },
        {"event_type": "[red]\x1b[2J.end", "priority": "ERROR", "count": 1, "last_seen": None},
    ],
    "next": None,
}

_NO_SCHEDULER = {"as_of": "2026-01-02T03:04:05.000Z", "scope": "no worker", "classes": []}
_CLASS = {
    "priority": "CRITICAL",
    "workers": 2,
    "weight": None,
    "share": {"configured": 0.516, "achieved": 0.5},
    "buffered": {"records": 1234, "bytes": 5 * 2**20},
    "lag": {"records": 98765, "seconds": 12.34},
    "counted_per_s": 4321.04,
    "forwarded_per_s": 7.5,
}
_WORKERS = {
    "complete": True,
    "trouble": None,
    "classes": [_CLASS],
    "workers": [
        {"id": "[red]\x1b[2Jone", "pool": "main", "heard": True, "ready": True, "classes": [_CLASS]},
        {"id": "two", "pool": "urgent", "heard": True, "ready": False, "classes": []},
        {"id": "three", "pool": "urgent", "heard": False, "ready": True, "classes": []},
    ],
}

#: From (path, headers) to (status, headers, body).
Answer = Callable[[str, dict[str, str]], tuple[int, dict[str, str], bytes]]


class _Server:
    def __init__(self) -> None:
        self.answer: Answer = lambda path, _: (
            200,
            {},
            orjson.dumps(_SCHEDULER if path == "/api/v1/scheduler" else _COUNTS),
        )
        self.asked: list[tuple[str, dict[str, str]]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                headers = {name.lower(): value for name, value in self.headers.items()}
                outer.asked.append((self.path, headers))
                status, extra, body = outer.answer(self.path, headers)
                self.send_response(status)
                for name, value in extra.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"


@pytest.fixture
def server() -> Iterator[_Server]:
    found = _Server()
    thread = threading.Thread(target=found.http.serve_forever, args=(0.01,))
    thread.start()
    yield found
    found.http.shutdown()
    found.http.server_close()
    thread.join()


def _once(url: str, *arguments: str, **env: str) -> Result:
    return CliRunner().invoke(command, ["--once", "--url", url, *arguments], env=env)


def test_one_frame_has_every_figure(server: _Server) -> None:
    result = _once(server.url + "/")
    assert result.exit_code == 0
    line = next(line for line in result.output.splitlines() if "CRITICAL" in line)
    for figure in ("16", "50.0%", "51.6%", "1,234", "5.0 MiB", "98,765", "12.3 s", "4,321,000", "7.5 s"):
        assert figure in line
    counts = next(line for line in result.output.splitlines() if "compute.create.end" in line)
    assert "1,500" in counts
    assert "INFO" in counts
    assert "not complete" in result.output
    assert [path for path, _ in server.asked] == [
        "/api/v1/scheduler",
        "/api/v1/counts?window=1m&sort=priority&limit=20",
    ]
    assert "authorization" not in server.asked[0][1]


def test_as_json_it_prints_what_the_worker_answers(server: _Server) -> None:
    result = _once(server.url, "--json")
    assert result.exit_code == 0
    (line,) = result.output.splitlines()
    assert orjson.loads(line) == {"scheduler": _SCHEDULER, "counts": _COUNTS}
    assert line.isprintable()


def test_what_a_publisher_wrote_reaches_no_terminal(server: _Server) -> None:
    result = _once(server.url)
    assert "\x1b" not in result.output
    assert "[red]\\x1b[2J.end" in result.output


def test_the_token_is_sent(server: _Server, tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("s3cret\n")
    server.answer = lambda _, headers: (
        (200, {}, b"{}") if headers.get("authorization") == "Bearer s3cret" else (401, {}, b"{}")
    )
    refused = _once(server.url)
    assert refused.exit_code == 1
    assert "--token-file" in refused.output
    assert _once(server.url, "--token-file", str(path)).exit_code == 0
    assert _once(server.url, TOCSIN_WEB_TOKEN="s3cret").exit_code == 0


def test_the_token_does_not_follow_a_redirection(server: _Server, tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("s3cret")
    server.answer = lambda _, __: (302, {"Location": f"{server.url}/elsewhere"}, b"")
    result = _once(server.url, "--token-file", str(path))
    assert result.exit_code == 1
    assert "no Tocsin worker" in result.output
    assert [path for path, _ in server.asked] == ["/api/v1/scheduler"]


def test_no_worker_at_the_address_is_one_sentence() -> None:
    with socket.socket() as taken:
        # Bound and not listening: whoever connects is refused.
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        result = _once(url)
    assert result.exit_code == 1
    assert result.output.count("\n") == 1
    assert f"no worker at {url}" in result.output
    assert "--url" in result.output


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"", b"\xff"])
def test_another_server_is_told_from_a_worker(server: _Server, body: bytes) -> None:
    server.answer = lambda _, __: (200, {}, body)
    result = _once(server.url)
    assert result.exit_code == 1
    assert "no Tocsin worker" in result.output


def test_odd_answers_do_no_harm(server: _Server) -> None:
    odd = {
        "classes": [1, {"priority": 5, "share": [], "weight": "x"}],
        "items": [None, {"count": "y"}],
        "as_of": 7,
    }
    server.answer = lambda _, __: (200, {}, orjson.dumps(odd))
    assert _once(server.url).exit_code == 0


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "127.0.0.1:6066", "http://", "http://u:p@h:1", "http://h:x"]
)
def test_wrong_addresses_are_wrong_usage(url: str) -> None:
    assert _once(url).exit_code == 2


def test_the_address_is_that_of_the_settings(server: _Server) -> None:
    port = str(server.http.server_port)
    result = CliRunner().invoke(command, ["--once"], env={"TOCSIN_WEB_PORT": port})
    assert result.exit_code == 0
    assert len(server.asked) == 2


def test_a_token_that_is_not_ascii_is_sent_as_utf_8(server: _Server) -> None:
    server.answer = lambda _, headers: (
        (200, {}, b"{}")
        if headers.get("authorization", "").encode("latin-1").decode() == "Bearer s3crët-€"
        else (401, {}, b"{}")
    )
    assert _once(server.url, TOCSIN_WEB_TOKEN="s3crët-€").exit_code == 0
    assert _once(server.url, TOCSIN_WEB_TOKEN="s3cret-E").exit_code == 1


def test_a_token_file_may_begin_with_a_byte_order_mark(server: _Server, tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_bytes(b"\xef\xbb\xbfs3cret\r\n")
    assert _once(server.url, "--token-file", str(path)).exit_code == 0
    assert server.asked[0][1]["authorization"] == "Bearer s3cret"


# ---------------------------------------------------------------- tocsin web, which schedules nothing


def _web(server: _Server, workers: dict[str, Any]) -> None:
    """Have the server answer as ``tocsin web`` does."""
    answers = {"/api/v1/scheduler": _NO_SCHEDULER, "/api/v1/workers": workers}
    server.answer = lambda path, _: (200, {}, orjson.dumps(answers.get(path, _COUNTS)))


def test_of_tocsin_web_it_shows_all_workers(server: _Server) -> None:
    """It used to show a table without a row."""
    _web(server, _WORKERS)
    result = _once(server.url)
    assert result.exit_code == 0
    lines = result.output.splitlines()
    line = next(line for line in lines if "CRITICAL" in line)
    for figure in ("2", "50.0%", "51.6%", "1,234", "5.0 MiB", "98,765", "12.3 s", "4,321.0", "7.5"):
        assert figure in line
    for name, state in (("[red]\\x1b[2Jone", " ready "), ("two", "not ready"), ("three", "not heard from")):
        assert state in next(line for line in lines if name in line)
    assert "\x1b" not in result.output
    assert any("compute.create.end" in line for line in lines)
    assert "Classes, all workers together" in result.output


def test_of_a_worker_nothing_more_is_asked(server: _Server) -> None:
    assert "all workers" not in _once(server.url).output
    assert "/api/v1/workers" not in [path for path, _ in server.asked]


def test_as_json_of_tocsin_web_has_its_workers_too(server: _Server) -> None:
    _web(server, _WORKERS)
    (line,) = _once(server.url, "--json").output.splitlines()
    assert orjson.loads(line) == {"scheduler": _NO_SCHEDULER, "counts": _COUNTS, "workers": _WORKERS}


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"workers": [], "classes": []}, "No worker was heard from: start one with `tocsin worker`."),
        ({"trouble": "There is no topic."}, "There is no topic."),
        ({"complete": False}, "not read to their end yet"),
        ({"workers": [_WORKERS["workers"][1]] * 21}, "and 1 more worker"),  # type: ignore[index]
        ({"workers": [1, {}], "classes": [None, {"lag": []}]}, "not heard from"),
    ],
)
def test_what_is_missing_there_is_said(server: _Server, more: dict[str, Any], says: str) -> None:
    _web(server, _WORKERS | more)
    result = _once(server.url)
    assert result.exit_code == 0
    assert says in result.output
