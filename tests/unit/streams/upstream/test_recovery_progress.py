"""What is said about a recovery, in the log and to ``/startupz``."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest

from streams.upstream.recovery_progress import (
    BOTH,
    CHANGELOG,
    LOCAL,
    NEITHER,
    RecoveryProgress,
    TableProgress,
)

FRESH = TableProgress("counts", "me-counts-changelog", 0, kept=None, begin=-1, at=-1, end=399_999)


@pytest.mark.parametrize(
    ("kept", "begin", "end", "source"),
    [
        (None, -1, -1, NEITHER),
        (None, 99, 99, NEITHER),
        (None, -1, 99, CHANGELOG),
        (99, 99, 99, LOCAL),
        (50, 50, 99, BOTH),
        (50, 70, 99, CHANGELOG),
    ],
    ids=["new", "emptied", "no copy", "copy", "old copy", "copy with a gap"],
)
def test_the_source_of_state(kept: int | None, begin: int, end: int, source: str) -> None:
    assert replace(FRESH, kept=kept, begin=begin, at=begin, end=end).source == source


def test_a_recovery_from_the_changelog(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    now = 100.0
    known: list[TableProgress] = []
    progress = RecoveryProgress(lambda: known, lambda: now)
    assert (progress.phase, progress.was_ready) == ("connecting", False)
    progress.joining()
    progress.begin()
    progress.look()
    assert caplog.messages == []
    assert progress.shown()["source"] is None

    known = [FRESH]
    now = 101.0
    progress.look()
    known = [replace(FRESH, at=119_999)]
    now = 104.0
    progress.look()
    now = 106.0
    progress.look()
    assert caplog.messages == [
        (
            "Recovering counts: 0 of 400,000 records of me-counts-changelog (0 %); from the changelog, "
            "because the data folder has no state."
        ),
        (
            "Recovering counts: 120,000 of 400,000 records of me-counts-changelog (30 %), about 12 s left; "
            "from the changelog, because the data folder has no state."
        ),
    ]
    shown = progress.shown()
    assert (shown["phase"], shown["elapsed_s"], shown["estimated_s"]) == ("recovering", 6.0, 11.7)
    assert shown["records"] == {"done": 120_000, "total": 400_000}
    assert shown["tables"] == [
        {"table": "counts", "partition": 0, "source": CHANGELOG, "done": 120_000, "total": 400_000}
    ]
    assert progress.sentence() == "State is being recovered: 120,000 of 400,000 records."

    known = [replace(FRESH, at=399_999)]
    now = 109.1
    progress.recovered()
    assert caplog.messages[2:] == [
        (
            "Recovered in 9.1 s from the changelog, because the data folder has no state: 400,000 records "
            "read for 1 table partition."
        )
    ]
    assert (progress.phase, progress.was_ready) == ("loading", False)
    now = 120.0
    progress.ready()
    assert (progress.phase, progress.was_ready) == ("ready", True)
    assert progress.elapsed_s == pytest.approx(9.1)


def test_one_record_is_no_records(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    progress = RecoveryProgress(lambda: [replace(FRESH, end=0)], lambda: 0.0)
    progress.begin()
    progress.look()
    assert progress.sentence() == "State is being recovered: 0 of 1 record."
    progress.recovered()
    assert caplog.messages == [
        (
            "Recovering counts: 0 of 1 record of me-counts-changelog (0 %); from the changelog, because the "
            "data folder has no state."
        ),
        (
            "Recovered in 0.0 s from the changelog, because the data folder has no state: 1 record read for "
            "1 table partition."
        ),
    ]


def test_a_later_assignment_begins_anew_and_was_ready_stays(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    now = 0.0
    local = replace(FRESH, kept=5, begin=5, at=5, end=5)
    progress = RecoveryProgress(lambda: [local], lambda: now)
    for _ in range(2):
        progress.begin()
        progress.look()
        now += 2
        progress.recovered()
        progress.ready()
    line = "local state, which is as new as the changelog: 0 records read for 1 table partition."
    assert caplog.messages == [f"Recovered in 2.0 s from {line}"] * 2
    progress.begin()
    assert progress.was_ready
    assert progress.phase == "recovering"


def test_an_assignment_that_ends_before_its_recovery_is_not_ready() -> None:
    progress = RecoveryProgress(list, lambda: 0.0)
    progress.ready()
    progress.begin()
    progress.ready()
    assert not progress.was_ready
