"""What the API answers of alerts."""

from __future__ import annotations

from typing import Any

import pytest

from streams.notifications.priority import Priority
from tests.unit.tables.views.alerts_kit import HOSTILE, alert_record, foreign_record, forward
from tests.unit.tables.views.views_kit import NOW_S, FakeSources, get, served

ALERTS, GROUPS = "/api/v1/alerts", "/api/v1/alerts/groups"


def sources() -> FakeSources:
    """Sources with alerts of two priorities, three event types and two publishers."""
    fake = FakeSources()
    forward(
        fake,
        alert_record(1, "compute.a", time_s=NOW_S - 300),
        alert_record(2, "disk.full", time_s=NOW_S - 250, publisher="cinder.host2"),
        alert_record(3, "compute.a", time_s=NOW_S - 120),
        alert_record(4, "compute.a", time_s=NOW_S - 20, publisher="nova.host9"),
        alert_record(7, "fire", priority=Priority.CRITICAL, partition=2, time_s=NOW_S - 100),
    )
    return fake


def offsets(body: dict[str, Any]) -> list[int]:
    return [item["offset"] for item in body["items"]]


async def test_the_newest_alerts_come_first_each_with_its_place_and_link() -> None:
    async with served(sources()) as client:
        body = await get(client, ALERTS)
    assert offsets(body) == [4, 7, 3, 2, 1]
    assert body["items"][1] == {
        "at": "2026-11-01T11:58:20.000Z",
        "priority": "CRITICAL",
        "event_type": "fire",
        "publisher": "compute.host1",
        "summary": "CRITICAL fire from compute.host1",
        "id": body["items"][1]["id"],
        "topic": "alerts.critical",
        "partition": 2,
        "offset": 7,
        "link": "/alert?topic=alerts.critical&partition=2&offset=7",
    }
    assert len(body["items"][1]["id"]) == 32
    assert body["as_of"] == "2026-11-01T12:00:00.500Z"
    assert (body["complete"], body["missing_partitions"], body["trouble"]) == (True, [], None)
    assert body["kept"] == [
        {"priority": "CRITICAL", "alerts": 1, "since": "2026-11-01T11:58:20.000Z"},
        {"priority": "ERROR", "alerts": 4, "since": "2026-11-01T11:55:00.000Z"},
    ]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"priority": "critical"}, [7]),
        ({"event_type": "compute.*"}, [4, 3, 1]),
        ({"event_type": "compute.a", "publisher": "nova*"}, [4]),
        ({"publisher": "?????.*"}, []),
        ({"publisher": "c*.host?"}, [7, 3, 2, 1]),
        ({"priority": "CRITICAL", "publisher": "cinder.host2"}, []),
        ({"priority": "INFO"}, []),
    ],
)
async def test_filters(asked: dict[str, str], expected: list[int]) -> None:
    async with served(sources()) as client:
        assert offsets(await get(client, ALERTS, **asked)) == expected
        groups = await get(client, GROUPS, **asked)
    assert sum(group["count"] for group in groups["items"]) == len(expected)


async def test_pages_miss_and_repeat_nothing_while_more_comes() -> None:
    fake = sources()
    found: list[int] = []
    async with served(fake) as client:
        asked: dict[str, str] = {"limit": "2"}
        number = 100
        while True:
            body = await get(client, ALERTS, **asked)
            found += offsets(body)
            if body["next"] is None:
                break
            asked["cursor"] = body["next"]
            number += 1
            forward(fake, alert_record(number, "later", time_s=NOW_S))
    assert found == [4, 7, 3, 2, 1]


async def test_groups_are_by_event_type_and_publisher_with_counts_over_time() -> None:
    async with served(sources()) as client:
        body = await get(client, GROUPS, window="5m")
        first = await get(client, GROUPS, limit="1")
        second = await get(client, GROUPS, limit="1", cursor=first["next"])
    assert [(each["event_type"], each["publisher"], each["count"]) for each in body["items"]] == [
        ("compute.a", "nova.host9", 1),
        ("fire", "compute.host1", 1),
        ("compute.a", "compute.host1", 2),
        ("disk.full", "cinder.host2", 1),
    ]
    twice = body["items"][2]
    assert (twice["first"], twice["last"]) == ("2026-11-01T11:55:00.000Z", "2026-11-01T11:58:00.000Z")
    assert [place["offset"] for place in twice["latest"]] == [3, 1]
    assert (body["bucket_s"], body["from"]) == (5, "2026-11-01T11:55:05Z")
    # The one of 11:55:00 came before the span.
    assert sum(twice["buckets"]) == 1
    assert twice["buckets"][(NOW_S - 120 - (NOW_S - 295)) // 5] == 1
    assert [first["items"][0]["publisher"], second["items"][0]["event_type"]] == ["nova.host9", "fire"]


async def test_in_a_storm_of_errors_the_last_critical_stays() -> None:
    fake = sources()
    forward(fake, *(alert_record(10 + n, "storm", time_s=NOW_S - 10) for n in range(600)))
    async with served(fake) as client:
        body = await get(client, GROUPS)
        listed = await get(client, ALERTS, limit="1000")
    assert [(each["event_type"], each["count"]) for each in body["items"]] == [("storm", 500), ("fire", 1)]
    assert len(listed["items"]) == 501
    assert [each["alerts"] for each in body["kept"]] == [1, 500]


async def test_an_answer_is_kept_while_there_is_nothing_new() -> None:
    fake = sources()
    async with served(fake) as client:
        for path in (ALERTS, GROUPS, f"{ALERTS}/alerts.error/0/4"):
            async with client.get(path) as answer:
                etag = answer.headers["ETag"]
            async with client.get(path, headers={"If-None-Match": etag}) as again:
                assert (again.status, again.headers["Tocsin-As-Of"]) == (304, "2026-11-01T12:00:00.500Z")
        forward(fake, alert_record(50, "new", time_s=NOW_S))
        while True:  # what is kept serves for a quarter of a second
            body = await get(client, ALERTS)
            if offsets(body)[0] == 50:
                break


@pytest.mark.parametrize(
    ("path", "asked", "words"),
    [
        (ALERTS, {"priority": "loud"}, "There is no priority 'loud'"),
        (ALERTS, {"event_type": "*" * 9}, "at most 8 wildcards"),
        (ALERTS, {"publisher": "x" * 4097}, "4096 characters"),
        (ALERTS, {"limit": "0"}, "from 1 to 1000"),
        (ALERTS, {"cursor": "e30"}, "The cursor is not one"),
        (ALERTS, {"cursor": "WzEsImEiLDAsIjEiXQ"}, "The cursor is not one"),
        (ALERTS, {"cursor": "WzEsImEiLDAsdHJ1ZV0"}, "The cursor is not one"),
        (ALERTS, {"window": "1h"}, "There is no parameter 'window'"),
        (GROUPS, {"window": "total"}, "There is no window 'total'"),
        (f"{ALERTS}/alerts.error/x/1", {}, "The partition is a number"),
        (f"{ALERTS}/alerts.error/2147483648/1", {}, "The partition is a number"),
        (f"{ALERTS}/alerts.error/1/9223372036854775808", {}, "The offset is a number"),
        (f"{ALERTS}/alerts.error/1/1", {"a": "b"}, "takes none"),
    ],
)
async def test_wrong_parameters_say_what_to_change(path: str, asked: dict[str, str], words: str) -> None:
    async with served(sources()) as client:
        assert words in (await get(client, path, 400, **asked))["detail"]


async def test_one_alert_has_its_labels_and_the_records_that_it_stems_from() -> None:
    async with served(sources()) as client:
        body = await get(client, f"{ALERTS}/alerts.critical/2/7")
        listed = await get(client, ALERTS, priority="CRITICAL")
    assert body["alert"] == listed["items"][0]
    assert body["labels"] == {
        "alertname": "fire",
        "severity": "critical",
        "publisher_id": "compute.host1",
        "rule": "forward",
    }
    assert body["annotations"] == {"summary": "CRITICAL fire from compute.host1"}
    assert body["examples"] == [
        {"topic": "notifications.critical", "partition": 3, "offset": 7, "message_id": "m7"}
    ]
    assert (body["starts_at"], body["repairs"], body["dead_letter"]) == ("2026-11-01T11:00:00.000Z", [], None)


async def test_what_was_published_is_shown_only_where_that_is_allowed_and_masked() -> None:
    fake = FakeSources()
    forward(fake, alert_record(1, payload={"auth_token": "s3cret", "room": "b12", "pin": "4711"}))
    path = f"{ALERTS}/alerts.error/0/1"
    async with served(fake) as client:
        async with client.get(path) as answer:
            assert "4711" not in await answer.text()
        hidden = await get(client, path)
    assert hidden["notification"] is None
    assert "TOCSIN_WEB_PAYLOADS=true" in hidden["notification_left_out"]
    async with served(fake, web_payloads=True, web_mask_keys="pin", mask_keys="room") as client:
        shown = await get(client, path)
    # The token was masked as it was forwarded, the others by the settings of now.
    assert shown["notification"]["payload"] == {"auth_token": "***", "room": "***", "pin": "***"}
    assert shown["notification_left_out"] is None
    async with served(fake, web_payloads=True) as client:
        shown = await get(client, path)
    assert shown["notification"]["payload"] == {"auth_token": "***", "room": "b12", "pin": "4711"}


@pytest.mark.parametrize("place", ["alerts.error/0/99", "alerts.error/9/1", "nothing/0/1"])
async def test_a_place_without_an_alert_is_not_found(place: str) -> None:
    async with served(sources()) as client:
        assert "No alert of this place is kept" in (await get(client, f"{ALERTS}/{place}", 404))["detail"]


async def test_where_none_are_kept_it_says_what_to_change() -> None:
    fake = FakeSources()
    fake.alerts.most = 0
    for settings, words in (({}, "TOCSIN_FEED_ENTRIES"), ({"forward_priorities": "none"}, "FORWARD")):
        async with served(fake, **settings) as client:
            for path in (ALERTS, GROUPS, f"{ALERTS}/alerts.error/0/1"):
                assert words in (await get(client, path, 404))["detail"]
        fake.alerts.most = 500


async def test_an_answer_says_when_it_is_not_up_to_date() -> None:
    fake = sources()
    fake.alerts.complete, fake.alerts.as_of = False, 0.0
    fake.alerts.trouble = "This worker may not read alerts.error: grant Read on it."
    async with served(fake) as client:
        body = await get(client, ALERTS)
        assert (body["as_of"], body["complete"], body["trouble"]) == (None, False, fake.alerts.trouble)
        assert fake.alerts.trouble in (await get(client, f"{ALERTS}/alerts.error/0/99", 404))["detail"]
    fake.alerts.complete, fake.alerts.trouble = True, None
    fake.alerts.missing = [("alerts.error", 2), ("alerts.critical", 0)]
    async with served(fake) as client:
        body = await get(client, GROUPS)
    assert body["complete"] is False
    assert body["missing_partitions"] == [
        {"topic": "alerts.critical", "partition": 0},
        {"topic": "alerts.error", "partition": 2},
    ]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
async def test_hostile_names_come_as_they_are_in_json_as_far_as_they_are_kept(text: str) -> None:
    fake = FakeSources()
    forward(fake, foreign_record(1, text, text[:20_000], {text[:4000]: text[:4000]}))
    event_type, publisher = text[:4096], text[:4096]
    async with served(fake, web_payloads=True) as client:
        (item,) = (await get(client, ALERTS))["items"]
        (group,) = (await get(client, GROUPS))["items"]
        body = await get(client, f"{ALERTS}/alerts.error/0/1")
        if len(text) < 100:
            assert (await get(client, ALERTS, event_type=text, publisher=text))["items"] == [item]
    if len(text) > 20_000:
        # All of it is more than is kept of an alert.
        assert (item["event_type"], item["publisher"]) == (event_type, "")
        assert "too large to be kept" in body["notification_left_out"]
        return
    assert (item["event_type"], item["publisher"], item["summary"]) == (
        event_type,
        publisher,
        f"About {text} from {text}",
    )
    assert (group["event_type"], group["publisher"]) == (event_type, publisher)
    assert body["labels"][text] == text
    assert body["notification"] == {"event_type": text, "payload": {text: text}}


async def test_long_names_are_cut() -> None:
    fake = FakeSources()
    forward(fake, foreign_record(1, "e" * 5000, "p" * 9000, {"k" * 300: 1}))
    async with served(fake, web_payloads=True) as client:
        (item,) = (await get(client, ALERTS))["items"]
        body = await get(client, f"{ALERTS}/alerts.error/0/1")
    assert [len(item[name]) for name in ("event_type", "publisher", "summary")] == [4096, 4096, 1000]
    assert max(map(len, [*body["labels"], *body["labels"].values()])) == 4096
    # A key of this length is not looked into, and may name a secret.
    assert body["notification"]["payload"] == {"k" * 300: "***"}


async def test_links_have_the_path_that_a_proxy_has_put_before() -> None:
    async with served(sources(), web_prefix="/tocsin") as client:
        for path in (ALERTS, f"/tocsin{ALERTS}"):
            body = await get(client, path, priority="CRITICAL")
            assert body["items"][0]["link"] == "/tocsin/alert?topic=alerts.critical&partition=2&offset=7"
