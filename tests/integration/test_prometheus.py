"""A real Prometheus scrapes a worker and ``tocsin web``; dashboard and rules find what they ask for."""

from __future__ import annotations

import asyncio
import itertools
import json
import math
import uuid
from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import aiohttp
import pytest

from streams.notifications import Priority
from streams.settings import Settings
from tables.views.histogram_defs import HISTOGRAMS
from tables.views.metric_defs import METRICS
from tests.debian_packages import NotToBeHadError
from tests.integration.worker_process import Deployment, Worker, eventually
from tests.integration.writing import Writer, made_load, writer
from tests.paths import ROOT
from tests.prometheus_server import PrometheusServer, promtool, running, tool
from tocsin.local_kafka.cluster import LocalKafka

pytestmark = [pytest.mark.kafka, pytest.mark.xdist_group("prometheus")]

DASHBOARD = ROOT / "deploy/monitoring/grafana-dashboard.json"
RULES = ROOT / "deploy/monitoring/prometheus-rules.yaml"


def queries() -> list[str]:
    """All queries of the dashboard, as Grafana would send them."""
    panels = json.loads(DASHBOARD.read_text())["panels"]
    found = [target["expr"] for panel in panels for target in panel.get("targets", ())]
    for name, value in (("$__rate_interval", "1m"), ("$__range", "5m"), ("$job", ".*")):
        found = [each.replace(name, value) for each in found]
    return found


class Scraped(NamedTuple):
    """A worker and ``tocsin web``, and the Prometheus that scrapes them."""

    prometheus: PrometheusServer
    deployment: Deployment
    workers: list[Worker]


@pytest.fixture(scope="module")
def scraped(kafka: LocalKafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scraped]:
    """All of them, for all tests here."""
    try:
        tool("prometheus")
    except NotToBeHadError as error:
        pytest.skip(f"There is no Prometheus for this test: {error}.")
    folder = tmp_path_factory.mktemp("prometheus")
    deployment = Deployment(kafka.bootstrap, f"t{uuid.uuid4().hex[:12]}", folder)
    deployment.configure(flush_interval_s="0.2")
    workers = [deployment.worker().start(), deployment.worker("web", command=["tocsin", "web"]).start()]
    try:
        for each in workers:
            asyncio.run(each.ready())
        targets = ["{}:{}".format(*each.address) for each in workers if each.address]
        with running(folder / "data", targets, [RULES]) as prometheus:
            yield Scraped(prometheus, deployment, workers)
    finally:
        for each in workers:
            each.cleanup()


async def some_more(out: Writer, settings: Settings) -> None:
    """Publish notifications of all kinds, and what is none."""
    await out.made(made_load(seed=5, count=200))
    await out.raw(settings.notification_topic(Priority.ERROR), b"no JSON")


async def some_are_counted(scraped: Scraped) -> None:
    """Publish, until Prometheus has seen the rates of all priorities."""
    prometheus, deployment, _ = scraped
    async with writer(deployment.settings) as out:

        async def has_rates() -> bool:
            await some_more(out, deployment.settings)
            counted = await prometheus.values("rate(tocsin_records_counted_total[1m]) > 0")
            alerts = await prometheus.values("rate(tocsin_publish_to_alert_seconds_count[1m]) > 0")
            letters = await prometheus.values("increase(tocsin_dead_letters_total[1m]) > 0")
            return (len(counted), len(alerts), len(letters) > 0) == (
                len(deployment.settings.priorities),
                2,
                True,
            )

        await eventually("all priorities are counted", has_rates)


async def test_every_query_of_the_dashboard_finds_something(scraped: Scraped) -> None:
    prometheus = scraped.prometheus
    await some_are_counted(scraped)
    asked = queries()
    assert len(asked) > 30
    asked += [
        "tocsin_commits_total > 0 and tocsin_commit_seconds > 0",
        'tocsin_store_rows{table="partial-counts"} > 0',
    ]
    async with writer(scraped.deployment.settings) as out:

        async def finds(query: str) -> bool:
            found = await prometheus.values(query)
            if query.startswith("histogram_quantile"):
                found = [value for value in found if math.isfinite(value) and value > 0]
            if not found:
                # A process did not answer Prometheus in time, or what was published before is too long ago.
                await some_more(out, scraped.deployment.settings)
            return found != []

        for query in asked:
            await eventually(f"this finds something: {query}", partial(finds, query))
    assert not await prometheus.values("tocsin_no_such_metric"), "a query can find nothing"
    # What Grafana offers as jobs.
    assert await prometheus.ask("label/job/values", **{"match[]": "tocsin_build_info"}) == ["tocsin"]


async def test_the_rules_are_evaluated_and_nothing_rings_while_all_is_well(scraped: Scraped) -> None:
    prometheus = scraped.prometheus

    async def are_evaluated() -> bool:
        (group,) = (await prometheus.ask("rules"))["groups"]
        return all(rule["health"] == "ok" for rule in group["rules"])

    await eventually("all rules are evaluated", are_evaluated)
    alerts = (await prometheus.ask("alerts"))["alerts"]
    # Others may be pending, as on a busy machine; they ring only when it goes on.
    firing = {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}
    assert firing <= {"TocsinDeadLetters"}


async def test_promtool_finds_no_fault_in_the_metrics(scraped: Scraped) -> None:
    """It reads the text format; the server asks for OpenMetrics, and has read that above."""
    for worker in scraped.workers:
        assert worker.address is not None
        url = "http://{}:{}/metrics".format(*worker.address)
        async with aiohttp.ClientSession() as client, client.get(url) as answer:
            text = await answer.text()
        promtool("check", "metrics", given=text)
    with pytest.raises(AssertionError, match="no help text"):
        promtool("check", "metrics", given="tocsin_unexplained 1\n")


def test_promtool_finds_no_fault_in_the_rules(scraped: Scraped) -> None:
    assert "SUCCESS: 8 rules found" in promtool("check", "rules", RULES)
    promtool("check", "config", scraped.prometheus.config)


def test_dashboard_and_rules_ask_only_for_metrics_that_there_are() -> None:
    known = {each.name for each in (*METRICS, *HISTOGRAMS)}
    known |= {f"{each.name}_{part}" for each in HISTOGRAMS for part in ("bucket", "count", "sum")}
    words = set()
    for text in itertools.chain(queries(), [RULES.read_text()]):
        words |= {
            word
            for word in "".join(c if c.isalnum() or c == "_" else " " for c in text).split()
            if word.startswith("tocsin_")
        }
    assert words
    assert words <= known
