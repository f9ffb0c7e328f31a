"""Lines that repeat are bounded, and none is left out without a word."""

from __future__ import annotations

import importlib
import inspect
import io
import logging
import os
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import orjson
import pytest
from mode import Service

import streams.upstream
from streams.log_lines import BOUNDED
from streams.notifications.visible import visible
from streams.settings import load_settings
from tocsin.logs import _QUIET, LimitedHandler, configure_logging


class Clock:
    """A clock that is set by hand."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def out() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def handler(clock: Clock, out: io.StringIO) -> Iterator[LimitedHandler]:
    made = LimitedHandler(out, clock)
    yield made
    made.close()


def say(handler: logging.Handler, text: str, *args: object, name: str = "kafka", level: int = 40) -> None:
    handler.handle(logging.LogRecord(name, level, "", 0, text, args, None))


def test_the_first_three_then_one_summary_a_minute(
    handler: LimitedHandler, clock: Clock, out: io.StringIO
) -> None:
    for number in range(815):
        say(handler, "no connection to node %d", number)
    assert out.getvalue().splitlines() == [f"no connection to node {number}" for number in range(3)]
    clock.now += 60
    say(handler, "no connection to node %d", 815)
    told = ["no connection to node 814 … and 811 like it in the last 60 s"]
    assert out.getvalue().splitlines()[3:] == told
    # It goes on, so the next minute has its summary only; a minute of silence begins anew.
    clock.now += 60
    say(handler, "something else", name="other")
    told += ["no connection to node 815", "something else"]
    assert out.getvalue().splitlines()[3:] == told
    clock.now += 60
    say(handler, "no connection to node %d", 900)
    assert out.getvalue().splitlines()[3:] == [*told, "no connection to node 900"]


def test_numbers_in_the_text_make_no_other_kind(handler: LimitedHandler, out: io.StringIO) -> None:
    for number in range(10):
        say(handler, f"no answer since {number}.5 s from 0x{number:x}f")
    assert len(out.getvalue().splitlines()) == 3


def test_loggers_and_kinds_are_told_apart(handler: LimitedHandler, out: io.StringIO) -> None:
    for _ in range(10):
        for name in ("streams.a", "b"):
            for text in ("one", "two"):
                say(handler, text, name=name)
    # A library's logger is bounded as a whole, too; Tocsin's own ones by kind only.
    assert len(out.getvalue().splitlines()) == 3 + 3 + 5


def test_a_logger_that_says_many_things_is_bounded_and_each_is_told(
    handler: LimitedHandler, out: io.StringIO
) -> None:
    kinds = [f"{first}{second} is broken" for first in "abcdefgh" for second in "xyz"]
    for text in kinds:
        say(handler, text)
    assert len(out.getvalue().splitlines()) == 5
    handler.close()
    assert out.getvalue().splitlines() == kinds


def test_what_is_no_trouble_is_never_left_out(handler: LimitedHandler, out: io.StringIO) -> None:
    for _ in range(50):
        say(handler, "all is well", level=logging.INFO)
    assert len(out.getvalue().splitlines()) == 50


def test_what_its_writer_bounds_comes_at_once(handler: LimitedHandler, out: io.StringIO) -> None:
    """The fourth line of an outage says that it is over. Held back, it came a minute late."""
    log = logging.Logger("streams.broker.outage")  # noqa: LOG001 - one of no other test
    log.addHandler(handler)
    for number in range(5):
        log.warning("%s", f"held back {number}")
        log.warning("%s", f"at once {number}", extra=BOUNDED)
    assert out.getvalue().count("at once") == 5
    assert out.getvalue().count("held back") == 3


@pytest.mark.parametrize("how", ["close", "timer"])
def test_summaries_come_without_a_further_line(
    handler: LimitedHandler, clock: Clock, out: io.StringIO, how: str
) -> None:
    for _ in range(5):
        say(handler, "gone")
    timer = handler._timer
    assert timer is not None
    assert timer.daemon
    clock.now += 60
    handler.close() if how == "close" else timer.function()
    assert out.getvalue().splitlines()[3:] == ["gone … and 1 like it in the last 60 s"]
    assert handler._timer is None
    timer.cancel()


def test_a_timer_that_is_early_comes_again(handler: LimitedHandler, clock: Clock, out: io.StringIO) -> None:
    for _ in range(5):
        say(handler, "gone")
    first = handler._timer
    assert first is not None
    clock.now += 1
    first.function()
    first.cancel()
    assert len(out.getvalue().splitlines()) == 3
    assert handler._timer is not None
    assert handler._timer is not first


def test_memory_is_bounded_whatever_is_said(handler: LimitedHandler, out: io.StringIO) -> None:
    texts = [f"{'x' * (number % 100)}{'y' * (number // 100)}" for number in range(3000)]
    for text in texts:
        say(handler, text, name="many")
    assert len(handler._kinds._windows) <= 501
    handler.close()
    assert sorted(out.getvalue().splitlines()) == sorted(texts)


def test_without_the_limit_every_line_is_written(out: io.StringIO) -> None:
    """The control: the handler that it replaces."""
    for number in range(815):
        say(logging.StreamHandler(out), "no connection to node %d", number)
    assert len(out.getvalue().splitlines()) == 815


def services() -> Iterator[type[Service]]:
    """The services of Faust that are ours."""
    for module in pkgutil.iter_modules(streams.upstream.__path__):
        loaded = importlib.import_module(f"streams.upstream.{module.name}")
        for kind in vars(loaded).values():
            if inspect.isclass(kind) and issubclass(kind, Service) and kind.__module__ == loaded.__name__:
                yield kind


def test_what_faust_says_of_our_services_is_kept_quiet() -> None:
    """It logs their start and stop under the module of the class, which must be on the list."""
    found = {kind.__name__: kind.logger.name for kind in services()}
    assert (found.pop("App"), found.pop("Worker")) == ("faust.app", "faust.worker")
    assert {"Consumer", "ConsumerThread", "Producer", "ObservedRecovery", "SharedTable"} <= set(found)
    assert {name for name in _QUIET if name.startswith("streams.")} == set(found.values())


def test_the_loggers_on_the_list_are_those_of_modules() -> None:
    for name in _QUIET:
        importlib.import_module(name)


@contextmanager
def configured(form: str) -> Iterator[io.StringIO]:
    """What a worker writes in that form of its log, with no handler of the tests beside its own."""
    out, root = io.StringIO(), logging.getLogger()
    levels = {name: logging.getLogger(name).level for name in _QUIET}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stderr", out)
        patch.setattr(root, "handlers", [])
        patch.setattr(root, "level", root.level)
        configure_logging(load_settings(log_format=form))
        try:
            yield out
        finally:
            root.handlers[0].close()
            for name, level in levels.items():
                logging.getLogger(name).setLevel(level)


@pytest.mark.parametrize("form", ["text", "json"])
def test_what_cannot_be_seen_is_escaped_in_every_line(form: str) -> None:
    hostile = "a\u3164b\x1b[2Jc\nd\u202ee\ud800f"
    with configured(form) as out:
        logging.getLogger("tocsin.tested").error("It is %s.", hostile)
        logging.getLogger("tocsin.tested").error("It was %s.", hostile, exc_info=ValueError(hostile))
    lines = out.getvalue().splitlines()
    assert [visible(line) for line in lines] == lines
    if form == "json":
        first, second = map(orjson.loads, lines)
        # For a program it says what it was, but for what is no text at all.
        shown = hostile.replace("\ud800", "\\ud800")
        assert first["message"] == f"It is {shown}."
        assert second["exception"].endswith(f"ValueError: {shown}")
    else:
        shown = hostile.encode("unicode_escape").decode()
        assert lines[0].endswith(f"It is {shown}.")
        assert lines[1].endswith(f"It was {shown}.")
        # An error's own line ends stay, as a traceback has them.
        assert lines[2] == f"ValueError: {shown.partition(chr(92) + 'n')[0]}"


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_line_is_bounded_whatever_somebody_sent(form: str) -> None:
    with configured(form) as out:
        logging.getLogger("tocsin.tested").error("It is %s.", "x" * 10**6)
        logging.getLogger("tocsin.tested").error("It was.", exc_info=ValueError("y" * 10**6))
    assert 9900 < out.getvalue().count("x") < 10_100
    assert 10_000 < out.getvalue().count("y") < 20_100


_SAYS_MUCH_AT_THE_END = """
import logging, sys
from tocsin.logs import LimitedHandler

class Last:
    def __del__(self, log=logging.getLogger("asyncio"), is_finalizing=sys.is_finalizing):
        assert is_finalizing()
        for number in range(9):
            log.error("Line %d", number)

logging.getLogger().addHandler(LimitedHandler(sys.stderr))
last = Last()
"""


def test_a_process_ends_whatever_is_said_while_the_interpreter_ends() -> None:
    """What asyncio says of forgotten futures comes as late as this; a timer that it started never ran."""
    done = subprocess.run(
        [sys.executable, "-c", _SAYS_MUCH_AT_THE_END], capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stderr.splitlines() == [f"Line {number}" for number in range(9)]


def test_what_records_hold_is_not_logged_at_debug() -> None:
    """aiokafka logs it there; the control shows it."""
    said = """
import logging, os, sys
from streams.settings import load_settings
from tocsin.logs import configure_logging
configure_logging(load_settings(log_level="DEBUG"))
if os.environ.get("CONTROL"):
    logging.getLogger("aiokafka.conn").setLevel(logging.DEBUG)
import aiokafka.conn, aiokafka.producer.producer
aiokafka.conn.log.debug("Request to %s: %s", "b", b"hunter2")
aiokafka.producer.producer.log.debug("Sending (key=%r value=%r)", b"k", b"hunter2")
logging.getLogger("aiokafka.cluster").debug("seen")
"""
    shown = {}
    for control in ("", "1"):
        done = subprocess.run(
            [sys.executable, "-c", said],
            env=os.environ | {"CONTROL": control},
            capture_output=True,
            check=True,
        )
        shown[control] = done.stderr.decode()
    assert "hunter2" not in shown[""]
    assert "aiokafka.cluster: seen" in shown[""]
    assert "hunter2" in shown["1"]
