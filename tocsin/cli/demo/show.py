"""The demo at work: load, arrivals and pictures beside each other, and the sums at the end."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Any, Final, Protocol

import click
from rich.console import Console
from rich.live import Live

from streams.cancellation import end
from streams.settings import ConfigurationError, Settings
from tables.reserved_types import DEAD_LETTERS
from tocsin.cli.common.web_views import NoAnswerError
from tocsin.cli.demo.load import Arrivals, Load, newest
from tocsin.cli.demo.plan import Plan
from tocsin.cli.demo.screen import Picture, frame, plain_line, summary
from tocsin.cli.demo.sums import DemoSums, make_sums
from tocsin.cli.demo.worker_process import DemoError, WorkerProcess, WorkerViews
from tocsin.local_kafka.cluster import KafkaStatus, LocalKafka

_FRAME_S: Final = 1.0
_LINE_S: Final = 5.0
_CHECK_S: Final = 2.0
_SETTLE_S: Final = 120.0
#: How long a broker that does not answer may take to end before it is taken for one that goes on.
_ENDING_S: Final = 5.0
_ENDING_POLL_S: Final = 0.05
#: Columns of the summary where it is not shown in a terminal.
_PIPE_WIDTH: Final = 100
_SHOWN_ALERTS: Final = 30


class Signals(Protocol):
    """What ends a demo."""

    def setting(self, event: asyncio.Event) -> AbstractContextManager[None]:
        """Set ``event`` when a signal comes."""


class Show:
    """Runs the load and shows what the worker makes of it."""

    def __init__(
        self,
        settings: Settings,
        plan: Plan,
        kafka: LocalKafka,
        worker: WorkerProcess,
        views: WorkerViews,
        signals: Signals,
    ) -> None:
        self._settings = settings
        self._plan = plan
        self._kafka = kafka
        self._worker = worker
        self._views = views
        self._signals = signals
        self._load = Load(settings, plan.rate)
        self._arrivals = Arrivals(settings)
        self._minute: list[dict[str, Any]] = []
        self._totals: list[dict[str, Any]] = []
        self._classes: dict[str, dict[str, Any]] = {}
        self._fault = ""
        self._state = "running"
        self._started = 0.0

    async def run(self) -> int:
        """Run to the end; returns the exit code.

        Raises:
            DemoError: a process of the demo has ended, or does not do its work.
        """
        click.echo(f"The page is at {self._views.address}/")
        sys.stdout.flush()
        stop = asyncio.Event()
        self._started = asyncio.get_running_loop().time()
        with self._signals.setting(stop), self._display() as show:
            beside = [self._arrivals.follow(), self._watch(), self._draw(show)]
            try:
                sums = await _first(self._main(), beside, stop)
            except (DemoError, ConfigurationError):
                # When a process has ended, that is why.
                await self._blame()
                raise
        if sums is not None:
            return self._conclude(sums)
        sums = self._sums()
        click.echo(
            f"Interrupted: {sums.published:,} published, {sums.counted:,} counted, {sums.dead_lettered:,} "
            f"dead-lettered, {sums.forwarded:,} forwarded when last looked at."
        )
        return 0 if self._plan.seconds is None else 1

    async def _main(self) -> DemoSums:
        await self._load.run(self._plan.seconds)
        self._state = "all is published, waiting until it is counted"
        return await self._settle()

    # ---------------------------------------------------------------- numbers

    async def _look(self) -> None:
        """Ask the worker for its numbers."""
        views = self._views
        try:
            self._totals = await asyncio.to_thread(views.counts, "total")
            self._minute = await asyncio.to_thread(views.counts, "1m")
            self._classes = await asyncio.to_thread(views.scheduler)
            self._fault = ""
        except NoAnswerError as error:
            self._fault = f"The worker's web views do not answer ({error})."

    def _sums(self) -> DemoSums:
        return make_sums(
            self._settings.priorities,
            self._settings.forward_priorities,
            self._load.published,
            self._totals,
            self._arrivals.forwarded,
            self._arrivals.dead_lettered,
            DEAD_LETTERS,
        )

    async def _settle(self) -> DemoSums:
        """Wait until the sums agree, and go on doing so: what is counted twice may show a little later."""
        loop = asyncio.get_running_loop()
        until = loop.time() + _SETTLE_S
        again_s = 2 * self._settings.flush_interval_s
        agreed_at: float | None = None
        while True:
            await self._look()
            sums = self._sums()
            if not sums.agree:
                agreed_at = None
            elif agreed_at is None:
                agreed_at = loop.time()
            settled = agreed_at is not None and loop.time() - agreed_at >= again_s
            if settled or sums.too_many or loop.time() >= until:
                return sums
            await asyncio.sleep(0.2)

    async def _watch(self) -> None:
        """Fail when a process has ended."""
        while True:
            await self._check()
            await asyncio.sleep(_CHECK_S)

    async def _check(self) -> KafkaStatus:
        status = await asyncio.to_thread(self._kafka.status)
        for broker in status.brokers:
            if broker.pid is None:
                log = self._kafka.data_dir / f"broker-{broker.broker}" / "server.log"
                raise DemoError(f"Kafka (broker {broker.broker}) ended.", log)
        self._worker.check()
        return status

    async def _blame(self) -> None:
        """Fail when a process has ended or is ending: a killed broker's connections go before it does."""
        loop = asyncio.get_running_loop()
        until = loop.time() + _ENDING_S
        while True:
            status = await self._check()
            if status.state == "running" or loop.time() >= until:
                return
            await asyncio.sleep(_ENDING_POLL_S)

    # ---------------------------------------------------------------- pictures

    @contextlib.contextmanager
    def _display(self) -> Iterator[Callable[[Picture], None]]:
        console = Console(file=sys.stdout)
        if not console.is_terminal:
            yield _print_line
            return
        with Live(console=console, screen=True, auto_refresh=False) as live:
            yield lambda picture: live.update(frame(picture, console.height), refresh=True)

    async def _draw(self, show: Callable[[Picture], None]) -> None:
        loop = asyncio.get_running_loop()
        in_lines = show is _print_line
        while True:
            if in_lines:
                await asyncio.sleep(_LINE_S)
            await self._look()
            show(
                Picture(
                    address=f"{self._views.address}/",
                    state=self._state,
                    elapsed_s=loop.time() - self._started,
                    seconds=self._plan.seconds,
                    sums=self._sums(),
                    minute=self._minute,
                    totals=self._totals,
                    classes=self._classes,
                    alerts=list(newest(self._arrivals.alerts, _SHOWN_ALERTS)),
                    fault=self._fault,
                )
            )
            if not in_lines:
                await asyncio.sleep(_FRAME_S)

    def _conclude(self, sums: DemoSums) -> int:
        console = Console(file=sys.stdout)
        if not console.is_terminal:
            console.width = _PIPE_WIDTH
        console.print(summary(sums))
        for sentence in sums.verdict():
            click.echo(sentence)
        if self._fault:
            click.echo(self._fault)
        return 0 if sums.agree else 1


async def _first(
    main: Coroutine[Any, Any, DemoSums], beside: Iterable[Coroutine[Any, Any, None]], stop: asyncio.Event
) -> DemoSums | None:
    """Run ``main`` to its end; None when ``stop`` was set before. What is beside it only ends by failing."""
    running = asyncio.ensure_future(main)
    tasks = [asyncio.ensure_future(routine) for routine in (stop.wait(), *beside)]
    try:
        await asyncio.wait([running, *tasks], return_when=asyncio.FIRST_COMPLETED)
        for task in tasks[1:]:
            if task.done():
                task.result()
        return running.result() if running.done() else None
    finally:
        await end(running, *tasks)


def _print_line(picture: Picture) -> None:
    click.echo(plain_line(picture))
    sys.stdout.flush()
