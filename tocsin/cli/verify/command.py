"""``tocsin verify``: do the counts agree with the records?"""

from __future__ import annotations

import sys
import time
from typing import Final

import click
import orjson

from streams.notifications.visible import visible, visible_json
from streams.settings import Settings
from tables.buckets import FINE, parent, retention_s
from tables.verification import Span
from tocsin.cli.common.config_option import command_settings, config_option
from tocsin.cli.common.options import Duration, brokers_option, examples, json_option
from tocsin.cli.common.output import Output
from tocsin.cli.common.running import run
from tocsin.cli.verify import report as verify_report
from tocsin.cli.verify.recount import Verification

#: Seconds that rows are left before they expire, so that they are still there when they are read.
_MARGIN_S: Final = 120
_NO_END_S: Final = 2**41


@click.command(epilog=examples("tocsin verify", "tocsin verify --since 30m --window 10m --json"))
@click.option(
    "--since",
    type=Duration(),
    default="1h",
    metavar="SPAN",
    help="Begin this long ago: 90s, 10m, 1h30m.",
)
@click.option(
    "--window",
    type=Duration(),
    metavar="SPAN",
    show_default="up to now",
    help="Compare this long from there.",
)
@click.option(
    "--wait",
    "wait_s",
    type=click.FloatRange(0, 600),
    default=30,
    help="Seconds to wait for the workers to combine what they have counted.",
)
@click.option(
    "--most-counts",
    type=click.IntRange(min=1000),
    default=3_000_000,
    help="Refuse to hold more counts than this in memory, at about 150 bytes each.",
)
@click.option(
    "--most-records",
    type=click.IntRange(min=0),
    default=5_000_000,
    help="Read every record, to compare totals as well, where the topics hold no more than this.",
)
@json_option("one JSON object, with at most 1,000 differences")
@brokers_option
@config_option
def command(
    since: float,
    window: float | None,
    wait_s: float,
    most_counts: int,
    most_records: int,
    as_json: bool,
    brokers: str | None,
) -> None:
    """Count the records in the notification topics again, and say whether the published counts agree.

    Workers may run meanwhile. Each record is decoded and counted again by the workers' own code, and the
    result is compared with the stored 10 s counts of its partition; then the public counts are compared with
    the sums over all partitions, and the totals with all records that are left. Run it with the settings of
    the workers. Where Kafka has deleted records
    because of their age, it says so, and can only find counts that are too low.

    10 s counts are kept for 75 minutes plus TOCSIN_LATENESS_S. Exit code 0 if the counts agree, 1 if they
    differ or cannot be compared.
    """
    settings = command_settings(brokers=brokers)
    sys.exit(run(_verify(settings, since, window, wait_s, most_counts, most_records, as_json), interrupted=1))


async def _verify(
    settings: Settings,
    since: float,
    window: float | None,
    wait_s: float,
    most_counts: int,
    most_records: int,
    as_json: bool,
) -> int:
    kept_s = retention_s(FINE, settings.lateness_s) - _MARGIN_S
    if since > kept_s:
        raise click.UsageError(
            f"10 s rows are kept for {kept_s // 60} minutes with TOCSIN_LATENESS_S={settings.lateness_s}: "
            "give a shorter --since."
        )
    start_s = parent(int(time.time() - since), FINE)
    end_s = _NO_END_S if window is None else parent(start_s + int(window) + FINE - 1, FINE)
    job = Verification(settings, Span(start_s, end_s), wait_s, most_counts, most_records, _say)
    found = await job.run()
    output = Output()
    if as_json:
        output.lines([visible_json(orjson.dumps(verify_report.as_json(found)).decode())])
    else:
        output.lines([*verify_report.table(found), *verify_report.sentences(found)])
    return 0 if verify_report.agrees(found) else 1


def _say(sentence: str) -> None:
    click.echo(f"tocsin verify: {visible(sentence)}", err=True)
