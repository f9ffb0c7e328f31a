"""A flush waits a little for the counts that it sent on, so that they are combined at once."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from agents import counting
from agents.counting import Counting


def counted(processed: dict[int, int]) -> Counting:
    found = Counting.__new__(Counting)
    vars(found)["_combined"] = {
        partition: SimpleNamespace(processed=offset) for partition, offset in processed.items()
    }
    return found


@pytest.mark.parametrize(
    ("sent", "comes_at", "looks"),
    [
        ({}, 99, 0),  # nothing was sent
        ({0: 7, 1: 2}, 99, 0),  # all is here
        ({5: 3}, 99, 0),  # another worker combines it
        ({0: 8}, 3, 3),  # it comes
        ({0: 8, 5: 3}, 3, 3),
        ({0: 8}, 99, counting._MOST_LOOKS),  # it does not come in time
    ],
)
async def test_it_waits_until_they_have_come_back_and_not_for_ever(
    sent: dict[int, int], comes_at: int, looks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = counted({0: 7, 1: 2})
    slept = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == comes_at:
            vars(found)["_combined"][0].processed = 8

    monkeypatch.setattr(asyncio, "sleep", sleep)
    await found._arrival(sent)
    assert slept == [counting._LOOK_S] * looks
