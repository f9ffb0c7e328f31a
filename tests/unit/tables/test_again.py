"""A combiner that has missed messages asks, and the sources send all again; a control that does not ask."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tables import again
from tables.again import AskAgain, decode_question, encode_question, is_question, unanswered
from tables.buckets import FINE, HOUR, MINUTE
from tables.combined_counter import CombinedCounter, CombinedFlush
from tables.partials import cut, decode, encode, make_slicer
from tables.row_bodies import read_combined_bucket
from tables.rows import VersionedRows, bucket_name
from tables.source_counter import SourceCounter
from tables.totals import Totals
from tests.property.counting_model import Store

START_S = 1_700_000_000 - 1_700_000_000 % HOUR
LATENESS_S = 3600
TYPES = ("a", "b", "c")


def apply(store: Store, changes: Any) -> None:
    if changes:
        store.apply(changes, range(store.position, store.position + len(changes)))


class Rig:
    """One source, one combiner, and the messages between them."""

    def __init__(self) -> None:
        self.now_s = float(START_S)
        self.sources, self.slices = Store(), Store()
        self.messages: list[bytes] = []
        self.read = 0
        self.questions: dict[int, AskAgain] = {}
        self.offset = 0
        self.source = self.new_source()
        self.combiner = self.new_combiner()

    def new_source(self) -> SourceCounter:
        source = SourceCounter(
            "s:0", VersionedRows(self.sources, "w"), max_event_types=100, lateness_s=LATENESS_S
        )
        source.processed = self.offset - 1
        return source

    def new_combiner(self) -> CombinedCounter:
        return CombinedCounter(VersionedRows(self.slices, "w"), lateness_s=LATENESS_S)

    def count(self, number: int, step_s: int) -> None:
        """Count as many records, so many seconds apart, with a flush after each."""
        for index in range(number):
            bucket = int(self.now_s) - int(self.now_s) % FINE
            self.source.add(self.offset, TYPES[index % 3], bucket, int(self.now_s * 1000))
            self.source.watermark_ms = int(self.now_s * 1000)
            self.offset += 1
            self.flush_source()
            self.now_s += step_s

    def flush_source(self) -> bool:
        if self.questions:
            self.source.ask(self.questions, self.now_s)
        flush = self.source.flush(self.now_s)
        if flush is None:
            return False
        apply(self.sources, [*flush.first, *flush.then])
        for part in cut("INFO", "s:0", flush.emission, make_slicer(1)).values():
            self.messages += encode([part])
        self.source.flushed(flush)
        apply(self.sources, flush.cleanup)
        return True

    def flush_until_quiet(self) -> int:
        """Flushes of the source until it has nothing to do."""
        for number in range(1000):
            if not self.flush_source():
                return number
        raise AssertionError("it never ends")

    def combine(self, understood: Callable[[bytes], bool] = lambda _: True) -> CombinedFlush | None:
        """Take in the messages, of which some cannot be read, and flush."""
        for number in range(self.read, len(self.messages)):
            self.combiner.reach(int(self.now_s * 1000))
            if understood(self.messages[number]):
                for p in decode(self.messages[number]):
                    self.combiner.merge(number, p.priority, p.source, p.buckets, p.totals, self.now_s)
            else:
                self.combiner.unread(self.now_s)
            self.combiner.processed = max(self.combiner.processed, number)
        self.read = len(self.messages)
        flush = self.combiner.flush(self.now_s)
        if flush is not None:
            apply(self.slices, [*flush.first, *flush.then])
            if flush.question is not None:
                self.questions[0] = flush.question
            self.combiner.flushed(flush, self.now_s)
            apply(self.slices, flush.cleanup)
        return flush

    def shown(self) -> tuple[dict[str, int], dict[int, int]]:
        """Totals, and the sum of all buckets of each resolution that are kept."""
        totals = {
            t: sum(each.total for each in of.values())
            for t, of in self.combiner.totals.get("INFO", {}).items()
        }
        rows = VersionedRows(self.slices, "look")
        sums = dict.fromkeys((FINE, MINUTE, HOUR), 0)
        for resolution in sums:
            for bucket in range(START_S, int(self.now_s) + resolution, resolution):
                loaded = rows.load(bucket_name("INFO", resolution, bucket), read_combined_bucket)
                if loaded is not None:
                    sums[resolution] += sum(sum(of.values()) for of in loaded.body.counts.values())
        return totals, sums


def lived(lose: int | None = None, ask: bool = True) -> tuple[dict[str, int], dict[int, int]]:
    """Two hours of counting; the combiner finds the first ``lose`` messages deleted."""
    rig = Rig()
    rig.count(100, 70)
    rig.now_s += 600
    rig.flush_until_quiet()
    if lose is not None:
        rig.read = min(lose, len(rig.messages) - 5)
        if ask:
            rig.combiner.missed()
    for _ in range(3):
        rig.combine()
        rig.flush_until_quiet()
        rig.combine()
    assert rig.flush_until_quiet() == 0
    return rig.shown()


def test_what_was_missed_is_sent_again() -> None:
    whole = lived()
    assert sum(whole[0].values()) == 100
    assert whole[1][MINUTE] == 100
    assert whole[1][HOUR] > 0
    assert lived(lose=1000) == whole
    assert lived(lose=50) == whole


def test_without_asking_it_stays_missing() -> None:
    """The control."""
    assert lived(lose=1000, ask=False)[1][MINUTE] < 100


def test_an_answer_is_remembered_and_given_once() -> None:
    rig = Rig()
    rig.count(20, 70)
    rig.combiner.missed()
    rig.combine()
    assert rig.flush_until_quiet() > 3
    rig.source = rig.new_source()
    rig.source.processed = rig.offset - 1
    sent = len(rig.messages)
    rig.flush_until_quiet()
    assert len(rig.messages) == sent
    # A later question is another one.
    rig.combiner.missed()
    rig.combine()
    rig.flush_until_quiet()
    assert len(rig.messages) > sent


def test_a_crash_in_the_middle_of_an_answer_begins_it_again() -> None:
    rig = Rig()
    rig.count(20, 70)
    rig.combiner.missed()
    rig.combine()
    rig.flush_source()
    rig.source = rig.new_source()
    assert rig.flush_until_quiet() > 3


def test_a_question_that_was_not_published_is_published_after_a_crash() -> None:
    rig = Rig()
    rig.count(3, 10)
    rig.combiner.missed()
    flush = rig.combiner.flush(rig.now_s)
    assert flush is not None
    apply(rig.slices, [*flush.first, *flush.then])  # and no more
    rig.combiner = rig.new_combiner()
    rig.combine()
    assert rig.questions == {0: AskAgain(0, again.VERSION, asked=True)}


@pytest.mark.parametrize("back", [False, True])
def test_messages_of_a_later_release_are_asked_for_when_they_can_be_read(
    back: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The source is upgraded before the combiner; then the combiner is, or the source goes back."""
    rig = Rig()
    rig.count(10, 70)
    rig.combine()
    first = len(rig.messages)
    with monkeypatch.context() as later:
        later.setattr(again, "VERSION", again.VERSION + 1)
        rig.source = rig.new_source()
        for _ in range(5):
            rig.count(2, 10)
            rig.combine(lambda _: False)
            assert not rig.questions[0].asked, "while such messages come, the answers would be of that kind"
        rig.now_s += 20
        rig.combine()
        assert rig.questions[0].asked
        sent = len(rig.messages)
        rig.flush_until_quiet()
        rig.combine(lambda _: False)
        assert len(rig.messages) <= sent + 3, "closed buckets, and no answer that could not be read"
        if not back:
            later.setattr("tables.combined_counter.VERSION", again.VERSION)
            rig.now_s += 20
            rig.combiner = rig.new_combiner()
            rig.combine()
            assert rig.questions[0].version == again.VERSION
            rig.flush_until_quiet()
            rig.combine()
    if back:
        rig.source = rig.new_source()
        rig.now_s += 20
        for _ in range(3):
            rig.combine()
            rig.flush_until_quiet()
    rig.combine()
    assert len(rig.messages) > first
    totals, sums = rig.shown()
    assert sum(totals.values()) == 20
    assert sums[FINE] == 20


def test_questions_as_rows() -> None:
    key, value = encode_question(7, AskAgain(3, 1, asked=True))
    assert is_question(key)
    assert not is_question(b"INFO/total/7")
    assert not is_question(None)
    assert decode_question(key, value) == (7, AskAgain(3, 1, asked=True))
    assert Totals().apply(key, value), "readers of counts pass them over"


def test_which_questions_are_answered() -> None:
    questions = {
        0: AskAgain(3, 1, asked=True),
        1: AskAgain(3, 1, asked=False),
        2: AskAgain(3, 0, asked=True),
        3: AskAgain(3, 2, asked=True),
    }
    assert unanswered(questions, {}) == {0: 3, 3: 3}
    assert unanswered(questions, {0: 3, 3: 2}) == {3: 3}
