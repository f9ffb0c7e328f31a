"""A demo that fails names the process that ended, also when that is just ending."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from streams.settings import Settings
from tocsin.cli.demo.load import Arrivals, Load
from tocsin.cli.demo.plan import Plan
from tocsin.cli.demo.show import Show
from tocsin.cli.demo.worker_process import DemoError
from tocsin.local_kafka.cluster import BrokerStatus, KafkaStatus


class _Kafka:
    """One broker, in one state after the other; it stays in the last."""

    data_dir = Path("kafka")

    def __init__(self, *states: tuple[int | None, bool]) -> None:
        self._states = list(states)

    def status(self) -> KafkaStatus:
        pid, answers = self._states.pop(0) if len(self._states) > 1 else self._states[0]
        state = "running" if answers else "stopped" if pid is None else "partial"
        return KafkaStatus(state, "127.0.0.1:1", (BrokerStatus(1, 1, pid, answers),))


class _Worker:
    def check(self) -> None:
        """It runs."""


class _Views:
    address = "http://127.0.0.1:1"


class _Signals:
    @contextlib.contextmanager
    def setting(self, event: asyncio.Event) -> Iterator[None]:
        yield


def _failure_of(kafka: _Kafka, monkeypatch: pytest.MonkeyPatch) -> DemoError:
    async def cannot_publish(*_: Any) -> None:
        raise DemoError("Nothing can be published.")

    async def follow(*_: Any) -> None:
        await asyncio.Event().wait()

    async def watch(*_: Any) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(Load, "run", cannot_publish)
    monkeypatch.setattr(Arrivals, "follow", follow)
    # Its looks come too early or too late: what is tested is the look after the failure.
    monkeypatch.setattr(Show, "_watch", watch)
    parts: Any = (kafka, _Worker(), _Views(), _Signals())
    show = Show(Settings(), Plan(None, 1.0, 1), *parts)
    with pytest.raises(DemoError) as failure:
        asyncio.run(show.run())
    return failure.value


_ENDED = (None, False)
_ENDING = (1, False)
_UP = (1, True)


@pytest.mark.parametrize("states", [(_ENDED,), (_ENDING, _ENDED), (_ENDING, _ENDING, _ENDED)])
def test_a_broker_that_has_ended_or_is_ending_is_what_the_demo_failed_of(
    states: tuple[tuple[int | None, bool], ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    error = _failure_of(_Kafka(*states), monkeypatch)
    assert str(error) == "Kafka (broker 1) ended."
    assert error.log == Path("kafka/broker-1/server.log")


def test_what_fails_while_every_process_is_up_is_said_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    error = _failure_of(_Kafka(_UP), monkeypatch)
    assert (str(error), error.log) == ("Nothing can be published.", None)


def test_a_broker_that_hangs_is_not_waited_for_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tocsin.cli.demo.show._ENDING_S", 0.0)
    error = _failure_of(_Kafka(_ENDING), monkeypatch)
    assert str(error) == "Nothing can be published."
