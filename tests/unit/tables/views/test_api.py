"""The JSON API, the probes and the metrics."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.exposition import choose_encoder
from prometheus_client.parser import text_string_to_metric_families
from yarl import URL

from streams.notifications.notification import Reason, Repair
from streams.notifications.priority import Priority
from tables.public_rows import PublicRow, encode_key, encode_value
from tables.views.histogram_defs import HISTOGRAMS
from tables.views.metric_defs import METRICS
from tests.unit.tables.views.views_kit import NOW_S, FakeSources, fill, get, sample, served


@pytest.fixture
def fake() -> FakeSources:
    """Sources with some counts."""
    return sample()


# ---------------------------------------------------------------- counts


async def test_counts_have_the_contract_s_shape(fake: FakeSources) -> None:
    async with served(fake) as client:
        body = await get(client, "/api/v1/counts", window="5m", event_type="compute.*", priority="ERROR")
    assert body == {
        "as_of": "2026-11-01T12:00:00.500Z",
        "complete": True,
        "missing_partitions": [],
        "window": "5m",
        "items": [
            {
                "event_type": "compute.instance.create.error",
                "priority": "ERROR",
                "count": 12,
                "last_seen": "2026-11-01T11:59:40.123Z",
            }
        ],
        "next": None,
        "late": [],
    }


async def test_an_incomplete_view_says_so(fake: FakeSources) -> None:
    fake.complete, fake.missing, fake.as_of = False, {3, 1}, 0.0
    async with served(fake) as client:
        body = await get(client, "/api/v1/counts")
    assert (body["as_of"], body["complete"], body["missing_partitions"]) == (None, False, [1, 3])


@pytest.mark.parametrize(
    ("window", "counts"),
    [
        ("1m", {12, 30}),
        ("5m", {12, 30, 4}),
        ("1h", {12, 35, 4}),
        ("24h", {12, 42, 4, 1}),
        ("30d", {12, 42, 4, 1}),
        ("total", {12, 42, 4, 1}),
    ],
)
async def test_windows_reach_as_far_as_they_say(fake: FakeSources, window: str, counts: set[int]) -> None:
    async with served(fake) as client:
        body = await get(client, "/api/v1/counts", window=window)
    assert {item["count"] for item in body["items"]} == counts


@pytest.mark.parametrize(
    ("parameters", "found"),
    [
        ({"event_type": "compute.*"}, {"compute.instance.create.error", "compute.instance.create.start"}),
        (
            {"event_type": "*.create.*"},
            {"compute.instance.create.error", "compute.instance.create.start", "volume.create.end"},
        ),
        ({"event_type": "volume.create.en?"}, {"volume.create.end"}),
        ({"event_type": "volume.create"}, set()),
        ({"event_type": "[cv]*"}, set()),
        ({"priority": "info"}, {"compute.instance.create.start", "volume.create.end"}),
        ({"priority": "WARNING"}, set()),
        (
            {"event_type": "", "priority": ""},
            {"compute.instance.create.error", "compute.instance.create.start", "volume.create.end"},
        ),
    ],
)
async def test_filters(fake: FakeSources, parameters: dict[str, Any], found: set[str]) -> None:
    async with served(fake) as client:
        body = await get(client, "/api/v1/counts", **parameters)
    assert {item["event_type"] for item in body["items"]} == found


@pytest.mark.parametrize(
    "parameters",
    [
        {"windw": "5m"},
        {"window": "2m"},
        {"priority": "URGENT"},
        {"sort": "size"},
        {"limit": "0"},
        {"limit": "1001"},
        {"limit": "-1"},
        {"limit": "٣"},
        {"cursor": "AAAA"},
        {"cursor": "é"},
        {"cursor": "WyJjb3VudCIsMSwiYSIsMV0"},  # ["count",1,"a",1], but the order is -count
        {"cursor": "WyItY291bnQiLCJhIiwiYSIsMV0"},  # ["-count","a","a",1]
        {"event_type": "*" * 9},
        {"event_type": "a" * 5000},
    ],
)
async def test_wrong_parameters_are_problems(fake: FakeSources, parameters: dict[str, Any]) -> None:
    async with served(fake) as client:
        body = await get(client, "/api/v1/counts", 400, **parameters)
    assert body["detail"].endswith(".")


async def test_problems_repeat_nothing_dangerous(fake: FakeSources) -> None:
    async with served(fake) as client:
        for parameters in ({"<script>": "1"}, {"window": "<script>"}, {"priority": "<script>"}):
            body = await get(client, "/api/v1/counts", 400, **parameters)
            assert "script" not in json.dumps(body)
        async with client.get("/api/v1/counts?limit=1&limit=2") as answer:
            assert answer.status == 400


# ---------------------------------------------------------------- one event type


async def test_a_chart_has_every_bucket(fake: FakeSources) -> None:
    async with served(fake) as client:
        body = await get(client, "/api/v1/counts/compute.instance.create.start", window="5m")
    assert body["resolution_s"] == 10
    assert (body["from"], body["to"]) == ("2026-11-01T11:55:00Z", "2026-11-01T12:00:01Z")
    assert body["totals"] == [{"priority": "INFO", "count": 42, "last_seen": "2026-11-01T11:59:40.123Z"}]
    (series,) = body["series"]
    assert (series["priority"], series["count"], len(series["buckets"])) == ("INFO", 30, 31)
    assert series["buckets"][28] == {"start": "2026-11-01T11:59:40Z", "count": 30}
    assert series["buckets"][0] == {"start": "2026-11-01T11:55:00Z", "count": 0}


@pytest.mark.parametrize(
    ("parameters", "count", "length"),
    [
        ({"window": "1h"}, 35, 61),
        ({"window": "24h"}, 42, 25),
        ({"window": "24h", "resolution": "60"}, 42, 1441),
        ({"window": "30d"}, 42, 721),
        ({"from": "2026-11-01T11:00:00Z", "to": "2026-11-01T12:31:00+01:00", "resolution": "60"}, 5, 31),
        ({"from": "2026-11-01T11:00:00Z", "to": "2026-11-01T11:45:00Z", "resolution": "60"}, 5, 45),
        ({"from": str(NOW_S - 60), "to": str(NOW_S), "resolution": "10"}, 30, 6),
    ],
)
async def test_charts_use_open_buckets_too(
    fake: FakeSources, parameters: dict[str, Any], count: int, length: int
) -> None:
    path = "/api/v1/counts/compute.instance.create.start"
    async with served(fake) as client:
        (series,) = (await get(client, path, **parameters))["series"]
    assert (series["count"], len(series["buckets"])) == (count, length)


@pytest.mark.parametrize(
    "parameters",
    [
        {"window": "total"},
        {"resolution": "5"},
        {"from": "yesterday"},
        {"from": "2026-11-01T11:00:00"},
        {"from": "9" * 13},
        {"from": str(NOW_S + 10)},
        {"from": str(NOW_S - 2 * 86_400), "resolution": "10"},
        {"from": "0"},
        {"from": "2026-11-01T11:00:00 00:00"},  # a + that was not escaped
        {"limit": "5"},
    ],
)
async def test_wrong_charts_are_problems(fake: FakeSources, parameters: dict[str, Any]) -> None:
    async with served(fake) as client:
        await get(client, "/api/v1/counts/volume.create.end", 400, **parameters)


async def test_a_priority_without_counts_is_a_line_of_zeros(fake: FakeSources) -> None:
    async with served(fake) as client:
        body = await get(client, "/api/v1/counts/volume.create.end", priority="DEBUG")
    assert [(each["priority"], each["count"]) for each in body["series"]] == [("DEBUG", 0)]


@pytest.mark.parametrize(
    "event_type",
    [
        "with blank",
        "a/b/c",
        "100%",
        "%2F",
        "%252F",
        "a+b",
        "q?x=1#y",
        "<script>alert(1)</script>",
        "\"'&;",
        "naïve.日本.🔔",
        "(dead letters)",
        "a\\b",
        "//x//",
    ],
)
async def test_any_event_type_can_be_addressed(event_type: str) -> None:
    fake = FakeSources()
    fill(fake.totals, {("INFO", event_type): {NOW_S - 20: 3}, ("INFO", "other"): {NOW_S - 20: 4}})
    async with served(fake) as client:
        path = URL("/api/v1/counts/" + quote(event_type, safe=""), encoded=True)
        async with client.get(path) as answer:
            assert answer.status == 200
            body = await answer.json()
    assert body["event_type"] == event_type
    assert [series["count"] for series in body["series"]] == [3]


async def test_an_unknown_event_type_is_not_found(fake: FakeSources) -> None:
    async with served(fake) as client:
        await get(client, "/api/v1/counts/no.such", 404)
        await get(client, "/api/v1/counts/", 404)


# ---------------------------------------------------------------- scheduler, probes, metrics


async def test_the_scheduler_shows_every_class_most_urgent_first(fake: FakeSources) -> None:
    fake.stalls.note(NOW_S, 0.25, 0.2, 0.0, "agents.x")
    fake.stalls.note(NOW_S + 1, 0.5, 0.0, 0.0, "agents.y")
    async with served(fake) as client:
        body = await get(client, "/api/v1/scheduler")
        await get(client, "/api/v1/scheduler", 400, window="5m")
    assert [each["priority"] for each in body["classes"]] == ["CRITICAL", "ERROR", "WARN", "INFO", "DEBUG"]
    assert body["classes"][4] == {
        "priority": "DEBUG",
        "weight": 1.0,
        "share": {"configured": 0.25, "achieved": 0.5, "last_minute": 0.0},
        "virtual_time": 0.0,
        "buffered": {"records": 10, "bytes": 2048},
        "lag": {"records": 70, "seconds": 9.5},
        "dispatched": 1000,
        "service_seconds": 1.5,
    }
    assert body["stalls"] == [
        {"at": "2026-11-01T12:00:01.000Z", "seconds": 0.5, "cause": "work", "where": "agents.y"},
        {"at": "2026-11-01T12:00:00.000Z", "seconds": 0.25, "cause": "processor", "where": None},
    ]


async def test_before_the_start_there_is_nothing_to_show_and_nothing_fails() -> None:
    fake = FakeSources()
    fake.classes.clear()
    fake.complete, fake.as_of = False, 0.0
    async with served(fake) as client:
        assert (await get(client, "/api/v1/scheduler"))["classes"] == []
        assert (await get(client, "/api/v1/counts"))["items"] == []
        for path in ("/", "/metrics"):
            async with client.get(path) as answer:
                assert answer.status == 200


@pytest.mark.parametrize("name", ["live", "ready", "started"])
async def test_each_probe_asks_its_own_check(fake: FakeSources, name: str) -> None:
    path = {"live": "/livez", "ready": "/readyz", "started": "/startupz"}[name]
    async with served(fake) as client:
        for failing in ("live", "ready", "started"):
            fake.failing = {failing}
            async with client.get(path) as answer:
                body = await answer.json()
            if failing == name:
                assert (answer.status, body["status"], body["reasons"]) == (503, "failed", [f"not {name}"])
            else:
                assert (answer.status, body["status"], body["reasons"]) == (200, "ok", [])
            assert body["details"] == {"n": 1}


async def test_a_check_that_raises_has_failed(fake: FakeSources) -> None:
    fake.failing = {"raise"}
    async with served(fake) as client, client.get("/livez") as answer:
        assert answer.status == 503
        assert "ValueError" not in await answer.text()


async def test_metrics_are_those_defined_one_to_one(fake: FakeSources) -> None:
    async with served(fake) as client, client.get("/metrics") as answer:
        assert answer.status == 200
        assert answer.headers["Content-Type"].startswith("text/plain; version=")
        text = await answer.text()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    ours = {name: family for name, family in families.items() if name.startswith("tocsin_")}
    assert set(ours) == {metric.name.removesuffix("_total") for metric in (*METRICS, *HISTOGRAMS)}
    for metric in METRICS:
        family = ours[metric.name.removesuffix("_total")]
        assert (family.type, family.documentation) == (metric.type, metric.help)
        assert family.samples, metric.name
        assert {sample.name for sample in family.samples} == {metric.name}
        assert {tuple(sample.labels) for sample in family.samples} == {metric.labels}
    for each in HISTOGRAMS:
        family = ours[each.name]
        assert (family.type, family.documentation) == (each.type, each.help)
        assert {sample.name.removeprefix(each.name) for sample in family.samples} == {
            "_bucket",
            "_count",
            "_sum",
        }
    assert "process_cpu_seconds" in families


async def test_a_histogram_counts_in_each_bucket_what_lies_below(fake: FakeSources) -> None:
    fake.alerted_latencies[Priority.ERROR].note(10_000, 9_970, 9_970, 3)
    fake.alerted_latencies[Priority.ERROR].note(10_000_000, 0, 0, 2)
    async with served(fake) as client, client.get("/metrics") as answer:
        text = await answer.text()
    (family,) = (
        each
        for each in text_string_to_metric_families(text)
        if each.name == "tocsin_publish_to_alert_seconds"
    )
    of_error = [sample for sample in family.samples if sample.labels["priority"] == "ERROR"]
    buckets = {sample.labels["le"]: sample.value for sample in of_error if "le" in sample.labels}
    assert (buckets["0.025"], buckets["0.05"], buckets["7200.0"], buckets["+Inf"]) == (0, 3, 3, 5)
    values = {sample.name: sample.value for sample in of_error if "le" not in sample.labels}
    assert values[f"{family.name}_count"] == 5
    assert values[f"{family.name}_sum"] == pytest.approx(20_000.09)
    assert "INFO" not in {sample.labels["priority"] for sample in family.samples}


async def test_metrics_have_the_values_of_their_sources(fake: FakeSources) -> None:
    fake.failing = {"ready"}
    async with served(fake) as client, client.get("/metrics") as answer:
        text = await answer.text()
    values = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert values["tocsin_records_counted_total", "ERROR"] == 7
    assert values["tocsin_records_counted_total", "DEBUG"] == 0
    assert values["tocsin_records_forwarded_total", "ERROR"] == 6
    assert values["tocsin_dead_letters_total", "ERROR", "not-json"] == 2
    assert values["tocsin_repairs_total", "double-encoded"] == 3
    assert values["tocsin_records_never_read_total", "INFO"] == 70
    assert values["tocsin_records_counted_and_lost_total", "INFO"] == 30
    assert values["tocsin_time_replaced_total",] == 4
    assert values["tocsin_clock_ahead_seconds",] == 90.0
    assert values["tocsin_record_times_total", "WARN", "seconds"] == 6
    assert values["tocsin_record_times_total", "WARN", "missing"] == 0
    assert values["tocsin_records_late_total", "WARN"] == 8
    assert values["tocsin_class_time_behind_seconds", "WARN"] == 3000
    assert values["tocsin_class_time_ahead_seconds", "WARN"] == 20
    assert values["tocsin_class_time_ahead_seconds", "INFO"] == 0
    assert values["tocsin_class_share_achieved_ratio", "DEBUG"] == 0.5
    assert values["tocsin_class_lag_seconds", "DEBUG"] == 9.5
    assert values["tocsin_class_lag_records", "DEBUG"] == 70
    assert values["tocsin_flush_seconds",] == 0.25
    assert values["tocsin_hub_pings_total", "accepted"] == 9
    assert values["tocsin_hub_pings_total", "refused"] == 0
    assert values["tocsin_hub_untold_seconds",] == 3.5
    assert values["tocsin_store_file_bytes", "partial-counts"] == 5000
    assert values["tocsin_recovery_left_records",] == 11
    assert (values["tocsin_live",], values["tocsin_ready",]) == (1, 0)
    assert sum(1 for name in values if name[0] == "tocsin_dead_letters_total") == 5 * len(Reason)
    assert sum(1 for name in values if name[0] == "tocsin_repairs_total") == len(Repair)


def test_no_label_is_chosen_by_publishers_and_names_follow_the_convention() -> None:
    assert {label for metric in METRICS for label in metric.labels} == {
        "priority",
        "reason",
        "repair",
        "cause",
        "result",
        "version",
        "mode",
        "source",
        "how",
        "table",
        "change",
        "outcome",
    }
    for metric in (*METRICS, *HISTOGRAMS):
        assert metric.name.startswith("tocsin_")
        assert metric.name.endswith("_total") == (metric.type == "counter")
    assert len({metric.name for metric in METRICS}) == len(METRICS)


@pytest.mark.parametrize("accept", ["", "text/plain", "application/openmetrics-text; version=1.0.0"])
async def test_metrics_put_together_in_steps_are_as_if_put_together_at_once(
    fake: FakeSources, accept: str
) -> None:
    registry = CollectorRegistry(auto_describe=False)
    for name in ("first", "second"):
        Gauge(name, f"The {name}.", registry=registry).set(1)
    Counter("third", "The third.", ["label"], registry=registry).labels("a").inc()
    encode, content_type = choose_encoder(accept)
    server = fake.server(registry=registry)
    await server.start()
    async with (
        aiohttp.ClientSession(server.address) as client,
        client.get("/metrics", headers={"Accept": accept}) as answer,
    ):
        assert await answer.read() == encode(registry)
        assert answer.headers["Content-Type"] == content_type
    await server.stop()


async def test_a_window_that_late_notifications_miss_says_so(fake: FakeSources) -> None:
    bucket = int(NOW_S) - int(NOW_S) % 10 - 3000
    row = PublicRow("WARN", 10, bucket, 900, {"slow": 5}, None)
    fake.totals.apply(encode_key("WARN", 10, bucket, 0), encode_value(row, 0), NOW_S)
    async with served(fake) as client:
        short = await get(client, "/api/v1/counts", window="5m")
        page = await (await client.get("/counts?window=5m")).text()
        long = await get(client, "/api/v1/counts", window="24h")
        other = await get(client, "/api/v1/counts", window="5m", priority="INFO")
        other_page = await (await client.get("/counts?window=24h")).text()
    (late,) = short["late"]
    assert (late["priority"], late["behind_s"] // 10) == ("WARN", 299)
    assert late["hint"].startswith("WARN notifications that come in now are dated ")
    assert "the clock of a publisher is slow" in page
    assert "the clock of a publisher is slow" not in other_page
    assert long["late"] == other["late"] == []
