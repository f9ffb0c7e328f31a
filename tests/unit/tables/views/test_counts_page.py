"""The pages Counts and Event type: what they show, where they lead, and how much there is of them."""

from __future__ import annotations

import gzip
import random
import re
from collections import Counter
from html.parser import HTMLParser
from typing import Any

import aiohttp
import pytest
from yarl import URL

from streams.notifications.priority import Priority
from tables.reserved_types import DEAD_LETTERS, OVERFLOW
from tables.totals import Totals
from tables.views.pages.links import event_address, event_id, moved
from tests.unit.tables.views.test_feeds import fill as forward
from tests.unit.tables.views.test_feeds import record as alert
from tests.unit.tables.views.test_pages import HOSTILE
from tests.unit.tables.views.views_kit import NOW_S, FakeSources, fill, get, sample, served

_VOID = {"meta", "link", "input", "img", "br", "wbr"}


class Seen(HTMLParser):
    """A page as a browser without scripts has it; every element must end where it may."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        #: Rows of all tables, each as the texts of its cells; and where the links in them lead.
        self.rows: list[list[str]] = []
        self.links: list[tuple[str, str]] = []
        self.words = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len({*names})
        self.tags.append((tag, dict(attrs)))
        if tag not in _VOID:
            self._open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag == "a":
            self.links.append(("", dict(attrs)["href"] or ""))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data
        if {"td", "th"} & {*self._open}:
            self.rows[-1][-1] += data
        if "a" in self._open:
            self.links[-1] = self.links[-1][0] + data, self.links[-1][1]

    def named(self, tag: str) -> list[dict[str, str | None]]:
        """Attributes of all ``tag``."""
        return [attributes for name, attributes in self.tags if name == tag]

    def link(self, words: str) -> str:
        """Where the one link with these words leads."""
        (found,) = {address for text, address in self.links if text == words}
        return found


async def load(client: aiohttp.ClientSession, path: str, status: int = 200) -> Seen:
    """A page."""
    async with client.get(path) as answer:
        assert answer.status == status
        return Seen(await answer.text())


def urgent_and_not() -> FakeSources:
    """Sources with counts of several priorities."""
    fake = FakeSources()
    fill(
        fake.totals,
        {
            ("DEBUG", "many"): {NOW_S - 20: 900},
            ("CRITICAL", "few"): {NOW_S - 200: 1},
            ("ERROR", "few"): {NOW_S - 20: 7},
            ("CRITICAL", "more"): {NOW_S - 40: 2},
            ("ERROR", "some"): {NOW_S - 20: 30},
            ("INFO", "before"): {NOW_S - 7200: 5},
        },
    )
    return fake


PAGES = ("First page", "Previous page", "Next page")


def names(seen: Seen) -> list[str]:
    """Event types of the table, in order."""
    return [row[0] for row in seen.rows[1:]]


async def test_a_row_for_each_event_type_and_a_column_for_each_priority() -> None:
    async with served(urgent_and_not()) as client:
        seen = await load(client, "/counts")
    assert [head.rstrip("▲▼") for head in seen.rows[0]] == [
        "Event type",
        "CRITICAL",
        "ERROR",
        "WARN",
        "INFO",
        "DEBUG",
        "Total",
        "Per second",
        "Last hour",
        "Last seen, UTC",
    ]
    assert [row[:8] + row[9:] for row in seen.rows[1:]] == [
        ["more", "2", "0", "0", "0", "0", "2", "0.033", "11:59:20"],
        ["few", "1", "7", "0", "0", "0", "8", "0.12", "11:59:40"],
        ["some", "0", "30", "0", "0", "0", "30", "0.5", "11:59:40"],
        ["many", "0", "0", "0", "0", "900", "900", "15", "11:59:40"],
    ]
    assert "Rows 1 to 4 of 4" in seen.words
    assert all(head["scope"] in ("col", "row") for head in seen.named("th"))
    assert len(seen.named("caption")) == len(seen.named("table")) == 1


async def test_rows_that_are_of_no_event_type_are_explained() -> None:
    fake = sample()
    async with served(fake) as client:
        assert "could not be read" not in (await load(client, "/counts")).words  # the control
    for reserved, words in ((DEAD_LETTERS, "could not be read"), (OVERFLOW, "TOCSIN_MAX_EVENT_TYPES")):
        fake = sample()
        fill(fake.totals, {("ERROR", reserved): {NOW_S - 20: 3}})
        async with served(fake) as client:
            found = await load(client, "/counts")
            assert reserved in [row[0] for row in found.rows]
            assert words in found.words
            in_notes = found.text.partition('<div id="notes"')[2]
            assert ('href="dead-letters"' in in_notes) == (reserved == DEAD_LETTERS)


async def test_the_heads_order_the_rows_and_say_how_they_are_ordered() -> None:
    def by_now(seen: Seen) -> dict[str, str]:
        heads = [head for head in seen.named("th") if head["scope"] == "col"]
        return {
            text.rstrip("▲▼"): head["aria-sort"] or ""
            for text, head in zip(seen.rows[0], heads, strict=True)
            if "aria-sort" in head
        }

    async with served(urgent_and_not()) as client:
        seen = await load(client, "/counts?window=24h")
        assert by_now(seen) == {"CRITICAL": "descending"}
        for head, order, first in (
            ("ERROR", "descending", "some"),
            ("Total", "descending", "many"),
            ("Total▼", "ascending", "more"),
            ("Per second", "descending", "many"),
            ("Last seen, UTC", "descending", "few"),
            ("Event type", "ascending", "before"),
            ("Event type▲", "descending", "some"),
            ("CRITICAL", "descending", "more"),
            ("CRITICAL▼", "ascending", "some"),
        ):
            seen = await load(client, f"/{seen.link(head)}")
            assert by_now(seen) == {head.rstrip("▲▼"): order}
            assert names(seen)[0] == first
            assert all("window=24h" in address for _, address in seen.links if "sort=" in address)


async def test_pages_of_the_table_keep_all_that_was_asked() -> None:
    fake = FakeSources()
    fill(fake.totals, {("INFO", f"a.{n}&<{n}"): {NOW_S - 20: n + 1} for n in range(70)})
    asked = "window=1h&event_type=a.*%26*&priority=INFO&sort=event_type&limit=30"
    path, got, back = f"/counts?{asked}", [], []
    async with served(fake) as client:
        while path:
            seen = await load(client, path)
            assert {
                option.get("value") or text
                for option, text in zip(
                    seen.named("option"), re.findall(r"<option[^>]*>([^<]*)", seen.text), strict=True
                )
                if "selected" in option
            } == {"1h", "INFO", "30"}
            assert [(field["type"], field["name"], field["value"]) for field in seen.named("input")] == [
                ("search", "event_type", "a.*&*"),
                ("hidden", "sort", "event_type"),
            ]
            got += names(seen)
            back.append([text for text, _ in seen.links if text in PAGES])
            has_next = "Next page" in back[-1]
            path = f"/{seen.link('Next page')}" if has_next else ""
        assert got == sorted(f"a.{n}&<{n}" for n in range(70))
        assert back == [
            ["Next page"],
            ["First page", "Previous page", "Next page"],
            ["First page", "Previous page"],
        ]
        assert "Rows 61 to 70 of 70" in seen.words
        beyond = await load(client, f"/counts?{asked}&page=9")
        assert "There are only 70 rows." in beyond.words
        assert beyond.link("Previous page").endswith("page=3")


async def test_a_count_leads_to_its_chart() -> None:
    async with served(urgent_and_not()) as client:
        seen = await load(client, "/counts?window=24h")
        assert seen.link("7") == "event?type=few&window=24h&priority=ERROR"
        assert seen.link("few") == "event?type=few&window=24h"
        narrow = await load(client, f"/{seen.link('7')}")
    (figure,) = narrow.named("svg")
    assert (figure["aria-label"] or "").startswith("ERROR: 7 notifications, at most 7 in ")
    assert "24 hours" in narrow.words


@pytest.mark.parametrize("path", ["/counts", "/event?type=a"])
async def test_while_nothing_was_counted_the_page_says_how_to_begin(path: str) -> None:
    async with served(FakeSources()) as client:
        seen = await load(client, path, 200 if path == "/counts" else 404)
        assert "tocsin publish --priority error --event-type disk.full" in seen.words
    async with served(urgent_and_not()) as client:
        seen = await load(client, "/counts?event_type=none.*")
        assert "No notifications here in this window." in seen.words
        assert "tocsin publish" not in seen.words


# ---------------------------------------------------------------- addresses of before


@pytest.mark.parametrize(
    ("before", "now"),
    [
        (
            "window=1h&event_type=compute.*&priority=ERROR&sort=-count",
            "counts?window=1h&event_type=compute.%2A&priority=ERROR&sort=-total",
        ),
        ("sort=priority", "counts"),
        ("sort=-priority&limit=10", "counts?sort=critical&limit=10"),
        ("sort=count&cursor=abc", "counts?sort=total"),
        ("sort=-last_seen", "counts?sort=-last_seen"),
        ("sort=nothing&window=no", "counts?window=no"),
        ("event_type=%22%0d%0aSet-Cookie:x", "counts?event_type=%22%0D%0ASet-Cookie%3Ax"),
    ],
)
async def test_a_bookmark_of_before_leads_to_the_counts(before: str, now: str) -> None:
    async with served(urgent_and_not()) as client:
        async with client.get(URL(f"/?{before}", encoded=True), allow_redirects=False) as answer:
            assert (answer.status, answer.headers["Location"]) == (302, now)
        async with client.get("/?x=1", allow_redirects=False) as answer:
            assert answer.status == 200, "no parameter of before"
    assert moved([]) is None


# ---------------------------------------------------------------- one event type


async def test_an_event_type_has_charts_values_totals_and_alerts() -> None:
    fake = sample()
    error = "compute.instance.create.error"
    forward(
        fake,
        alert("alerts.error", 0, error),
        alert("alerts.error", 1, "other"),
        alert("alerts.error", 2, error),
    )
    async with served(fake) as client:
        seen = await load(client, "/event?type=compute.instance.create.error&window=24h")
        one = await load(client, "/event?type=compute.instance.create.error&priority=error")
    charts = seen.named("svg")
    assert [(chart["role"], (chart["aria-label"] or "").partition(".")[0]) for chart in charts] == [
        ("img", "CRITICAL: 1 notification, at most 1 in 2026-11-01 10:00 to 11:00 UTC"),
        ("img", "ERROR: 12 notifications, at most 12 in 2026-11-01 11:00 to 12:00 UTC"),
    ]
    assert "<title>2026-11-01 11:00 to 12:00: 12 ERROR</title>" in seen.text
    values = [row for row in seen.rows if " to " in row[0]]
    assert len(values) == 25
    assert values[0] == ["2026-11-01 12:00 to 13:00", "0", "0"]
    assert values[1] == ["2026-11-01 11:00 to 12:00", "0", "12"]
    assert values[2] == ["2026-11-01 10:00 to 11:00", "1", "0"]
    assert ["CRITICAL", "1", "1", "10:53:20"] in seen.rows
    assert ["ERROR", "12", "12", "11:59:40"] in seen.rows
    assert ["CRITICAL", "not shown", "1", "10:53:20"] in one.rows
    assert len(one.named("svg")) == 1
    alerts = [row for row in seen.rows if "alerts.error" in " ".join(row)]
    assert len(alerts) == 2
    assert all("compute.host1" in " ".join(row) for row in alerts)


async def test_a_name_with_wildcards_gets_the_alerts_of_that_name_alone() -> None:
    fake = FakeSources()
    fill(fake.totals, {("ERROR", "disk*"): {NOW_S - 5: 1}})
    forward(fake, alert("alerts.error", 0, "disk*"), alert("alerts.error", 1, "disk.full"))
    async with served(fake) as client:
        seen = await load(client, "/event?type=disk*")
    assert len([row for row in seen.rows if "alerts.error" in " ".join(row)]) == 1


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/event", 400, "Give the event type as 'type'"),
        ("/event?type=volume.create.end&window=2h", 400, "There is no window '2h'"),
        ("/event?type=none", 404, "No notification of this event type was counted yet."),
        ("/event?id=0123456789abcdef01234567", 404, "No notification of this event type was counted yet."),
    ],
)
async def test_what_cannot_be_shown_is_told_on_the_page(path: str, status: int, words: str) -> None:
    async with served(sample()) as client:
        seen = await load(client, path, status)
    assert words in seen.words
    assert seen.link("All event types") == "counts"


@pytest.mark.parametrize(
    "event_type", [*HOSTILE, "disk\u202efull\u200b", "é" * 90, "x" * 4096, "\U0001f4a5" * 4096]
)
async def test_hostile_names_are_cut_in_the_table_and_whole_on_their_own_page(event_type: str) -> None:
    fake, plain = FakeSources(), FakeSources()
    fill(fake.totals, {("INFO", event_type): {NOW_S - 20: 3}})
    fill(plain.totals, {("INFO", "plain"): {NOW_S - 20: 3}})
    shown = event_type.replace("\u202e", "\\u202e").replace("\u200b", "\\u200b")
    async with served(fake) as client, served(plain) as other:
        seen, harmless = await load(client, "/counts"), await load(other, "/counts")
        assert [tag for tag, _ in seen.tags if tag != "wbr"] == [tag for tag, _ in harmless.tags]
        assert names(seen) == [shown if len(shown) <= 100 else f"{shown[:100]}…"]
        assert len(seen.text) < len(harmless.text) + 1500
        own = await load(client, f"/{seen.link('3')}")
        like = await load(other, f"/{harmless.link('3')}")
    assert [tag for tag, _ in own.tags if tag != "wbr"] == [tag for tag, _ in like.tags if tag != "wbr"]
    whole = own.text.replace("<wbr>", "")
    assert f">{shown}<" in whole.replace("&lt;", "<").replace("&gt;", ">").replace("&#34;", '"').replace(
        "&#39;", "'"
    ).replace("&amp;", "&")


def test_an_address_of_a_long_name_is_short_and_its_own() -> None:
    assert event_address("a b&c", priority="ERROR", window="") == "event?type=a%20b%26c&priority=ERROR"
    long = ["x" * 201, "x" * 202, "é" * 40, "é" * 41]
    assert {event_address(name) for name in long} == {f"event?id={event_id(name)}" for name in long}
    assert len({event_id(name) for name in long}) == 4


# ---------------------------------------------------------------- 2,000 event types


def many(number: int = 2000) -> Totals:
    """Counts of event types in all priorities and in every part of the hour: a page can say no more."""
    chosen = random.Random(16)
    parts = (
        ["compute", "network", "volume", "identity"],
        ["instance", "port", "snapshot"],
        ["create", "resize"],
    )
    types = [".".join([*map(chosen.choice, parts), f"step{n}", "end"]) for n in range(number)]
    totals = Totals()
    times = [NOW_S - place * 180 - 30 for place in range(20)]
    counts = {
        (priority, name): {time_s: chosen.randrange(1, 5000) for time_s in times}
        for name in types
        for priority in [*Priority][:5]
    }
    fill(totals, counts)
    return totals


async def test_2000_event_types_are_less_than_300_kilobytes() -> None:
    fake = FakeSources()
    fake.totals = many()
    sizes: dict[str, Any] = {}
    async with (
        served(fake) as opened,
        aiohttp.ClientSession(opened._base_url, auto_decompress=False) as client,
    ):
        for path in ("/counts?window=1h&limit=2000", "/counts?window=1h"):
            async with client.get(path, headers={"Accept-Encoding": "gzip"}) as answer:
                body = await answer.read()
                assert answer.headers["Content-Encoding"] == "gzip"
                assert int(answer.headers["Content-Length"]) == len(body)
            text = gzip.decompress(body)
            sizes[path] = len(body), len(text), text.count(b"<tr data-key")
    all_rows, usual = sizes.values()
    assert all_rows[2] == 2000
    assert all_rows[0] < 300_000, "as it is sent"
    assert usual[2] == 100
    assert usual[1] < 300_000, "even before it is packed"


async def test_the_api_says_what_the_page_says() -> None:
    fake = FakeSources()
    fake.totals = many(30)
    async with served(fake) as client:
        seen = await load(client, "/counts?window=1h")
        found: list[Any] = []
        cursor = None
        while True:
            asked = {"window": "1h", "limit": 7} | ({"cursor": cursor} if cursor else {})
            body = await get(client, "/api/v1/matrix", **asked)
            assert (body["matched"], body["trend_step_s"], body["complete"]) == (30, 180, True)
            found += body["items"]
            if (cursor := body["next"]) is None:
                break
        counts = await get(client, "/api/v1/counts", window="1h", limit=1000)
    assert [item["event_type"] for item in found] == names(seen)
    assert [f"{item['total']:,}".replace(",", "\u202f") for item in found] == [
        row[6] for row in seen.rows[1:]
    ]
    sums: Counter[tuple[str, str]] = Counter()
    for item in found:
        sums.update({(item["event_type"], name): count for name, count in item["counts"].items()})
        assert sum(item["counts"].values()) == item["total"]
        assert len(item["trend"]) == 20
        assert 0 < sum(item["trend"]) <= item["total"]
    assert sums == {(each["event_type"], each["priority"]): each["count"] for each in counts["items"]}
