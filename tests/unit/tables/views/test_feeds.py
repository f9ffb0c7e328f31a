"""Atom feeds of alerts: valid for readers that others wrote, and the same on every worker."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from typing import Any, Final

import aiohttp
import feedparser
import orjson
import pytest
import rnc2rng
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree
from yarl import URL

from streams.notifications.priority import Priority
from streams.records import UnreadableRecord
from streams.settings import ConfigurationError, load_settings
from tables.feeds import Feed, feeds_of, pinged_feeds
from tables.recent_alerts import Alert
from tables.views.atom import PAGE_ENTRIES, Page, pages_of
from tests.unit.tables.views.views_kit import NOW_S, FakeAlerts, FakeSources, get, served

#: rnc2rng declares a prefix for names in no namespace, which XML does not allow, and does not use it.
_SCHEMA_XML: Final = rnc2rng.dumps(rnc2rng.load(str(Path(__file__).with_name("atom.rnc")))).replace(
    'xmlns:local=""', ""
)
SCHEMA: Final = etree.RelaxNG(etree.fromstring(_SCHEMA_XML.encode()))
ATOM: Final = "{http://www.w3.org/2005/Atom}"
ERRORS, CRITICALS = "alerts.error", "alerts.critical"


def record(
    topic: str,
    offset: int,
    event_type: str = "disk.full",
    *,
    time_s: float = NOW_S - 60,
    publisher: str = "compute.host1",
    ce_id: str | None = None,
    ce_time: str | None = "2026-11-01T11:00:00.000Z",
) -> UnreadableRecord:
    """The record of a forwarded alert."""
    body = {
        "labels": {"alertname": event_type, "publisher_id": publisher},
        "annotations": {"summary": f"ERROR {event_type} from {publisher}"},
        "notification": {"payload": {"n": offset}},
    }
    headers = [("ce_id", (ce_id or f"{topic}-{offset}").encode()), ("ce_subject", event_type.encode())]
    if ce_time is not None:
        headers.append(("ce_time", ce_time.encode()))
    return UnreadableRecord(
        topic, 0, offset, "", round(time_s * 1000), value=orjson.dumps(body), headers=tuple(headers)
    )


def fill(fake: FakeSources, *records: UnreadableRecord) -> None:
    for each in records:
        assert len(list(fake.alerts.memory.take((each.topic, each.partition), [each]))) == 1


def sources() -> FakeSources:
    """Sources with an alert of each priority, and one of another type."""
    fake = FakeSources()
    fill(
        fake,
        record(ERRORS, 1, "compute.a", time_s=NOW_S - 60),
        record(ERRORS, 2, "disk", time_s=NOW_S - 50),
        record(CRITICALS, 3, "compute.b", time_s=NOW_S - 55.5),
    )
    return fake


async def feed(client: aiohttp.ClientSession, path: str, **parameters: Any) -> Any:
    """What feedparser reads of a valid feed."""
    async with client.get(path, params=parameters) as answer:
        document = await answer.read()
        assert answer.status == 200, document
        assert answer.content_type == "application/atom+xml"
    return valid(document)


def valid(document: bytes) -> Any:
    """What feedparser reads; fails unless the schema of RFC 4287 and feedparser take it."""
    tree = etree.fromstring(document)
    assert SCHEMA.validate(tree), SCHEMA.error_log
    # The Schematron rules of the schema.
    assert tree.find(f"{ATOM}author") is not None
    assert all(entry.find(f"{ATOM}content") is not None for entry in tree.iter(f"{ATOM}entry"))
    found = feedparser.parse(document)
    assert not found.bozo, found.get("bozo_exception")
    return found


def event_types(found: Any) -> list[str]:
    return [
        tag.term for entry in found.entries for tag in entry.tags if tag.scheme == "urn:tocsin:event-type"
    ]


async def test_a_feed_says_what_the_alerts_say() -> None:
    async with served(sources()) as client:
        found = await feed(client, "/feeds/alerts.atom")
    assert event_types(found) == ["disk", "compute.b", "compute.a"]
    entry = found.entries[0]
    assert entry.title == "ERROR disk from compute.host1"
    assert entry.author == "compute.host1"
    assert entry.updated == "2026-11-01T11:59:10.000Z"
    assert entry.published == "2026-11-01T11:00:00.000Z"
    assert {tag.term for tag in entry.tags} == {"disk", "ERROR"}
    (content,) = entry.content
    assert content.type == "application/json"
    assert orjson.loads(content.value)["notification"] == {"payload": {"n": 2}}
    assert uuid.UUID(entry.id.removeprefix("urn:uuid:")).version == 5
    assert found.feed.updated == entry.updated


async def test_feeds_are_of_a_priority_or_of_event_types() -> None:
    async with served(sources()) as client:
        for path, expected in (
            ("/feeds/alerts/error.atom", ["disk", "compute.a"]),
            ("/feeds/alerts/CRITICAL.atom", ["compute.b"]),
            ("/feeds/events/compute.*.atom", ["compute.b", "compute.a"]),
            ("/feeds/events/disk.atom", ["disk"]),
            ("/feeds/events/nothing.atom", []),
        ):
            found = await feed(client, path)
            assert event_types(found) == expected
            assert found.feed.title
        assert await feed(client, URL("/feeds/events/d%3Fsk.atom", encoded=True))
        await get(client, "/feeds/alerts/info.atom", 404)
        await get(client, "/feeds/alerts/nothing.atom", 404)
        await get(client, "/feeds/events/" + "*" * 9 + ".atom", 400)
        await get(client, "/feeds/alerts.atom", 400, page="0")
        await get(client, "/feeds/alerts.atom", 400, size="1")


async def test_pages_have_every_alert_once_and_lead_to_each_other() -> None:
    fake = FakeSources()
    fill(fake, *(record(ERRORS, n, time_s=NOW_S - 1000 + n) for n in range(2 * PAGE_ENTRIES + 1)))
    async with served(fake) as client:
        address, pages = "/feeds/alerts.atom", []
        while address:
            pages.append(await feed(client, URL(address)))
            links = {link.rel: link.href for link in pages[-1].feed.links}
            address = links.get("next", "")
    assert [len(page.entries) for page in pages] == [PAGE_ENTRIES, PAGE_ENTRIES, 1]
    ids = [entry.id for page in pages for entry in page.entries]
    assert len(set(ids)) == len(ids) == 2 * PAGE_ENTRIES + 1
    assert URL(links["first"]).query_string == ""
    assert links["self"] == links["last"]
    assert URL(links["previous"]).query == {"page": "2"}
    async with served(fake) as client:
        await get(client, "/feeds/alerts.atom", 404, page="4")


def test_a_page_is_bounded_in_bytes() -> None:
    value = b'{"x":"' + b"x" * 60_000 + b'"}'
    alerts = [
        Alert(ERRORS, 0, Priority.ERROR, UnreadableRecord(ERRORS, 0, n, "", value=value)) for n in range(50)
    ]
    pages = pages_of(alerts)
    assert [alert for page in pages for alert in page] == alerts
    assert max(sum(alert.nbytes for alert in page) for page in pages) <= 2**20
    assert pages_of([]) == [[]]


async def test_what_has_not_changed_is_not_sent_again() -> None:
    fake = sources()
    async with served(fake) as client:
        async with client.get("/feeds/alerts.atom") as first:
            etag, modified = first.headers["ETag"], first.headers["Last-Modified"]
            assert first.headers["Cache-Control"] == "private, no-cache"
        assert modified == format_datetime(datetime.fromtimestamp(NOW_S - 50, UTC), usegmt=True)
        earlier = format_datetime(datetime.fromtimestamp(NOW_S - 51, UTC), usegmt=True)
        for headers, status in (
            ({"If-None-Match": etag}, 304),
            ({"If-None-Match": f'"other", {etag}'}, 304),
            ({"If-None-Match": "*"}, 304),
            ({"If-None-Match": '"other"'}, 200),
            ({"If-Modified-Since": modified}, 304),
            ({"If-Modified-Since": earlier}, 200),
            ({"If-None-Match": '"other"', "If-Modified-Since": modified}, 200),
        ):
            async with client.get("/feeds/alerts.atom", headers=headers) as answer:
                assert answer.status == status, headers
                assert answer.headers["ETag"] == etag
                assert bool(await answer.read()) == (status == 200)
        async with client.head("/feeds/alerts.atom") as answer:
            assert (answer.status, await answer.read()) == (200, b"")
        # Another one of this very second: its time does not stand for the document yet.
        fill(fake, record(ERRORS, 3, time_s=NOW_S + 0.5))
        async with client.get("/feeds/alerts.atom", headers={"If-None-Match": etag}) as answer:
            assert answer.status == 200
            assert "Last-Modified" not in answer.headers


async def test_every_worker_serves_the_same_feed() -> None:
    documents = []
    for _ in range(2):
        async with (
            served(sources(), feed_url="https://feeds.example.org/") as client,
            client.get("/feeds/alerts.atom") as answer,
        ):
            documents.append((await answer.read(), answer.headers["ETag"], answer.headers.getall("Link")))
    assert documents[0] == documents[1]
    assert b'rel="self" href="https://feeds.example.org/feeds/alerts.atom"' in documents[0][0]


async def test_feeds_name_the_hub_and_themselves() -> None:
    hub = "https://hub.example.org/?a=1&b=2"
    async with (
        served(sources(), feed_hub=hub, feed_url="https://feeds.example.org") as client,
        client.get("/feeds/events/compute.*.atom") as answer,
    ):
        links = answer.links
        found = valid(await answer.read())
    address = "https://feeds.example.org/feeds/events/compute.*.atom"
    assert {link.rel: link.href for link in found.feed.links} == {
        "hub": hub,
        "self": address,
        "first": address,
        "last": address,
    }
    assert str(links["hub"]["url"]) == hub
    assert str(links["self"]["url"]) == address


async def test_feeds_are_within_the_rules_of_signing_in() -> None:
    token = "t" * 20
    async with served(sources(), web_token=token) as client:
        await get(client, "/feeds/alerts.atom", 401)
        headers = {"Authorization": f"Bearer {token}"}
        async with client.get("/feeds/alerts.atom", headers=headers) as answer:
            assert answer.status == 200
    async with served(sources(), web_token=token, feed_open="true") as client:
        await feed(client, "/feeds/alerts.atom")
        await feed(client, "/feeds/alerts/error.atom")
        await feed(client, "/feeds/events/disk.atom")
        await get(client, "/api/v1/counts", 401)


async def test_a_worker_that_has_not_read_all_says_so() -> None:
    fake = sources()
    fake.alerts.complete = False
    fake.alerts.trouble = "This worker may not read alerts.error: grant Read on it."
    async with served(fake) as client:
        answer = await get(client, "/feeds/alerts.atom", 503)
        assert answer["detail"] == fake.alerts.trouble
    fake.alerts = FakeAlerts(most=0)
    async with served(fake) as client:
        await get(client, "/feeds/alerts.atom", 404)


def test_an_empty_feed_is_valid() -> None:
    page = Page(Feed(), "tocsin", 1, 1, "http://localhost", "", [], 0)
    assert valid(b"".join(page.written())).entries == []


def written(records: Sequence[UnreadableRecord], app: str = "tocsin") -> bytes:
    alerts = [Alert(each.topic, each.partition, Priority.ERROR, each) for each in records]
    return b"".join(Page(Feed(), app, 1, 1, "http://localhost", "", alerts, 1).written())


HOSTILE = st.text(max_size=40) | st.sampled_from(
    [
        "\x00\x01\x0b\x1f",
        "\ufffe\uffff",
        "]]><script>alert(1)</script>",
        '"/><entry>',
        "<!DOCTYPE x [<!ENTITY a 'b'>]>&a;",
        "\u202eright to left",
        "x" * 100_000,
        "\r\n",
    ]
)


@given(HOSTILE, HOSTILE, HOSTILE, HOSTILE)
def test_whatever_publishers_say_the_feed_is_valid(name: str, publisher: str, ce_id: str, time: str) -> None:
    text = [part.encode("utf-8", "replace").decode() for part in (name, publisher, ce_id, time)]
    one = record(ERRORS, 1, text[0], publisher=text[1], ce_id=text[2] or None, ce_time=text[3])
    other = record(ERRORS, 2)
    found = valid(written([one, other]))
    assert len(found.entries) == 2
    assert found.entries[1].title == "ERROR disk.full from compute.host1"


def test_the_check_rejects_a_feed_that_is_not_valid() -> None:
    """A negative control: the schema, and characters that XML has no form for."""
    document = written([record(ERRORS, 1)])
    with pytest.raises(AssertionError):
        valid(document.replace(b"<id>", b"<identity>").replace(b"</id>", b"</identity>"))
    with pytest.raises(etree.XMLSyntaxError):
        valid(document.replace(b"disk.full", b"disk\x00full"))


def test_settings_name_the_feeds() -> None:
    settings = load_settings(
        feed_events="compute.*, volume.*,",
        feed_hub="https://hub.example.org",
        feed_url="https://x.example.org/",
    )
    names = ["alerts", "alerts/critical", "alerts/error", "events/compute.*", "events/volume.*"]
    assert [each.name for each in feeds_of(settings)] == names
    assert [each.name for each in pinged_feeds(settings)] == names
    assert settings.feed_url == "https://x.example.org"
    assert Feed(pattern="a/b?c").path == "/feeds/events/a%2Fb%3Fc.atom"
    some = load_settings(
        feed_hub="https://hub.example.org", feed_url="https://x.example.org", feed_pings="alerts/critical"
    )
    assert [each.name for each in pinged_feeds(some)] == ["alerts/critical"]
    assert pinged_feeds(load_settings()) == []


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"feed_hub": "https://hub.example.org"}, "needs TOCSIN_FEED_URL"),
        ({"feed_hub": "nonsense"}, "and TOCSIN_FEED_URL beside it"),
        ({"feed_hub": "ftp://hub.example.org", "feed_url": "https://x"}, "give a URL such as"),
        ({"feed_url": "https://user:secret@x"}, "without user"),
        ({"feed_url": "https://x?a=1"}, "without a query"),
        ({"feed_url": "no url"}, "give a URL such as"),
        ({"feed_events": "*" * 9}, "more than 8 wildcards"),
        ({"feed_hub": "https://h", "feed_url": "https://x", "feed_entries": "0"}, "needs feeds"),
    ],
)
def test_wrong_settings_are_told(values: dict[str, str], sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        load_settings(**values)


def test_a_ping_of_a_feed_that_is_not_there_is_told() -> None:
    settings = load_settings(feed_hub="https://h", feed_url="https://x", feed_pings="events/a")
    with pytest.raises(ConfigurationError, match="there is no feed events/a"):
        pinged_feeds(settings)


async def test_secrets_in_alerts_of_other_writers_reach_no_list_page_or_feed() -> None:
    secret = "hunter2-hunter2"
    body = {
        "labels": {"alertname": "disk.full", "publisher_id": f"token={secret}", "auth_token": secret},
        "annotations": {"summary": f"password={secret} on h1", "from": f"amqp://u:{secret}@h1/"},
        "notification": {"payload": {"admin_pass": secret}},
    }
    fake = sources()
    headers = (("ce_id", b"foreign"), ("ce_subject", b"disk.full"))
    fill(
        fake,
        UnreadableRecord(ERRORS, 0, 99, "", NOW_S * 1000, value=orjson.dumps(body), headers=headers),
    )
    async with served(fake) as client:
        for path in (
            "/api/v1/alerts",
            "/api/v1/alerts/groups",
            f"/api/v1/alerts/{ERRORS}/0/99",
            "/",
            "/alerts",
            f"/alert?topic={ERRORS}&partition=0&offset=99",
        ):
            async with client.get(URL(path, encoded=True)) as answer:
                text = await answer.text()
                assert answer.status == 200
            assert path == "/" or "=***" in text, path
            assert secret not in text, path
        entry = (await feed(client, "/feeds/alerts.atom")).entries[0]
    assert entry.title == "password=*** on h1"
    content = orjson.loads(entry.content[0].value)
    assert secret not in str(content)
    assert content["annotations"] == {"summary": "password=*** on h1", "from": "amqp://***@h1/"}
    assert content["notification"] == {"payload": {"admin_pass": "***"}}
