"""Pacing, lines, and the command's ways to be used wrongly."""

from __future__ import annotations

import io
import os

import orjson
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from streams.notifications.decoding import Limits
from streams.notifications.priority import Priority
from streams.publishing import bulk
from streams.publishing.bulk import Lines
from streams.publishing.lines import make_line_reader
from streams.publishing.pace import Pace
from streams.settings import ConfigurationError
from tocsin.cli.publish.command import command

read = make_line_reader(Priority.INFO, "me.host", Limits())

FULL = {
    "message_id": "1",
    "publisher_id": "compute.host1",
    "timestamp": "2011-05-09 22:00:14.621831",
    "priority": "WARN",
    "event_type": "compute.create_instance",
    "payload": {"instance_id": 12},
}


# --- Pace ----------------------------------------------------------------------------------


@given(
    rate=st.floats(0.1, 100_000),
    steps=st.lists(st.tuples(st.floats(0, 10), st.floats(0, 1)), max_size=50),
)
def test_never_more_than_rate_and_burst_in_any_interval(rate: float, steps: list[tuple[float, float]]):
    pace = Pace(rate)
    burst = max(1.0, rate / 20)
    now, sent = 0.0, [(0.0, 0)]
    for pause, part in steps:
        now += pause
        count = int(pace.allowed(now) * part)
        pace.spend(count)
        sent.append((now, count))
    for first in range(len(sent)):
        total = 0
        for when, count in sent[first:]:
            total += count
            assert total <= (when - sent[first][0]) * rate + burst + 0.001


@given(rate=st.floats(0.1, 100_000))
def test_waiting_for_the_stated_delay_allows_one_more(rate: float):
    pace = Pace(rate)
    now = 5.0
    for _ in range(50):
        if pace.allowed(now) == 0:
            now += pace.delay_s()
            # Not the very moment: the sum of floats may be rounded down.
            assert pace.allowed(now + 1e-9) >= 1
        pace.spend(1)
    assert (now - 5.0) * rate == pytest.approx(49, rel=0.01)


# --- Lines ---------------------------------------------------------------------------------


def test_complete_line_goes_as_it_is_to_the_topic_of_its_priority():
    line = orjson.dumps(FULL)
    assert read(line, 0, "x") == (Priority.WARN, line)


def test_envelope_goes_as_it_is_by_the_priority_inside():
    line = orjson.dumps({"oslo.version": "2.0", "oslo.message": orjson.dumps(FULL).decode()})
    assert read(line, 0, "x") == (Priority.WARN, line)
    inner = {"event_type": "a.b"}
    line = orjson.dumps({"oslo.version": "2.0", "oslo.message": orjson.dumps(inner).decode()})
    assert read(line, 0, "x") == (Priority.INFO, line)


def test_what_a_line_lacks_is_filled_in():
    found = read(b'{"event_type":"a.b","payload":{"x":1},"extra":2}', 1_306_015_214_621, "id7")
    assert isinstance(found, tuple)
    assert found[0] is Priority.INFO
    assert orjson.loads(found[1]) == {
        "event_type": "a.b",
        "payload": {"x": 1},
        "extra": 2,
        "message_id": "id7",
        "publisher_id": "me.host",
        "timestamp": "2011-05-21 22:00:14.621000",
        "priority": "INFO",
    }


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"nonsense", "not JSON"),
        (b"[1]", "list"),
        (b'{"payload":{}}', "no event_type"),
        (b'{"event_type":"a","priority":"FATAL"}', "'FATAL' is unknown"),
        (b'{"event_type":"a","priority":[]}', "unknown"),
        (b'{"event_type":""}', "blank"),
    ],
)
def test_broken_line_says_what_is_wrong(line: bytes, why: str):
    found = read(line, 0, "x")
    assert isinstance(found, str)
    assert why in found


async def lines_of(file: object) -> list[tuple[int, bytes | None]]:
    return [line async for chunk in Lines(file).chunks() for line in chunk]  # type: ignore[arg-type]


@given(
    lines=st.lists(st.binary(max_size=30).map(lambda line: line.replace(b"\n", b"."))),
    size=st.integers(1, 40),
)
async def test_lines_are_numbered_whatever_the_reads(lines: list[bytes], size: int):
    original, bulk._READ_BYTES = bulk._READ_BYTES, size
    try:
        found = await lines_of(io.BytesIO(b"\n".join(lines)))
    finally:
        bulk._READ_BYTES = original
    assert found == [(number, line.strip()) for number, line in enumerate(lines, 1) if line.strip()]


async def test_too_long_line_is_left_out_and_the_rest_goes_on(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(bulk, "_MAX_LINE_BYTES", 100)
    monkeypatch.setattr(bulk, "_READ_BYTES", 50)
    found = await lines_of(io.BytesIO(b"a\n" + b"x" * 1000 + b"\nb\n"))
    assert found == [(1, b"a"), (2, None), (3, b"b")]


async def test_lines_of_a_pipe_come_before_it_is_closed_and_can_be_stopped():
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as file, os.fdopen(writer, "wb", buffering=0) as pipe:
        lines = Lines(file)
        chunks = lines.chunks()
        pipe.write(b"first\nsec")
        assert await anext(chunks) == [(1, b"first")]
        lines.stop()
        assert await anext(chunks) == [(2, b"sec")]
        with pytest.raises(StopAsyncIteration):
            await anext(chunks)


# --- The command's usage -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "Give one of"),
        (["--generate", "--event-type", "a"], "Give one of"),
        (["--event-type", "a", "--raw"], "--raw needs FILE"),
        (["--event-type", "a", "--count", "3"], "need --generate"),
        (["--event-type", "a", "--priority", "FATAL"], "'FATAL' is unknown"),
        (["--event-type", "a", "--payload", "{"], "--payload is not JSON"),
        (["--event-type", " "], "blank"),
        (["/no/such/file"], "No such file"),
        (["--generate", "--rate", "0"], "--rate"),
    ],
)
def test_wrong_usage_exits_with_2_and_a_sentence(arguments: list[str], says: str):
    result = CliRunner().invoke(command, arguments)
    assert result.exit_code == 2
    assert says in result.output


def test_wrong_configuration_is_told_to_the_command_line():
    with pytest.raises(ConfigurationError, match="TOCSIN_BROKERS"):
        CliRunner().invoke(command, ["--event-type", "a", "--brokers", "nowhere"], catch_exceptions=False)
