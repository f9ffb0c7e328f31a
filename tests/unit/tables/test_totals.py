"""Counts in memory: windows against brute force, rows that arrive late or are taken back, filters."""

from __future__ import annotations

from collections import Counter
from random import Random

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tables.buckets import FINE, HOUR, MINUTE, RETENTION_S, WINDOWS, parent
from tables.public_rows import PublicRow, encode_key, encode_row, encode_value
from tables.reserved_types import OVERFLOW
from tables.row_bodies import TypeTotal
from tables.totals import Count, Late, Totals, make_matcher
from tests.window_counts import counts_in

NOW = 1_700_000_000
PRIORITIES = ("CRITICAL", "INFO")
SLICES = 2
#: What a window's beginning is rounded down to.
EDGES = {"1m": FINE, "5m": FINE, "1h": FINE, "24h": MINUTE, "30d": HOUR}

#: (priority, slice, fine bucket) -> event type -> count
Fine = dict[tuple[str, int, int], Counter[str]]


def apply_row(
    totals: Totals,
    name: tuple[str, int | None, int | None, int],
    offset: int,
    counts: dict[str, int] | None = None,
    known: dict[str, list[int]] | None = None,
) -> bool:
    """Take in a row; ``name`` is priority, resolution, bucket and slice."""
    typed = None if known is None else {t: TypeTotal(*each) for t, each in known.items()}
    row = PublicRow(name[0], name[1], name[2], offset, counts, typed)
    return totals.apply(encode_key(*name), encode_value(row, 0))


def random_counts(random: Random, now: int) -> Fine:
    """Counts at random times, most of them near where a window begins, a bucket ends, or in the future."""
    fine: Fine = {}
    for _ in range(random.randint(0, 60)):
        near = random.choice([*WINDOWS.values(), 0, 600, 86_400, 3600])
        time_s = (
            now
            - near
            + random.choice([0, 1, -1, 9, 10, -10, 59, 60, -60, 3599, -3600, random.randint(-9999, 9999)])
        )
        bucket = parent(min(time_s, now + 600), FINE)
        where = random.choice(PRIORITIES), random.randrange(SLICES), bucket
        fine.setdefault(where, Counter())[f"{where[1]}.{random.choice('abc')}"] += random.randint(1, 5)
    return fine


def fill(totals: Totals, fine: Fine, now: int) -> None:
    """Rows of all resolutions, as long as they are kept."""
    rows: dict[tuple[str, int, int, int], Counter[str]] = {}
    sums: dict[tuple[str, int], Counter[str]] = {}
    for (priority, slice_, bucket), counts in fine.items():
        for resolution in (FINE, MINUTE, HOUR):
            if bucket >= now - RETENTION_S[resolution]:
                name = (priority, resolution, parent(bucket, resolution), slice_)
                rows.setdefault(name, Counter()).update(counts)
        sums.setdefault((priority, slice_), Counter()).update(counts)
    for name, counts in rows.items():
        assert apply_row(totals, name, 1, dict(counts))
    for (priority, slice_), counts in sums.items():
        known = {event_type: [count, now * 1000] for event_type, count in counts.items()}
        assert apply_row(totals, (priority, None, None, slice_), 1, None, known)


def answered(totals: Totals, window: str, now_s: float) -> dict[tuple[str, str], int]:
    found = counts_in(totals, window, now_s)
    assert len({(each.priority, each.event_type) for each in found}) == len(found)
    return {(each.priority, each.event_type): each.count for each in found}


@given(st.integers(0, 2**32), st.integers(NOW, NOW + HOUR), st.sampled_from([*WINDOWS, "total"]))
def test_windows_are_the_sum_of_their_buckets(seed: int, now: int, window: str) -> None:
    """From the edge of the bucket that the window begins in, and up to what is dated ahead."""
    fine = random_counts(Random(seed), now)
    totals = Totals()
    fill(totals, fine, now)
    start = parent(now - WINDOWS[window], EDGES[window]) if window in WINDOWS else float("-inf")
    expected: Counter[tuple[str, str]] = Counter()
    for (priority, _, bucket), counts in fine.items():
        if bucket >= start:
            expected.update({(priority, event_type): count for event_type, count in counts.items()})
    assert answered(totals, window, now + 0.9) == expected
    totals.reach(now * 1000)
    totals.expire(now)
    assert answered(totals, window, now) == expected, "a row that a window needs has expired"


@pytest.mark.parametrize(("window", "edge"), EDGES.items())
def test_bucket_at_the_beginning_of_a_window(window: str, edge: int) -> None:
    """The bucket that the window begins in is in it, and the one before is not."""
    now = NOW - NOW % HOUR + 1234
    begins = parent(now - WINDOWS[window], edge)
    totals = Totals()
    apply_row(totals, ("INFO", None, None, 0), 1, None, {"a": [3, 0]})
    for bucket, count in ((begins, 1), (begins - edge, 100)):
        apply_row(totals, ("INFO", edge, bucket, 0), 1, {"a": count})
    assert answered(totals, window, now) == {("INFO", "a"): 1}


def test_unknown_window_is_refused() -> None:
    totals = Totals()
    apply_row(totals, ("INFO", None, None, 0), 1, None, {"a": [3, 0]})
    with pytest.raises(KeyError):
        counts_in(totals, "2m", NOW)


# --- rows that come late, and rows that go -------------------------------------------------------


class TakesTheLast(Totals):
    """Negative control: takes whatever comes last."""

    def apply(self, key: bytes, value: bytes | None) -> bool:
        self.rows.clear()
        return super().apply(key, value)


def outcome(totals: Totals, offsets: list[int]) -> tuple[dict[tuple[str, str], int], int]:
    """Versions of one bucket whose counts grow with the offset, in the order of ``offsets``."""
    for offset in offsets:
        known = {"a": [offset, offset * 1000]}
        apply_row(totals, ("INFO", FINE, NOW, 0), offset, {"a": offset}, known)
    return answered(totals, "5m", NOW), answered(totals, "total", NOW)["INFO", "a"]


@given(st.lists(st.integers(1, 9), min_size=1, max_size=8))
def test_newest_row_holds_in_any_order(offsets: list[int]) -> None:
    newest = max(offsets)
    assert outcome(Totals(), offsets) == ({("INFO", "a"): newest}, newest)


def test_newest_row_would_not_hold_otherwise() -> None:
    assert outcome(TakesTheLast(), [2, 1]) != ({("INFO", "a"): 2}, 2)


def test_outdated_row_is_reported() -> None:
    """So that its owner writes the newer one again; the same offset is a repeat, and no news."""
    totals = Totals()
    name = ("INFO", FINE, NOW, 0)
    assert [apply_row(totals, name, offset, {"a": offset}) for offset in (5, 5, 4, 6)] == [
        True,
        True,
        False,
        True,
    ]
    assert (totals.applied, totals.outdated) == (4, 1)


def test_outdated_totals_are_reported_and_left_out() -> None:
    totals = Totals()
    name = ("INFO", None, None, 0)
    assert apply_row(totals, name, 5, None, {"a": [7, 50]})
    assert not apply_row(totals, name, 4, None, {"a": [6, 40], "b": [1, 1]})
    assert totals.known("a") == {"INFO": (7, 50)}
    assert totals.known("b") == {}
    assert totals.outdated == 1


def test_totals_of_a_bucket_never_lessen_what_is_known() -> None:
    """Rows of several buckets carry totals as of different times, and are read in the order of compaction."""
    totals = Totals()
    for bucket, offset, known in ((NOW, 5, [7, 50]), (NOW + 10, 4, [6, 60]), (NOW + 20, 6, [8, 40])):
        apply_row(totals, ("INFO", FINE, bucket, 0), offset, {"a": 1}, {"a": known})
    assert totals.known("a") == {"INFO": (8, 60)}


def test_slices_and_priorities_add_up_apart() -> None:
    totals = Totals()
    for priority, slice_, event_type in (("INFO", 0, "a"), ("INFO", 1, "b"), ("ERROR", 0, "a")):
        apply_row(totals, (priority, FINE, NOW, slice_), 1, {event_type: 2}, {event_type: [2, 9]})
    assert answered(totals, "1m", NOW) == {("INFO", "a"): 2, ("INFO", "b"): 2, ("ERROR", "a"): 2}
    assert counts_in(totals, "1m", NOW, priority="ERROR") == [Count("a", "ERROR", 2, 9)]
    assert counts_in(totals, "1m", NOW, priority="WARN") == []
    assert sorted(totals.priorities) == ["ERROR", "INFO"]


def test_null_takes_a_bucket_back() -> None:
    """Of its slice alone; totals stay."""
    totals = Totals()
    for slice_, event_type in ((0, "a"), (1, "b")):
        apply_row(totals, ("INFO", FINE, NOW, slice_), 5, {event_type: 2}, {event_type: [2, 9]})
    assert totals.apply(encode_key("INFO", FINE, NOW, 0), None)
    assert answered(totals, "1m", NOW) == {("INFO", "b"): 2}
    assert totals.apply(encode_key("INFO", FINE, NOW, 1), None)
    assert totals.apply(encode_key("INFO", FINE, NOW, 1), None), "a second time does no harm"
    assert answered(totals, "1m", NOW) == {}
    assert answered(totals, "total", NOW) == {("INFO", "a"): 2, ("INFO", "b"): 2}
    assert totals.apply(encode_key("INFO", None, None, 0), None)
    assert len(answered(totals, "total", NOW)) == 2


def test_expire_forgets_what_no_window_reaches() -> None:
    totals = Totals()
    for resolution in (FINE, MINUTE, HOUR):
        for age in (RETENTION_S[resolution], RETENTION_S[resolution] + 4 * HOUR):
            bucket = parent(NOW - age, resolution)
            apply_row(totals, ("INFO", resolution, bucket, 0), 1, {"a": 1})
    totals.reach(NOW * 1000)
    totals.expire(NOW)
    for resolution in (FINE, MINUTE, HOUR):
        span = RETENTION_S[resolution] + 5 * HOUR
        counted = [count for _, count in totals.series("a", "INFO", resolution, NOW - span, NOW)]
        assert sum(counted) == 1


@pytest.mark.parametrize("value", [b"", b"{", b"[]", b"7", b"null"])
def test_value_that_is_no_row_is_refused(value: bytes) -> None:
    totals = Totals()
    with pytest.raises(ValueError, match=r"."):
        totals.apply(encode_key("INFO", FINE, NOW, 0), value)
    assert counts_in(totals, "1m", NOW) == []


@pytest.mark.parametrize("key", [b"", b"INFO", b"INFO/10/x/0"])
def test_key_that_names_no_row_is_refused(key: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        Totals().apply(key, orjson.dumps({"offset": 1, "counts": {}}))


def test_series_has_a_value_for_every_bucket() -> None:
    totals = Totals()
    for bucket, slice_ in ((NOW, 0), (NOW, 1), (NOW + 20, 0)):
        apply_row(totals, ("INFO", FINE, bucket, slice_), 1, {"a": 2, "b": 5})
    assert list(totals.series("a", "INFO", FINE, NOW + 3, NOW + 31)) == [
        (NOW, 4),
        (NOW + 10, 0),
        (NOW + 20, 2),
        (NOW + 30, 0),
    ]
    assert list(totals.series("a", "WARN", FINE, NOW, NOW + 10)) == [(NOW, 0)]


# --- filters -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "matching", "other"),
    [
        ("compute.*", ["compute.instance.create", "compute."], ["compute", "xcompute.a", "Compute.a"]),
        ("*.error", ["a.error", ".error", "a.b.error"], ["error", "a.error.b", "a.errors"]),
        ("a?c", ["abc", "a.c"], ["ac", "abbc"]),
        ("*", ["", "a", "a\nb"], []),
        ("a", ["a"], ["A", "ab", ""]),
        ("a.b", ["a.b"], ["axb"]),
        ("[a]*", ["[a]", "[a]b"], ["a", "ab"]),
        ("*[!a]", ["x[!a]"], ["xb", "xa"]),
        ("a+b*", ["a+b", "a+bc"], ["aab"]),
        ("", [""], ["a"]),
    ],
)
def test_wildcards(pattern: str, matching: list[str], other: list[str]) -> None:
    """Only ``*`` and ``?`` are special; the whole name must match, and case matters."""
    matches = make_matcher(pattern)
    assert [name for name in matching + other if matches(name)] == matching


@given(st.text(max_size=12))
def test_pattern_without_wildcards_matches_itself_alone(name: str) -> None:
    plain = name.replace("*", "").replace("?", "")
    matches = make_matcher(plain)
    assert matches(plain)
    assert not matches(plain + "x")


def test_rows_that_come_late_are_told_for_windows_that_are_too_short() -> None:
    totals = Totals()

    def apply(bucket: int, counts: dict[str, int], offset: int, written_s: float) -> None:
        row = PublicRow("INFO", FINE, bucket, offset, counts, None)
        totals.apply(encode_key("INFO", FINE, bucket, 0), encode_value(row, 0), written_s)

    apply(NOW - 20, {"a": 1}, 1, NOW)
    apply(NOW - 3000, {"a": 1}, 2, 0.0)  # of before the start
    assert totals.late(60, NOW) == []
    apply(NOW - 3000, {"a": 1}, 3, NOW)  # published again
    assert totals.late(60, NOW) == []
    apply(NOW - 3000, {"a": 2}, 4, NOW)
    assert totals.late(60, NOW) == totals.late(300, NOW) == [Late("INFO", 2990, NOW)]
    assert totals.late(3600, NOW) == []
    assert totals.late(60, NOW + 600) == []


# ---------------------------------------------------------------- what was forgotten


def since_ever(totals: Totals) -> dict[str, int]:
    return {each.event_type: each.count for some in totals.since_ever_in_steps("INFO") for each in some}


def test_what_a_newer_row_of_totals_names_no_more_is_gone_and_each_slice_has_others() -> None:
    totals = Totals()
    assert apply_row(totals, ("INFO", None, None, 0), 1, known={"a": [10, 1], OVERFLOW: [2, 1]})
    assert apply_row(totals, ("INFO", None, None, 1), 1, known={"b": [5, 1], OVERFLOW: [7, 9]})
    assert since_ever(totals) == {"a": 10, "b": 5, OVERFLOW: 9}
    assert totals.known(OVERFLOW) == {"INFO": (9, 9)}
    apply_row(totals, ("INFO", None, None, 0), 4, known={OVERFLOW: [12, 1]})
    assert since_ever(totals) == {"b": 5, OVERFLOW: 19}
    # It comes again, and a row that a worker wrote late does not bring back what it was.
    apply_row(totals, ("INFO", FINE, NOW, 0), 5, {"a": 1}, {"a": [1, 1]})
    assert not apply_row(totals, ("INFO", None, None, 0), 3, known={"a": [10, 1], OVERFLOW: [2, 1]})
    apply_row(totals, ("INFO", FINE, NOW + FINE, 0), 3, {"a": 1}, {"a": [10, 1]})
    assert since_ever(totals) == {"a": 1, "b": 5, OVERFLOW: 19}


def test_a_row_of_totals_takes_nothing_that_a_newer_row_of_a_bucket_named() -> None:
    totals = Totals()
    apply_row(totals, ("INFO", FINE, NOW, 0), 7, {"a": 1}, {"a": [1, 1]})
    apply_row(totals, ("INFO", None, None, 0), 5, known={"b": [1, 1]})
    assert since_ever(totals) == {"a": 1, "b": 1}
    apply_row(totals, ("INFO", None, None, 0), 8, known={"b": [2, 1]})
    assert since_ever(totals) == {"b": 2}


def test_totals_in_several_records_lose_no_name_that_another_of_them_holds() -> None:
    totals = Totals()
    seen = 0

    def publish(offset: int, names: list[str]) -> None:
        nonlocal seen
        row = PublicRow("INFO", None, None, offset, None, {name: TypeTotal(1, 0) for name in names})
        parts = encode_row(row, 0, 0, largest_bytes=400)
        assert len(parts) > 2
        for key, value in parts:
            totals.apply(key, value)
            assert len(since_ever(totals)) >= seen, "names that are still there stay, from part to part"
        seen = 0
        assert since_ever(totals) == dict.fromkeys(names, 1)

    names = [f"type.{number}" for number in range(40)]
    publish(1, names)
    apply_row(totals, ("INFO", FINE, NOW, 0), 2, {"new": 1}, {"new": [1, 0]})
    seen = len(names)
    publish(3, [*names, "new"])
    seen = len(names) - 2
    publish(4, [*names[3:], "new"])  # the first are gone, so that the others lie in earlier parts
