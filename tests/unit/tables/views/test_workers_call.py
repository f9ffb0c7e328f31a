"""``GET /api/v1/workers``: all workers and the sums of those that were heard from."""

from __future__ import annotations

import pytest

from tables.fleet.state import DeadLetters, LeftOutError, Partitions
from tests.unit.tables.fleet.states import class_state, worker_state
from tests.unit.tables.views.views_kit import FakeFleet, FakeSources, get, served


def fleet(fake: FakeSources) -> FakeFleet:
    """Two workers that were heard from and one that was not."""
    made = fake.fleet
    busy = class_state(
        weight=16.0, configured_share=0.5, lag_records=10, oldest_age_s=2.5, counted=100, service_per_s=0.3
    )
    made.write("silent", worker_state("c", classes={"CRITICAL": class_state(lag_records=5000)}), ago_s=20.0)
    made.write(
        "one",
        worker_state(
            "a",
            classes={"DEBUG": class_state(service_per_s=0.1), "CRITICAL": busy},
            partitions=[Partitions("notifications.critical", "working", [0, 2], "CRITICAL")],
            dead_letters=[DeadLetters("DEBUG", "not-json", 2, 40)],
            repairs={"not-a-number": 1},
        ),
    )
    made.write(
        "two",
        worker_state(
            "b",
            pool="urgent",
            ready=False,
            reasons=["The worker is stopping."],
            classes={"CRITICAL": busy},
            dead_letters=[DeadLetters("DEBUG", "not-json", 5, 2)],
        ),
    )
    return made


async def test_all_workers_are_answered_and_what_they_have_together() -> None:
    fake = FakeSources()
    fleet(fake)
    async with served(fake) as client:
        body = await get(client, "/api/v1/workers")
    assert (body["as_of"], body["complete"], body["missing_partitions"]) == (
        "2026-11-01T11:59:59.500Z",
        True,
        [],
    )
    assert (body["trouble"], body["left_out"]) == (None, {})
    assert [(each["id"], each["pool"], each["heard"], each["ready"]) for each in body["workers"]] == [
        ("one", "main", True, True),
        ("silent", "main", False, True),
        ("two", "urgent", True, False),
    ]
    one, silent, two = body["workers"]
    assert two["reasons"] == ["The worker is stopping."]
    assert silent["written"] == "2026-11-01T11:59:40.000Z"
    assert [each["priority"] for each in one["classes"]] == ["CRITICAL", "DEBUG"]
    assert one["partitions"] == [
        {
            "topic": "notifications.critical",
            "priority": "CRITICAL",
            "state": "working",
            "numbers": [0, 2],
            "more": 0,
        }
    ]
    critical, debug = body["classes"]
    # What a worker that is not heard from had last says nothing of now.
    assert (critical["lag"], critical["counted"]) == ({"records": 20, "seconds": 2.5}, 200)
    assert (critical["workers"], debug["workers"], critical["weight"]) == (2, 1, None)
    assert (critical["share"]["achieved"], debug["share"]["achieved"]) == pytest.approx((6 / 7, 1 / 7))
    assert body["dead_letters"] == [{"priority": "DEBUG", "reason": "not-json", "count": 7, "bytes": 42}]
    assert body["repairs"] == {"not-a-number": 1}


async def test_an_answer_is_kept_until_a_worker_says_something_else() -> None:
    fake = FakeSources()
    made = fleet(fake)
    async with served(fake) as client:
        async with client.get("/api/v1/workers") as answer:
            etag = answer.headers["ETag"]
        made.as_of += 0.25
        async with client.get("/api/v1/workers", headers={"If-None-Match": etag}) as answer:
            assert (answer.status, answer.headers["Tocsin-As-Of"]) == (304, "2026-11-01T11:59:59.500Z")
    made.write("one", worker_state("a", ready=False), ago_s=0.5)
    async with (
        served(fake) as client,
        client.get("/api/v1/workers", headers={"If-None-Match": etag}) as answer,
    ):
        assert answer.status == 200
        assert answer.headers["ETag"] != etag


async def test_what_is_not_known_is_said() -> None:
    fake = FakeSources()
    fake.fleet.complete, fake.fleet.missing, fake.fleet.as_of = False, {0}, 0.0
    fake.fleet.trouble = "There is no topic."
    with pytest.raises(LeftOutError):
        fake.fleet.memory.take(b"a", b"nonsense", 1.0, 1.0, live=True)
    async with served(fake) as client:
        body = await get(client, "/api/v1/workers")
        assert (body["as_of"], body["complete"], body["missing_partitions"]) == (None, False, [0])
        assert (body["trouble"], body["left_out"]) == ("There is no topic.", {"unreadable": 1})
        assert (body["workers"], body["classes"]) == ([], [])
        problem = await get(client, "/api/v1/workers", 400, page="2")
        assert problem["status"] == 400


async def test_it_asks_for_the_web_token() -> None:
    async with (
        served(FakeSources(), web_token="a-token-of-some-length") as client,
        client.get("/api/v1/workers") as answer,
    ):
        assert answer.status == 401
