"""The pages of alerts, as a browser without scripts sees them."""

from __future__ import annotations

import asyncio
import re
from typing import Any
from urllib.parse import urljoin

import aiohttp
import orjson
import pytest
from lxml import html
from yarl import URL

from streams.notifications.priority import Priority
from streams.records import UnreadableRecord
from tests.unit.tables.views.alerts_kit import HOSTILE, alert_record, foreign_record, forward
from tests.unit.tables.views.views_kit import NOW_S, FakeSources, fill, served


def sources() -> FakeSources:
    """Sources with three groups of alerts."""
    fake = FakeSources()
    forward(
        fake,
        *(alert_record(number, "disk.full", time_s=NOW_S - 600 + number) for number in range(5)),
        alert_record(9, "compute.a&b", publisher="nova.host9", time_s=NOW_S - 20),
        alert_record(7, "fire", priority=Priority.CRITICAL, partition=2, time_s=NOW_S - 100),
    )
    return fake


#: What the pages are made of.
TAGS = frozenset(
    [
        "html",
        "head",
        "meta",
        "title",
        "link",
        "script",
        "body",
        "a",
        "header",
        "img",
        "nav",
        "p",
        "span",
        "time",
        "button",
        "div",
        "main",
        "section",
        "h1",
        "h2",
        "form",
        "label",
        "input",
        "select",
        "option",
        "table",
        "caption",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "svg",
        "path",
        "wbr",
        "footer",
        "pre",
        "code",
    ]
)


async def page(client: aiohttp.ClientSession, path: str, status: int = 200) -> Any:
    """A page, parsed."""
    async with client.get(URL(path, encoded=True)) as answer:
        text = await answer.text()
        assert answer.status == status, text
        assert answer.content_type == "text/html"
    return html.document_fromstring(text)


def words(found: Any) -> str:
    return " ".join(found.text_content().split())


def rows(found: Any, name: str) -> list[list[str]]:
    return [[words(cell) for cell in row] for row in found.get_element_by_id(name)]


async def test_event_types_that_were_counted_lead_to_their_page() -> None:
    fake = sources()
    fill(fake.totals, {("ERROR", "compute.a&b"): {NOW_S - 20: 3}})
    async with served(fake) as client:
        for path, table in (("/alerts", "groups"), ("/alerts", "latest-alerts"), ("/", "alerts-error")):
            found = await page(client, path)
            links = found.get_element_by_id(table).xpath(".//th//a")
            assert {words(link) for link in links} == {"compute.a&b"}, "others have no page"
            await page(client, urljoin(path, links[0].get("href")))


async def test_groups_come_newest_first_with_counts_chart_and_places() -> None:
    async with served(sources()) as client:
        found = await page(client, "/alerts")
        assert rows(found, "groups") == [
            [
                "21 s ago",
                "ERROR",
                "compute.a&b",
                "nova.host9",
                "1",
                "",
                "alerts.error/0/9",
            ],
            ["1 min ago", "CRITICAL", "fire", "compute.host1", "1", "", "alerts.critical/2/7"],
            [
                "9 min ago",
                "ERROR",
                "disk.full",
                "compute.host1",
                "5",
                "",
                "alerts.error/0/4alerts.error/0/3alerts.error/0/2",
            ],
        ]
        charts = found.xpath("//tbody[@id='groups']//svg")
        assert [each.get("aria-label") for each in charts] == [
            "1 in the last hour",
            "1 in the last hour",
            "5 in the last hour",
        ]
        latest = rows(found, "latest-alerts")
        assert [row[4] for row in latest[:3]] == [
            "alerts.error/0/9",
            "alerts.critical/2/7",
            "alerts.error/0/4",
        ]
        assert len(latest) == 7
        text = words(found)
        assert "What was forwarded lately, as of 12:00:00 UTC." in text
        assert "1 CRITICAL since 2026-11-01T11:58:20Z, 6 ERROR since 2026-11-01T11:50:00Z." in text
        assert [each.get("aria-current") for each in found.xpath("//nav/a[@href='alerts']")] == ["page"]
        # Every link leads somewhere.
        for link in found.xpath("//tbody//a/@href"):
            await page(client, urljoin("/alerts", link))


async def test_filters_are_in_the_address_and_a_group_narrows_down_to_itself() -> None:
    async with served(sources()) as client:
        found = await page(client, "/alerts?priority=ERROR&event_type=d*&publisher=*host1&window=24h")
        assert [row[2] for row in rows(found, "groups")] == ["disk.full"]
        form = found.forms[0]
        assert dict(form.form_values()) == {
            "event_type": "d*",
            "publisher": "*host1",
            "priority": "ERROR",
            "window": "24h",
        }
        found = await page(client, "/alerts")
        narrower = found.get_element_by_id("groups")[0].find(".//td[@class='number']/a").get("href")
        found = await page(client, urljoin("/alerts", narrower))
        assert [row[2] for row in rows(found, "groups")] == ["compute.a&b"]
        assert "No alert that is kept is like this." in words(await page(client, "/alerts?event_type=x"))
        assert "There is no window" in words(await page(client, "/alerts?window=x", 400))


async def test_all_pages_have_every_group_once() -> None:
    fake = FakeSources()
    forward(fake, *(alert_record(number, f"type.{number}") for number in range(130)))
    got: list[str] = []
    path = "/alerts"
    async with served(fake) as client:
        while path:
            found = await page(client, path)
            got += [row[2] for row in rows(found, "groups")]
            onward = found.xpath("//a[@id='next']/@href")
            path = urljoin("/alerts", onward[0]) if onward else ""
    assert sorted(got) == sorted(f"type.{number}" for number in range(130))


async def test_where_there_are_none_it_says_how_one_comes_about() -> None:
    async with served(FakeSources()) as client:
        text = words(await page(client, "/alerts"))
    assert "No alerts yet. A notification of CRITICAL or ERROR becomes one at once" in text
    assert "tocsin publish --event-type disk.full --priority CRITICAL" in text


async def test_where_none_are_kept_it_says_what_to_change() -> None:
    fake = FakeSources()
    fake.alerts.most = 0
    async with served(fake) as client:
        assert "give TOCSIN_FEED_ENTRIES more than 0" in words(await page(client, "/alerts"))
    fake.alerts.most = 500
    async with served(fake, forward_priorities="none") as client:
        text = words(await page(client, "/alerts"))
    assert "give TOCSIN_FORWARD_PRIORITIES some" in text
    assert "No alerts yet" not in text


async def test_it_says_when_it_is_not_up_to_date() -> None:
    fake = FakeSources()
    fake.alerts.complete, fake.alerts.as_of = False, 0.0
    async with served(fake) as client:
        text = words(await page(client, "/alerts"))
        assert "Still reading the last alerts" in text
        assert "No alerts yet" not in text
    fake.alerts.trouble = "This worker may not read alerts.error: grant Read on it."
    async with served(fake) as client:
        assert fake.alerts.trouble in words(await page(client, "/alerts"))
    fake.alerts.complete, fake.alerts.trouble = True, None
    fake.alerts.missing = [("alerts.error", number) for number in range(12)]
    async with served(fake) as client:
        text = words(await page(client, "/alerts"))
    assert "do not answer for alerts.error/0, alerts.error/1," in text
    assert "alerts.error/9 and more, so that alerts may be missing" in text


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
async def test_hostile_text_is_text_and_nothing_else(text: str) -> None:
    fake = FakeSources()
    forward(fake, foreign_record(1, text, text[:6000], {text[:6000]: text[:6000]}))
    async with served(fake, web_payloads=True) as client:
        asked = str(URL("/alerts").with_query(event_type=text[:1000], publisher=text[:1000]))
        for path in ("/alerts", "/alert?topic=alerts.error&partition=0&offset=1", asked):
            found = await page(client, path)
            assert {each.tag for each in found.iter() if isinstance(each.tag, str)} <= TAGS
            assert [each.get("src") for each in found.iter("script")] == ["static/live.js"]
            assert not [name for each in found.iter() for name in each.attrib if name.startswith("on")]
            shown = html.tostring(found, encoding="unicode")
            assert "\u202e" not in found.text_content()
            assert "\u200b" not in found.text_content()
            assert len(shown) < 60_000
        assert [each.value for each in found.xpath("//input[@type='search']")] == [text[:1000]] * 2


async def test_an_alert_has_a_page_with_labels_and_where_it_stems_from() -> None:
    async with served(sources()) as client:
        found = await page(client, "/alert?topic=alerts.critical&partition=2&offset=7")
        text = words(found)
        assert found.xpath("//a[@href='event?type=fire']")
    assert "Stems from" in text
    assert "notifications.critical/3/7 message m7" in text
    assert "Notifications are not shown: TOCSIN_WEB_PAYLOADS=true allows it." in text
    assert re.search(r"severity\s*critical", text)


@pytest.mark.parametrize(
    ("query", "lacking"),
    [
        ("", "topic, partition and offset"),
        ("?topic=alerts.error", "partition and offset"),
        ("?topic=&partition=0&offset=7", "topic"),
        ("?topic=alerts.error&partition=0", "offset"),
    ],
)
async def test_what_the_address_of_an_alert_lacks_is_told(query: str, lacking: str) -> None:
    async with served(sources()) as client:
        text = words(await page(client, f"/alert{query}", 400))
    assert f"The address lacks {lacking}: that of an alert has topic, partition and offset." in text


async def test_what_was_published_is_shown_only_where_that_is_allowed_and_masked() -> None:
    fake = FakeSources()
    forward(fake, alert_record(1, payload={"password": "s3cret", "pin": "4711", "host": "h1"}))
    path = "/alert?topic=alerts.error&partition=0&offset=1"
    async with served(fake) as client:
        assert "4711" not in words(await page(client, path))
    async with served(fake, web_payloads=True, web_mask_keys="pin") as client:
        (shown,) = (await page(client, path)).xpath("//pre[@class='payload']")
    assert orjson.loads(shown.text)["payload"] == {"password": "***", "pin": "***", "host": "h1"}


@pytest.mark.parametrize(
    ("query", "status", "said"),
    [
        ("?topic=alerts.error&partition=0&offset=99", 404, "No alert of this place is kept"),
        ("?topic=alerts.error&partition=x&offset=1", 400, "The partition is a number"),
        ("?topic=alerts.error&partition=0&offset=1&a=b", 400, "There is no parameter 'a'"),
    ],
)
async def test_a_wrong_place_is_told(query: str, status: int, said: str) -> None:
    async with served(sources()) as client:
        assert said in words(await page(client, f"/alert{query}", status))


async def test_an_unreadable_record_says_where_its_dead_letter_lies() -> None:
    body = {
        "labels": {"alertname": "unreadable", "rule": "unreadable"},
        "annotations": {"summary": "ERROR from an unnamed publisher cannot be read (not-json)"},
        "deadLetter": {"topic": "dead-letters", "id": "id:3:9", "reason": "not-json"},
        "notification": None,
    }
    fake = FakeSources()
    value = orjson.dumps(body)
    forward(fake, UnreadableRecord("alerts.error", 0, 1, "", NOW_S * 1000, value=value, headers=()))
    async with served(fake, web_payloads=True) as client:
        text = words(await page(client, "/alert?topic=alerts.error&partition=0&offset=1"))
        groups = rows(await page(client, "/alerts"), "groups")
    assert "id:3:9 in dead-letters, not-json" in text
    assert groups[0][2] == "unreadableERROR from an unnamed publisher cannot be read (not-json)"
    assert groups[0][3] == "not named"


async def test_a_new_alert_is_on_the_page_though_no_count_has_changed() -> None:
    fake = sources()
    async with served(fake) as client:
        before = rows(await page(client, "/alerts"), "groups")
        forward(fake, alert_record(50, "news", time_s=NOW_S))
        async with asyncio.timeout(10):
            while (found := rows(await page(client, "/alerts"), "groups")) == before:
                pass
    assert found[0][2] == "news"


async def test_a_page_of_many_groups_with_long_names_stays_small() -> None:
    fake = FakeSources()
    forward(
        fake,
        *(
            alert_record(number, f"{number:03}." + "long-name." * 20, publisher="p" * 255)
            for number in range(400)
        ),
    )
    async with served(fake) as client, client.get("/alerts") as answer:
        assert len(await answer.read()) < 300_000
