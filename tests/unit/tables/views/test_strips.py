"""The sentence of the Overview, and what a strip says."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from tables.views.minute_counts import MINUTES, LastHour
from tables.views.strips import WAITS_S, Strip, sentence, strips


@dataclass
class _Figures:
    lag_records: int = 0
    oldest_age_s: float = 0.0
    buffered_records: int = 0
    configured_share: float = 0.5
    achieved_share: float = 0.25


def waits(seconds: float) -> _Figures:
    return _Figures(1000, seconds, 100)


THROUGH = _Figures()


def made(**figures: _Figures | None) -> list[Strip]:
    return [Strip(name, 1.0, [0] * MINUTES, each) for name, each in figures.items()]


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (made(CRITICAL=THROUGH, DEBUG=THROUGH), "Everything is through, nothing waits."),
        (made(CRITICAL=THROUGH, DEBUG=waits(190)), "CRITICAL is through; DEBUG waits 3 min."),
        (
            made(
                CRITICAL=THROUGH, ERROR=waits(WAITS_S - 0.1), WARN=THROUGH, INFO=waits(12), DEBUG=waits(8000)
            ),
            "CRITICAL, ERROR and WARN are through; INFO waits 10 s, DEBUG waits 2 h.",
        ),
        (made(CRITICAL=waits(59.9), DEBUG=THROUGH), "CRITICAL waits 50 s; DEBUG is through."),
        (
            made(CRITICAL=waits(5), DEBUG=waits(60)),
            "Nothing is through: CRITICAL waits some seconds, DEBUG waits 1 min.",
        ),
        (made(CRITICAL=THROUGH, INFO=None), "Everything is through, nothing waits."),
        (made(CRITICAL=None, INFO=None), ""),
        ([], ""),
    ],
)
def test_the_sentence_says_what_is_through_and_what_waits(found: list[Strip], said: str) -> None:
    assert sentence(found) == said


def test_the_sentence_stays_the_same_while_a_wait_goes_on_for_a_while() -> None:
    # It is read out at each change.
    said = {sentence(made(CRITICAL=THROUGH, DEBUG=waits(5 + tenth / 10))) for tenth in range(1200)}
    assert len(said) == 8  # some seconds, 10 to 50 s, 1 and 2 min


@pytest.mark.parametrize(
    ("figures", "per_s", "state"),
    [
        (None, 0.0, "unknown"),
        (_Figures(), 0.0, "through"),
        (_Figures(50, 4.9, 50), 10.0, "through"),
        (_Figures(50, 5.0, 50), 10.0, "waits"),
        (_Figures(0, 9.0, 0), 10.0, "through"),  # it is counted meanwhile
        (_Figures(50, 0.0, 0), 10.0, "through"),  # nothing was read yet, and that many come in five seconds
        (_Figures(51, 0.0, 0), 10.0, "waits"),
        (_Figures(51, 0.0, 1), 10.0, "through"),  # some were read, and they are new
    ],
)
def test_what_has_been_there_for_five_seconds_waits(
    figures: _Figures | None, per_s: float, state: str
) -> None:
    assert Strip("INFO", per_s, [], figures).state == state


def test_where_nothing_was_read_yet_nobody_knows_how_long_it_waits() -> None:
    found = [Strip("DEBUG", 0.0, [], _Figures(500))]
    assert sentence(found) == "Nothing is through: DEBUG waits."


def test_there_is_a_strip_for_each_priority_that_is_named_or_has_something_most_urgent_first() -> None:
    minutes = [0] * 59 + [6]
    found = strips(
        LastHour({"AUDIT": minutes, "INFO": minutes}, {"INFO": 120, "AUDIT": 6}),
        {"DEBUG": THROUGH, "of-later": THROUGH},
        {"INFO": 9.0},
        named=["INFO", "CRITICAL"],
        forwarded=["CRITICAL"],
    )
    assert [strip.priority for strip in found] == ["CRITICAL", "INFO", "DEBUG", "AUDIT", "of-later"]
    assert [strip.per_s for strip in found] == [0.0, 9.0, 0.0, 0.1, 0.0]
    assert [sum(strip.minutes) for strip in found] == [0, 6, 0, 6, 0]
    assert [strip.state for strip in found] == ["unknown", "unknown", "through", "unknown", "through"]
    assert [strip.is_forwarded for strip in found] == [True, False, False, False, False]
