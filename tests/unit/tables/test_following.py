"""Up to when a topic was read, by when its partitions were seen to their ends."""

from __future__ import annotations

from types import ModuleType

import pytest

from streams.retries import Backoff, Retries
from tables import alerts_reader, totals_reader
from tables.fleet import reader, writer
from tables.following import SILENT_S, SeenEnds, follower_options


class _Clock:
    """Both clocks, a thousand seconds apart."""

    def __init__(self) -> None:
        self.now_s = 50.0
        self.ends = SeenEnds(lambda: self.now_s + 1000, lambda: self.now_s)


def test_nothing_is_known_before_every_partition_was_seen() -> None:
    clock = _Clock()
    ends = clock.ends
    assert (ends.as_of, ends.complete, ends.missing) == (0.0, False, set())
    ends.partitions = 2
    ends.seen[0] = 50.0
    assert (ends.as_of, ends.complete, ends.missing) == (0.0, False, {1})
    ends.seen[1] = 49.0
    assert (ends.as_of, ends.complete, ends.missing) == (1049.0, True, set())


def test_the_time_stands_still_while_a_partition_is_not_seen_and_it_is_missed_after_a_while() -> None:
    clock = _Clock()
    ends = clock.ends
    ends.partitions, ends.seen = 2, {0: 50.0, 1: 49.0}
    clock.now_s += SILENT_S - 1.5
    ends.seen[0] = clock.now_s
    assert (ends.as_of, ends.complete, ends.missing) == (1049.0, True, set())
    clock.now_s += 0.5
    assert (ends.as_of, ends.complete, ends.missing) == (1049.0, False, {1})
    ends.seen[1] = clock.now_s
    assert (ends.as_of, ends.complete, ends.missing) == (1000 + clock.now_s - 0.5, True, set())


def test_options_are_the_usual_ones_unless_others_are_given() -> None:
    made = follower_options({"bootstrap_servers": "a:1"}, lambda *_: None, auto_offset_reset="none")
    assert (made["bootstrap_servers"], made["group_id"], made["auto_offset_reset"]) == ("a:1", None, "none")
    assert follower_options({}, lambda *_: None)["auto_offset_reset"] == "earliest"


@pytest.mark.parametrize("module", [alerts_reader, reader, writer, totals_reader])
def test_what_pages_show_is_asked_for_again_soon_however_long_brokers_were_away(module: ModuleType) -> None:
    backoff = getattr(module, "_RETRY", None) or Backoff(module._RETRY_S)
    retries = Retries(backoff)
    assert max(retries.next_pause_s() or 0.0 for _ in range(100)) <= 5.0
