"""``tocsin probe``: how long does a CRITICAL take through a live cluster?"""

from __future__ import annotations

import asyncio
import secrets
import socket
import sys
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any, Final

import click
import orjson

from streams.broker.admin import COMMAND_ATTEMPT_S, admin_client
from streams.broker.slices import kept_slices
from streams.broker.topic_plan import slices_topic
from streams.broker.topic_problems import topic_fault
from streams.cancellation import end
from streams.notifications.priority import Priority
from streams.notifications.rfc3339 import parse_rfc3339
from streams.notifications.visible import visible
from streams.publishing.driver import load_driver
from streams.publishing.notifier import Notifier
from streams.quantities import quantity
from streams.records import PlacedRecord
from streams.settings import ConfigurationError, Settings
from streams.transport.topic_reader import TopicReader
from streams.upstream.topic_ids import fetch_topics
from tables.partials import make_slicer
from tables.public_rows import decode_key
from tables.reserved_types import PROBES
from tocsin.cli.common.config_option import command_settings, config_option
from tocsin.cli.common.options import brokers_option, examples, json_option
from tocsin.cli.common.output import Output
from tocsin.cli.common.reading import topic_reader
from tocsin.cli.common.running import run
from tocsin.cli.probe.results import Probes, Report, keys_of, make_report

_MOST_OPENING: Final = 64
_CONFIRM_S: Final = 15.0
_POLL_S: Final = 0.05
#: Answers of the last seconds tell whether others probe just now.
_RECENT_MS: Final = 15_000


@click.command(epilog=examples("tocsin probe", "tocsin probe --seconds 10 --max-p99-ms 500"))
@click.option("--rate", type=click.FloatRange(0.1, 20), default=2, help="Probes a second.")
@click.option(
    "--seconds",
    type=click.FloatRange(1, 600),
    default=30,
    help="Seconds to publish probes for.",
)
@click.option(
    "--wait",
    "wait_s",
    type=click.FloatRange(1, 300),
    default=15,
    help="Seconds to wait after the last probe; one that has not arrived then counts as infinitely late.",
)
@click.option(
    "--max-p99-ms",
    type=click.FloatRange(min=0, min_open=True),
    help="Exit code 1 if the p99 to the alert topic is above this.",
)
@json_option("one JSON object")
@brokers_option
@config_option
def command(
    rate: float, seconds: float, wait_s: float, max_p99_ms: float | None, as_json: bool, brokers: str | None
) -> None:
    """Measure how long a CRITICAL takes through a running cluster, and say it in one sentence.

    A probe is a notification of the event type (probes) in the topic of CRITICAL; the partitions are used in
    turn. Workers queue, decode and count it like any other, and forward it as they do alerts, but to the
    topic <app>-probes: subscribers of alerts get none. Lists of counts leave the event type out.

    Exit code 1 if a probe did not arrive, or if --max-p99-ms is exceeded, so that a CronJob can run it.
    """
    settings = command_settings(brokers=brokers)
    number = max(1, round(rate * seconds))
    job = _Run(settings, rate, number, wait_s, max_p99_ms).report()
    sys.exit(run(_shown(job, as_json), interrupted=1))


async def _shown(job: Any, as_json: bool) -> int:
    report: Report = await job
    output = Output()
    if as_json:
        output.lines([orjson.dumps(report.as_json()).decode()])
    else:
        output.lines([*report.table(), *report.sentences()])
    return 0 if report.ok else 1


class _Run:
    """One measurement.

    Args:
        settings: of the workers.
        rate: probes a second.
        number: of probes.
        wait_s: seconds to wait after the last.
        max_p99_ms: bound of the result, or None.
    """

    def __init__(
        self, settings: Settings, rate: float, number: int, wait_s: float, max_p99_ms: float | None
    ) -> None:
        self._settings = settings
        self._interval_s = 1 / rate
        self._number = number
        self._wait_s = wait_s
        self._max_p99_ms = max_p99_ms
        self._probes = Probes()
        self._total = 0
        self._last_counted_ms = 0
        self._last_answer_ms = 0

    async def report(self) -> Report:
        """Publish, wait, and sum up.

        Raises:
            ConfigurationError: the settings, brokers or topics do not allow it.
            ReadingFailedError: the brokers refuse.
            click.ClickException: they do not confirm.
        """
        settings = self._settings
        for name, priorities in (
            ("TOCSIN_PRIORITIES", settings.priorities),
            ("TOCSIN_FORWARD_PRIORITIES", settings.forward_priorities),
        ):
            if Priority.CRITICAL not in priorities:
                raise ConfigurationError(f"Probes are CRITICAL, which {name} leaves out: add critical to it.")
        source = settings.notification_topic(Priority.CRITICAL)
        async with admin_client(settings, attempt_s=COMMAND_ATTEMPT_S) as admin:
            named = [source, settings.event_counts_topic]
            topics = await fetch_topics(admin, [*named, slices_topic(settings)])
            kept = await kept_slices(admin, settings, topics)
        for name in named:
            if (fault := topic_fault(topics[name], writes=name == source)) is not None:
                raise ConfigurationError(fault)
        slice_of = make_slicer(kept or topics[settings.event_counts_topic].partitions)
        partitions = topics[source].partitions
        answer_topic = settings.internal_topic("probes")
        async with AsyncExitStack() as stack:
            answers = await stack.enter_async_context(
                topic_reader(
                    settings,
                    [answer_topic],
                    start_ms=int(time.time() * 1000) - _RECENT_MS,
                )
            )
            counts = await stack.enter_async_context(
                topic_reader(
                    settings, [settings.event_counts_topic], start_ms=0, only_partition=slice_of(PROBES)
                )
            )
            await self._measure(answers, counts, partitions)
        return make_report(
            self._probes.measured,
            of_partitions=partitions,
            others=self._probes.others,
            wait_s=self._wait_s,
            max_p99_ms=self._max_p99_ms,
            alert_topic=settings.alert_topic(Priority.CRITICAL.value),
            answer_topic=answer_topic,
            counts_topic=settings.event_counts_topic,
        )

    async def _measure(self, answers: TopicReader, counts: TopicReader, partitions: int) -> None:
        async for batch in answers.to_end():
            for record in batch:
                self._last_answer_ms = max(self._last_answer_ms, _starts_ms(record))
        async for batch in counts.to_end():
            self._take_counts(batch)
        self._probes.counted(self._total, 0.0)
        if self._last_answer_ms > self._last_counted_ms:
            # Not counted yet, so it will be taken for one of ours.
            _say("Others probe at the same time, so the times to the counts may be too short.")
        readers = [
            asyncio.create_task(self._follow_answers(answers)),
            asyncio.create_task(self._follow_counts(counts)),
        ]
        work = asyncio.create_task(self._publish_and_wait(keys_of(partitions, self._number)))
        try:
            await asyncio.wait([*readers, work], return_when=asyncio.FIRST_COMPLETED)
            for task in [*readers, work]:
                if task.done():
                    task.result()  # a reader ends by an error only
        finally:
            await end(*readers, work)

    # ---------------------------------------------------------------- reading

    async def _follow_answers(self, reader: TopicReader) -> None:
        async for batch in reader.follow():
            now_s = time.monotonic()
            for record in batch:
                self._probes.answered(_message_id(record.value), now_s)

    async def _follow_counts(self, reader: TopicReader) -> None:
        async for batch in reader.follow():
            now_s = time.monotonic()
            before = self._total
            self._take_counts(batch)
            if self._total > before:
                self._probes.counted(self._total, now_s)

    def _take_counts(self, batch: Sequence[PlacedRecord]) -> None:
        for record in batch:
            try:
                if record.value is None or decode_key(record.key or b"").priority != Priority.CRITICAL.value:
                    continue
                total, seen_ms = (orjson.loads(record.value).get("totals") or {}).get(PROBES, (0, 0))
                # Rows written late by a worker that lost its partitions are lower; totals never fall.
                self._total = max(self._total, int(total))
                self._last_counted_ms = max(self._last_counted_ms, int(seen_ms))
            except (ValueError, TypeError, AttributeError):
                continue  # not a row of counts; workers say so in their logs

    # ---------------------------------------------------------------- publishing

    async def _publish_and_wait(self, keys: list[bytes]) -> None:
        driver = load_driver("kafka", settings=self._settings)
        try:
            notifiers = self._notifiers(driver, len(keys))
            # The first to each broker opens a connection, which services have open already.
            for partition in range(min(len(keys), _MOST_OPENING)):
                self._publish(notifiers, keys, partition, measured=False)
            if not await asyncio.to_thread(driver.flush, _CONFIRM_S):
                raise click.ClickException(
                    f"Kafka at {self._settings.brokers} has not confirmed a probe for {_CONFIRM_S:.0f} s: "
                    "look at the brokers."
                )
            _say(f"Publishing {quantity(self._number, 'probe')} in {self._number * self._interval_s:.0f} s.")
            begun = time.monotonic()
            for number in range(self._number):
                await asyncio.sleep(begun + number * self._interval_s - time.monotonic())
                self._publish(notifiers, keys, number % len(keys), measured=True)
            until = time.monotonic() + self._wait_s
            while self._probes.missing and time.monotonic() < until:  # noqa: ASYNC110 - told by two readers
                await asyncio.sleep(_POLL_S)
            failed = driver.stats.failed + driver.stats.dropped
            if failed:
                _say(f"Kafka did not take {failed} of the probes.")
        finally:
            await asyncio.to_thread(driver.close, 2.0)

    def _notifiers(self, driver: Any, number: int) -> list[Any]:
        # Alerts are keyed by their labels: publishers of several names reach several partitions of answers.
        host = visible(socket.gethostname())
        return [
            Notifier(f"tocsin-probe.{host}-{partition}", driver, settings=self._settings)
            for partition in range(number)
        ]

    def _publish(self, notifiers: list[Any], keys: list[bytes], partition: int, *, measured: bool) -> None:
        now_s = time.monotonic()
        payload = {"probe": secrets.token_hex(8)}
        message_id = notifiers[partition].critical(PROBES, payload, key=keys[partition])
        self._probes.published(message_id, partition, now_s, measured=measured)


def _message_id(value: bytes | None) -> str | None:
    """Which notification an answer is to; None when it does not say."""
    try:
        found = orjson.loads(value or b"")["examples"][0]["message_id"]
    except (ValueError, KeyError, IndexError, TypeError):
        return None
    return found if isinstance(found, str) else None


def _starts_ms(record: PlacedRecord) -> int:
    try:
        return int(parse_rfc3339(orjson.loads(record.value or b"")["startsAt"]) * 1000)
    except (ValueError, KeyError, TypeError, OverflowError):
        return 0


def _say(sentence: str) -> None:
    click.echo(f"tocsin probe: {visible(sentence)}", err=True)
