"""Counts are complete only while somebody combines them: reading what is public to its end is not enough."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.tables.fleet.states import worker_state
from tests.unit.tables.views.test_layout import head
from tests.unit.tables.views.views_kit import FakeSources, get, sample, served

PATHS = ("/api/v1/counts", "/api/v1/counts/volume.create.end", "/api/v1/matrix")


async def complete(fake: FakeSources, *, of_worker: bool) -> list[Any]:
    """What each answer with counts says."""
    async with served(fake, of_worker=of_worker) as client:
        bodies = [await get(client, path) for path in PATHS]
    assert all(body["missing_partitions"] == [] and body["as_of"] for body in bodies)
    return [body["complete"] for body in bodies]


def heard(**ago_s: float) -> FakeSources:
    """Counts, and when a worker of each pool was heard from last; the main pool is called main."""
    fake = sample()
    fake.fleet.combines = False
    for pool, seconds in sorted(ago_s.items(), key=lambda each: -each[1]):
        state = worker_state(pool, pool="" if pool == "main" else pool)
        fake.fleet.write(pool, state, ago_s=seconds)
    return fake


@pytest.mark.parametrize("of_worker", [False, True])
@pytest.mark.parametrize(
    ("ago_s", "expected"),
    [
        ({"main": 10.0}, True),
        ({"main": 16.0}, False),
        ({"main": 10.0, "urgent": 100.0}, True),  # its records wait, and nothing was counted that is not here
        ({"main": 100.0, "urgent": 1.0}, False),
        ({"urgent": 1.0}, False),
        ({}, False),
    ],
)
async def test_counts_are_complete_while_a_worker_that_combines_them_is_heard_from(
    of_worker: bool, ago_s: dict[str, float], expected: bool
) -> None:
    """They were said to be, an hour after the last worker had been killed."""
    assert await complete(heard(**ago_s), of_worker=of_worker) == [expected] * len(PATHS)


@pytest.mark.parametrize("why", ["incomplete", "trouble"])
async def test_where_it_is_not_known_who_is_heard_from_what_was_read_decides(why: str) -> None:
    """As where the right to read the states of the workers is missing."""
    fake = heard(main=100.0)
    if why == "trouble":
        fake.fleet.trouble = "There is no topic."
    else:
        fake.fleet.complete = False
    assert all(await complete(fake, of_worker=False))
    fake.complete = False
    assert not any(await complete(fake, of_worker=False))


async def test_the_pages_say_who_is_missing() -> None:
    words = await head(heard(main=100.0, urgent=1.0), of_worker=True)
    assert "no worker of the main pool heard from" in words
    assert (
        "No worker of the main pool has been heard from for 1 min: what others count since is not in these "
        "counts yet."
    ) in words
    assert "UTC complete" not in words
    assert "main pool" not in await head(heard(main=1.0, urgent=1.0), of_worker=True)
    assert "so what others count is not in these counts." in await head(heard(urgent=1.0), of_worker=True)
