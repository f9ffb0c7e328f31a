"""``tocsin demo``: a Kafka, a worker and a load on this machine, shown at work; nothing is left of them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import click
from aiokafka.errors import KafkaError

from streams.broker.admin import COMMAND_ATTEMPT_S, admin_client
from streams.broker.topics import ensure_topics
from streams.notifications.visible import visible
from streams.settings import ConfigurationError, Settings, load_settings
from tocsin.cli.common.options import examples
from tocsin.cli.common.output import quiet_pipe
from tocsin.cli.common.running import silence_client
from tocsin.cli.demo.plan import Plan
from tocsin.cli.demo.show import Show
from tocsin.cli.demo.worker_process import DemoError, WorkerProcess, tail, worker_environment
from tocsin.cli.kafka import shown_progress
from tocsin.local_kafka.cluster import LocalKafka, LocalKafkaError
from tocsin.local_kafka.jars import file_lock
from tocsin.local_kafka.process import SHORT_LIFE

_PARENT: Final = Path(".tocsin")
_PREFIX: Final = "demo-"
#: Settings that a demo takes over from the environment; others might lead it to a real cluster.
_TAKEN_OVER: Final = ("TOCSIN_PROFILE", "TOCSIN_WEIGHTS", "TOCSIN_PARTITIONS", "TOCSIN_WEB_PORT")
_STOP_KAFKA_S: Final = 5.0
#: Seconds for it to start, on a slow machine too.
_START_KAFKA_S: Final = 180.0


@click.command(epilog=examples("tocsin demo", "tocsin demo --seconds 30 --rate 1000"))
@click.option(
    "--seconds",
    type=click.FloatRange(min=0, min_open=True),
    help="Publish for this many seconds, wait until all is counted, compare the sums and end.",
)
@click.option(
    "--rate",
    type=click.FloatRange(min=0, min_open=True),
    default=300.0,
    help="Notifications a second, on average.",
)
@click.option("--brokers", type=click.IntRange(1, 9), default=1, help="Number of Kafka brokers.")
def command(seconds: float | None, rate: float, brokers: int) -> None:
    """Start a Kafka, a worker and a load of all five priorities on this machine, and show what they do.

    Runs until Ctrl-C, then stops and deletes all of it. With --seconds it ends by itself with a summary: exit
    code 0 if every notification was counted or dead-lettered and every alert was forwarded, 1 if not.

    It uses these settings of your environment and no others, so that it cannot reach a real cluster:
    TOCSIN_PROFILE, TOCSIN_WEIGHTS, TOCSIN_PARTITIONS and TOCSIN_WEB_PORT.
    """
    silence_client()
    with quiet_pipe():
        code = _demo(Plan(seconds, rate, brokers))
    sys.exit(code)


def _demo(plan: Plan) -> int:
    with _Signals() as signals, own_folder() as folder:
        kafka = LocalKafka(
            folder / "kafka", brokers=plan.brokers, die_with_parent=True, jvm_options=SHORT_LIFE
        )
        worker: WorkerProcess | None = None
        code = 1
        try:
            environment = worker_environment(_variables(plan, folder))
            with shown_progress() as progress:
                environment["TOCSIN_BROKERS"] = kafka.start(progress, _START_KAFKA_S)
                settings = _settings(environment)
                progress("Starting a worker", 0, 0)
                # It takes seconds to import what it needs; the topics are there before it asks for them.
                worker = WorkerProcess(folder, environment)
                asyncio.run(_apply_topics(settings))
                views = worker.wait_ready()
            code = asyncio.run(Show(settings, plan, kafka, worker, views, signals).run())
        except KeyboardInterrupt:
            # Without --seconds this is how a demo ends.
            code = 0 if plan.seconds is None else 1
            click.echo("Interrupted.", err=True)
        except (DemoError, LocalKafkaError) as error:
            if isinstance(error, ConfigurationError):
                raise
            _explain(error, folder)
        finally:
            signals.ended = True
            fault = _stop(worker, kafka, folder)
    if fault is not None:
        click.echo(f"tocsin demo: {fault}", err=True)
        return 1
    return code


def _stop(worker: WorkerProcess | None, kafka: LocalKafka, folder: Path) -> str | None:
    """Stop what runs; None, or what was wrong with it."""
    fault = None
    try:
        if worker is not None:
            fault = worker.stop()
            if fault is not None:
                fault += f" Its log is {_keep(worker.log, folder)}."
    finally:
        try:
            kafka.reset(_STOP_KAFKA_S)
        except LocalKafkaError as error:
            fault = str(error)
    return fault


def _explain(error: DemoError | LocalKafkaError, folder: Path) -> None:
    """Say what went wrong, with the end of the log of whoever is to blame."""
    log = getattr(error, "log", None)
    if log is None:
        click.echo(f"tocsin demo: {error}", err=True)
        return
    lines = tail(log)
    click.echo(f"tocsin demo: {error} Its log, {_keep(log, folder)}, ends with:", err=True)
    for line in lines:
        click.echo(f"    {visible(line)}", err=True)


def _keep(log: Path, folder: Path) -> Path:
    """Move a log out of the folder, which is deleted."""
    kept = folder.parent / f"{folder.name}-{log.name}"
    try:
        shutil.copyfile(log, kept)
    except OSError:
        return log
    return kept.relative_to(Path.cwd()) if kept.is_relative_to(Path.cwd()) else kept


# ---------------------------------------------------------------- settings


def _variables(plan: Plan, folder: Path) -> dict[str, str]:
    """The settings of the demo's worker."""
    variables = {"TOCSIN_WEB_PORT": "0"}
    variables |= {name: os.environ[name] for name in _TAKEN_OVER if os.environ.get(name)}
    return variables | {
        "TOCSIN_REPLICATION_FACTOR": str(min(3, plan.brokers)),
        "TOCSIN_DATA_DIR": str(folder / "worker"),
        "TOCSIN_DRAIN_DEADLINE_S": "5",
    }


def _settings(environment: dict[str, str]) -> Settings:
    """The settings that the worker will find."""
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(environment)
    try:
        return load_settings()
    finally:
        os.environ.clear()
        os.environ.update(before)


async def _apply_topics(settings: Settings) -> None:
    async with admin_client(settings, attempt_s=COMMAND_ATTEMPT_S) as admin:
        with contextlib.suppress(KafkaError):
            # The first question makes Kafka create its topic of offsets, for which the worker would wait.
            await admin.find_coordinator(settings.app_id)
        await ensure_topics(admin, settings, create=True)


# ---------------------------------------------------------------- the folder


@contextlib.contextmanager
def own_folder() -> Iterator[Path]:
    """A folder of this demo's own; locked, so that another demo can tell it from one that was killed."""
    parent = _PARENT.absolute()
    with contextlib.ExitStack() as stack:
        try:
            parent.mkdir(parents=True, exist_ok=True)
            with file_lock(parent / "demo.lock"):
                _sweep(parent)
                folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=parent))
                stack.enter_context(file_lock(folder / "lock"))
        except OSError as error:
            raise ConfigurationError(
                f"The folder {parent} cannot be used ({error.strerror or error}): "
                "run the demo in a folder that you may write to."
            ) from None
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _sweep(parent: Path) -> None:
    """Delete what demos left that were killed. None is being set up: that takes the lock we hold."""
    for folder in parent.glob(f"{_PREFIX}*/"):
        # One that is just ending may delete its folder under our eyes.
        with contextlib.suppress(FileNotFoundError), file_lock(folder / "lock", wait=False) as held:
            if not held:
                continue
            # Its Kafka may just be stopping.
            with contextlib.suppress(LocalKafkaError):
                LocalKafka(folder / "kafka").reset(_STOP_KAFKA_S)
            shutil.rmtree(folder, ignore_errors=True)


# ---------------------------------------------------------------- signals


class _Signals:
    """SIGINT, SIGTERM and SIGHUP end the demo: the first one does, later ones find it ending already."""

    def __init__(self) -> None:
        #: Whether there is nothing left to end.
        self.ended = False
        self._end: Callable[[], None] = self._interrupt
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> _Signals:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            # nohup means that a hang-up is nothing to end for.
            if number is not signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._received)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextlib.contextmanager
    def setting(self, event: asyncio.Event) -> Iterator[None]:
        """Set ``event`` of the running loop instead of raising KeyboardInterrupt."""
        loop = asyncio.get_running_loop()
        self._end = lambda: _set(loop, event)
        try:
            yield
        finally:
            self._end = self._interrupt

    def _received(self, *_: object) -> None:
        if not self.ended:
            self.ended = True
            self._end()

    @staticmethod
    def _interrupt() -> None:
        raise KeyboardInterrupt


def _set(loop: asyncio.AbstractEventLoop, event: asyncio.Event) -> None:
    loop.call_soon_threadsafe(event.set)
