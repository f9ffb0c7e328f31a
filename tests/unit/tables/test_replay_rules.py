"""Which settings a source's records were counted under, and how that is kept."""

from __future__ import annotations

import msgspec

from agents.ingest import rules_of
from streams.settings import load_settings
from tables.replay_rules import RuleHistory, Rules, RulesSpan
from tables.row_bodies import SourceBase, read_source_base


def rules(lateness_s: int) -> Rules:
    return Rules(lateness_s, 10_000, 2**20, 100, 255)


def test_which_rules_hold_where() -> None:
    first, second, third = rules(1), rules(2), rules(3)
    fresh = RuleHistory([], first, -1)
    assert (fresh.changed, fresh.until, fresh.at(0)) == (False, -1, first)
    changed = RuleHistory(fresh.spans(), second, 9)
    assert (changed.changed, changed.until) == (True, 9)
    assert [changed.at(offset) for offset in (0, 9, 10)] == [first, first, second]
    same = RuleHistory(changed.spans(), second, 20)
    assert (same.changed, same.until, same.at(9), same.at(10)) == (False, 9, first, second)
    # Nothing was counted by the second ones.
    skipped = RuleHistory(changed.spans(), third, 9)
    assert [skipped.at(offset) for offset in (9, 10)] == [first, third]
    assert len(skipped.spans()) == 2
    # Rows of an older version tell nothing.
    assert not RuleHistory([], second, 50).changed


def test_a_history_has_a_bound() -> None:
    history = RuleHistory([], rules(0), -1)
    for number in range(1, 50):
        history = RuleHistory(history.spans(), rules(number), 10 * number)
    assert len(history.spans()) == 9
    assert history.at(485) == rules(48)
    assert history.at(0) == rules(41), "what is older goes by the oldest that is known"


def test_the_last_span_has_no_end() -> None:
    spans = RuleHistory([RulesSpan(None, rules(1))], rules(2), 4).spans()
    assert [each.until for each in spans] == [4, None]


def test_the_rules_are_those_of_the_settings() -> None:
    settings = load_settings(lateness_s=1, max_event_types=2, max_notification_bytes=2000, max_depth=4)
    assert rules_of(settings) == Rules(1, 2, 2000, 4, settings.max_event_type_length)


class OldBase(msgspec.Struct, omit_defaults=True):
    """The base row as an older version reads and writes it."""

    totals: dict[str, list[int]]
    minutes: list[int]
    hours: list[int]
    expired_before: int
    as_of: dict[str, int] | None = None


def test_versions_read_each_others_rows() -> None:
    spans = RuleHistory([RulesSpan(None, rules(1))], rules(2), 4).spans()
    written = msgspec.json.encode(SourceBase({}, [60], [], 7, rules=spans))
    assert read_source_base(written).rules == spans
    old = msgspec.json.decode(written, type=OldBase)
    assert (old.minutes, old.expired_before) == ([60], 7)
    # And writes it without them: what it counts goes by its own settings.
    assert read_source_base(msgspec.json.encode(old)).rules is None
    assert b"rules" not in msgspec.json.encode(SourceBase({}, [], [], 0))
