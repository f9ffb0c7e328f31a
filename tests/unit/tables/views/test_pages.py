"""The page: complete without JavaScript, safe whatever publishers send."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from importlib import resources

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from tables.views.pages.charts import sparkline
from tables.views.pages.templating import breakable, cut, number, rate, short
from tables.views.times import age, parse_time, rfc3339
from tables.views.units import byte_size
from tests.unit.tables.views.views_kit import NOW_S, FakeSources, fill

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'onmouseover='alert(1)",
    "{{7*7}}{% raw %}",
    "</td></tr></table><h1>owned",
    "&lt;b&gt;",
    "javascript:alert(1)",
]


class _Seen(HTMLParser):
    """Tags with their attributes, and texts of the cells that head a row."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.heads: list[str] = []
        self.words = ""
        self._in_head = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "th":
            self._in_head = dict(attrs).get("scope") == "row"
            if self._in_head:
                self.heads.append("")

    def handle_endtag(self, tag: str) -> None:
        if tag == "th":
            self._in_head = False

    def handle_data(self, data: str) -> None:
        self.words += data
        if self._in_head:
            self.heads[-1] += data

    def named(self, tag: str) -> list[dict[str, str | None]]:
        """Attributes of all ``tag``."""
        return [attributes for name, attributes in self.tags if name == tag]


async def load(fake: FakeSources, path: str = "/counts", status: int = 200) -> _Seen:
    """The page as a browser without JavaScript sees it."""
    server = fake.server()
    await server.start()
    try:
        async with aiohttp.ClientSession(server.address) as client, client.get(path) as answer:
            assert answer.status == status
            assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
            return _Seen(await answer.text())
    finally:
        await server.stop()


async def test_the_page_shows_counts_classes_and_health_without_script() -> None:
    fake = FakeSources()
    fill(fake.totals, {("ERROR", "compute.instance.create.error"): {NOW_S - 20: 12_345}})
    seen = await load(fake)
    assert seen.heads == ["compute.instance.create.error"]
    assert "12\u202f345" in seen.words
    assert "11:59:40" in seen.words
    assert "12:00:00" in seen.words
    assert "complete" in seen.words
    seen = await load(fake, "/")
    assert seen.heads == ["CRITICAL", "ERROR", "WARN", "INFO", "DEBUG"]
    assert "50\u00a0%" in seen.words
    assert [bar["width"] for bar in seen.named("rect") if bar["class"] == "bar"] == ["50.00"] * 5


@pytest.mark.parametrize("event_type", HOSTILE)
async def test_hostile_event_types_are_text_and_nothing_else(event_type: str) -> None:
    fake = FakeSources()
    plain = FakeSources()
    fill(fake.totals, {("INFO", event_type): {NOW_S - 20: 3}})
    fill(plain.totals, {("INFO", "plain"): {NOW_S - 20: 3}})
    seen, harmless = await load(fake), await load(plain)
    assert event_type in seen.heads
    assert [(name, found.keys()) for name, found in seen.tags if name != "wbr"] == [
        (name, found.keys()) for name, found in harmless.tags
    ]


@pytest.mark.parametrize("text", HOSTILE)
async def test_hostile_parameters_come_back_as_text_in_the_field(text: str) -> None:
    path = str(URL("/counts").with_query(event_type=text))
    seen = await load(FakeSources(), path)
    assert [field["value"] for field in seen.named("input")] == [text]
    assert len(seen.named("script")) == 1
    wrong = await load(FakeSources(), str(URL("/counts").with_query(window=text)), 400)
    assert "There is no window" in wrong.words
    assert text not in wrong.words
    assert len(wrong.named("script")) == 1


async def test_what_cannot_be_seen_in_an_event_type_is_shown() -> None:
    fake = FakeSources()
    fill(fake.totals, {("ERROR", "disk\u3164.full\U000e0041"): {NOW_S - 20: 1}})
    assert (await load(fake)).heads == ["disk\\u3164.full\\U000e0041"]


async def test_wrong_parameters_are_told_on_the_page() -> None:
    seen = await load(FakeSources(), "/counts?limit=2001", 400)
    assert "The limit is a number from 1 to 2000." in seen.words
    assert (await load(FakeSources(), "/counts?limit=2000")).named("table")


async def test_what_is_wrong_is_said_at_the_top() -> None:
    fake = FakeSources()
    fake.failing, fake.complete, fake.missing, fake.as_of = {"ready"}, False, {1, 2}, NOW_S - 100.0
    seen = await load(fake)
    for words in (
        "not ready",
        "2 partitions were not read to their ends in the last 10 s",
        "Missing: 1, 2.",
        "1 min old",
    ):
        assert words in seen.words
    assert "still reading" not in seen.words, "nobody reads while no broker answers"
    fake.failing = {"live"}
    assert "stuck" in (await load(fake)).words
    fake.failing = set()
    assert "Not up to date" not in (await load(FakeSources())).words


@pytest.mark.parametrize(("page", "files"), [("/", 4), ("/counts", 3)])
async def test_everything_the_page_loads_is_its_own_and_there(page: str, files: int) -> None:
    fake = FakeSources()
    server = fake.server()
    await server.start()
    async with aiohttp.ClientSession(server.address) as client:
        async with client.get(page) as answer:
            seen = _Seen(await answer.text())
        wanted = [
            tag.get("src") or tag.get("href")
            for name, tag in seen.tags
            if name in ("script", "link", "img") and tag.get("rel") != "alternate"
        ]
        assert len(set(wanted)) >= 3
        for path in wanted:
            assert path is not None
            assert path.startswith("static/"), "it is relative"
            async with client.get(path) as answer:
                assert answer.status == 200
                assert answer.content_type in ("text/css", "text/javascript", "image/svg+xml")
                assert await answer.read()
    await server.stop()
    assert not [tag for _, tag in seen.tags if "style" in tag or any(name.startswith("on") for name in tag)]


async def test_every_field_has_a_label_and_every_table_heads_and_a_caption() -> None:
    seen = await load(FakeSources())
    names = [name for name, _ in seen.tags]
    fields = [at for at, name in enumerate(names) if name in ("select", "input")]
    assert len(fields) == 4
    assert all(names[at - 1] == "label" for at in fields)
    assert names.count("caption") == names.count("table") == 1
    assert all("scope" in head for head in seen.named("th"))
    assert seen.named("html") == [{"lang": "en"}]


SCRIPTS = [
    file.name
    for file in resources.files("tables.views").joinpath("static").iterdir()
    if file.name.endswith(".js")
]


@pytest.mark.parametrize("name", SCRIPTS)
def test_no_script_makes_markup_of_text(name: str) -> None:
    script = resources.files("tables.views").joinpath("static", name).read_text()
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function", script
    )


@given(text=st.text(alphabet="ab.<>&\"'_/-:", max_size=30))
def test_breaking_an_event_type_changes_no_character(text: str) -> None:
    shown = breakable(text)
    assert str(shown.replace("<wbr>", "").unescape()) == text
    assert not re.search(r"<(?!wbr>)", str(shown))


def test_rates_and_cut_names_for_people() -> None:
    assert [rate(r) for r in (-1, 0, 0.001, 0.05, 0.333, 1, 9.94, 12.3, 99.6, 12345.6)] == [
        "0",
        "0",
        "< 0.01",
        "0.05",
        "0.33",
        "1.0",
        "9.9",
        "12",
        "100",
        "12\u202f346",
    ]
    assert cut("x" * 200) == "x" * 200
    assert cut("x" * 201) == "x" * 200 + "…"


@given(st.lists(st.floats(0, 1e9), max_size=70))
def test_a_sparkline_has_a_bar_for_each_value_that_is_not_nothing(values: list[float]) -> None:
    chart = str(sparkline(values, 'a "label" & <more>'))
    assert chart.count("M") == sum(value > 0 for value in values)
    assert 'aria-label="a &#34;label&#34; &amp; &lt;more&gt;"' in chart
    assert all(0 < float(height) <= 20 for height in re.findall(r"v-([^h]+)h", chart))
    assert "aria-hidden" in str(sparkline(values))


def test_numbers_sizes_and_ages_for_people() -> None:
    assert [number(n) for n in (0, 999, 1234567)] == ["0", "999", "1\u202f234\u202f567"]
    assert [byte_size(n) for n in (0, 1023, 1536, 5 * 2**20, 3 * 2**30)] == [
        "0 B",
        "1023 B",
        "1.5 KiB",
        "5.0 MiB",
        "3.0 GiB",
    ]
    assert [age(s) for s in (-1, 59.9, 60, 7200, 172_800)] == ["0 s", "59 s", "1 min", "2 h", "2 d"]


@given(st.integers(1, 4_000_000_000_000))
def test_times_survive_being_text(milliseconds: int) -> None:
    text = rfc3339(milliseconds / 1000)
    assert text is not None
    assert text.endswith("Z")
    assert round(parse_time(text) * 1000) == milliseconds


def test_large_numbers_have_three_digits_that_count() -> None:
    assert [short(n) for n in (0, 9999, 10_000, 31_544, 999_499, 999_500, 1_213_456, 2e9)] == [
        "0",
        "9\u202f999",
        "10.0\u202fk",
        "31.5\u202fk",
        "999\u202fk",
        "1.00\u202fM",
        "1.21\u202fM",
        "2.00\u202fG",
    ]


def test_what_has_no_date_is_null() -> None:
    assert rfc3339(0) is None
    assert rfc3339(1e18) is None
