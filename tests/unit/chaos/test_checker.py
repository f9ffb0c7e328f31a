"""The checker of histories: it takes good ones, and names what is wrong in broken ones."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.chaos.checker import DEAD_LETTERS, Verdict, check
from tests.chaos.history import History, Line, content_of, read

PRIORITIES = {"critical": "CRITICAL", "debug": "DEBUG"}


class Made:
    """A history as three careful workers would write it, which tests then break.

    A worker handles records, makes them durable, commits, and may die before any of it and start again from
    what was committed.
    """

    def __init__(self, seed: int, records: int = 30) -> None:
        self.random = random.Random(seed)
        self.lines: list[Line] = []
        self.log: dict[tuple[str, int], list[tuple[str, str | None, int]]] = {}
        self._batches = 0
        self._publish(records)
        for place in self.log:
            self._consume(place)
        self._end()

    def add(self, kind: str, **values: Any) -> None:
        self.lines.append({"k": kind, "s": float(len(self.lines))} | values)

    def _publish(self, records: int) -> None:
        number = 0
        while number < records:
            topic = self.random.choice(list(PRIORITIES))
            partition = self.random.randrange(2)
            log = self.log.setdefault((topic, partition), [])
            batch: list[tuple[str, str | None, int]] = []
            for _ in range(self.random.randint(1, 4)):
                number += 1
                event_type = self.random.choice(["a", "b", f"once.{number}", None])
                batch.append((f"{number}", event_type, self.random.choice([0, 10])))
            self._batches += 1
            self.add("publish", n=self._batches, t=topic, p=partition, e=[list(each[:2]) for each in batch])
            fate = self.random.random()
            if fate < 0.9:
                self.add("ack", n=self._batches, o=len(log))
                log += batch
            else:
                self.add("refused", n=self._batches, why="a broker died")
                if fate < 0.95:  # it lies there all the same, and counts
                    log += batch

    def _consume(self, place: tuple[str, int]) -> None:
        topic, partition = place
        end, committed, process = len(self.log[place]), 0, 0
        while committed < end:
            process += 1
            worker = f"w{self.random.randrange(3)}:{process}"
            self.add("ready", w=worker, g=process, at=[[topic, partition, committed or None]], sources={})
            position = committed
            while position < end:
                last = min(end - 1, position + self.random.randint(0, 4))
                for offset in range(position, last + 1):
                    if topic == "critical" or self.log[place][offset][1] is None:
                        identity = f"{topic}-{partition}-{offset}"
                        self.add(
                            "alert", w=worker, t=topic, p=partition, o=offset, id=identity, h=f"h{identity}"
                        )
                self.add("batch", w=worker, t=topic, p=partition, a=position, z=last, again=0, g=process)
                position = last + 1
                if self.random.random() < 0.2:
                    break
                if self.random.random() < 0.7:
                    self.add("flush", w=worker, t=topic, p=partition, o=last, unconfirmed=0)
                    self.add("commit", w=worker, at=[[topic, partition, position]])
                    committed = position
            if position == committed or self.random.random() < 0.5:
                continue
            self.add("flush", w=worker, t=topic, p=partition, o=position - 1, unconfirmed=0)
            self.add("commit", w=worker, at=[[topic, partition, position]])
            committed = position

    def _end(self) -> None:
        totals: Counter[tuple[str, str]] = Counter()
        buckets: Counter[tuple[str, str, int]] = Counter()
        for (topic, partition), log in self.log.items():
            entries = [[offset, *each] for offset, each in enumerate(log)]
            self.add("log", t=topic, p=partition, e=entries)
            own: Counter[str] = Counter(each[1] or DEAD_LETTERS for each in log)
            own_buckets = Counter((each[1] or DEAD_LETTERS, each[2]) for each in log)
            totals.update({(PRIORITIES[topic], event_type): n for event_type, n in own.items()})
            buckets.update({(PRIORITIES[topic], *name): n for name, n in own_buckets.items()})
            self.add(
                "source",
                t=topic,
                p=partition,
                c=[[name, n] for name, n in own.items()],
                b=[[*name, n] for name, n in own_buckets.items()],
            )
            for offset, (_, event_type, _) in enumerate(log):
                identity = f"{topic}-{partition}-{offset}"
                if event_type is None:
                    self.add("letter", of=[topic, partition, offset], id=identity)
                if topic == "critical":
                    for copy in range(self.random.choice([1, 1, 1, 2])):
                        self.add(
                            "received",
                            t="alerts",
                            p=0,
                            o=copy,
                            id=identity,
                            h=f"h{identity}",
                            of=[topic, partition, offset],
                        )
        for share in (0.3, 0.7, 1.0):
            for who in ("w0", "w1"):
                self.add("seen", who=who, c=[[*name, int(n * share)] for name, n in totals.items()])
        self.add(
            "counts",
            c=[[*name, n] for name, n in totals.items()],
            b=[[*name, n] for name, n in buckets.items()],
        )

    def verdict(self) -> Verdict:
        return check(self.lines, PRIORITIES)

    def last(self, kind: str, holds: Callable[[Line], bool] = lambda _: True) -> Line:
        return [line for line in self.lines if line["k"] == kind and holds(line)][-1]


@given(st.integers(0, 10**9))
def test_a_good_history_is_good(seed: int) -> None:
    made = Made(seed)
    verdict = made.verdict()
    assert verdict.good, verdict.report()
    assert verdict.published == verdict.counted == sum(map(len, made.log.values()))


def count_less(made: Made) -> None:
    made.last("counts")["c"][-1][-1] -= 1


def count_more(made: Made) -> None:
    made.last("counts")["c"][-1][-1] += 1


def row_of_a_source_less(made: Made) -> None:
    made.last("source", lambda line: line["b"])["b"][0][-1] -= 1


def total_of_a_source_more(made: Made) -> None:
    made.last("source", lambda line: line["c"])["c"][0][-1] += 2


def public_bucket_moved(made: Made) -> None:
    made.last("counts")["b"][0][2] = 990


def no_counts(made: Made) -> None:
    made.lines.remove(made.last("counts"))


def no_rows(made: Made) -> None:
    made.lines.remove(made.last("source", lambda line: line["c"]))


def batch_skips(made: Made) -> None:
    made.last("batch")["a"] += 1


def batch_again(made: Made) -> None:
    line = made.last("batch")
    made.lines.insert(made.lines.index(line), dict(line))


def batch_of_another(made: Made) -> None:
    made.last("batch")["w"] = "w9:1"


def commit_before_the_flush(made: Made) -> None:
    line = made.last("commit")
    made.lines.remove(line)
    made.lines.insert(made.lines.index(made.last("flush", lambda f: _same(f, line))), line)


def commit_of_what_was_not_confirmed(made: Made) -> None:
    line = made.last("commit")
    made.last("flush", lambda f: _same(f, line))["unconfirmed"] = 1


def commit_too_far(made: Made) -> None:
    made.last("commit")["at"][0][2] += 1


def commit_before_an_alert_is_confirmed(made: Made) -> None:
    place = made.last("alert")
    same = [m for m in made.lines if m["k"] == "alert" and (m["t"], m["p"], m["o"]) == _place(place)]
    for line in same:
        made.lines.remove(line)
    made.lines.append(same[-1])


def alert_missing(made: Made) -> None:
    of = made.last("received")["of"]
    made.lines = [m for m in made.lines if m["k"] != "received" or m["of"] != of]


def alert_with_another_content(made: Made) -> None:
    made.lines.append(made.last("received") | {"h": "other"})


def alert_produced_otherwise(made: Made) -> None:
    made.last("alert")["h"] = "other"
    made.lines.insert(0, made.last("alert") | {"h": "first"})


def alert_after_a_later_one(made: Made) -> None:
    places = [tuple(line["of"]) for line in made.lines if line["k"] == "received"]
    earlier = next(place for place in places if (*place[:2], place[2] + 1) in places)
    moved = [m for m in made.lines if m["k"] == "received" and tuple(m["of"]) == earlier]
    made.lines = [m for m in made.lines if m not in moved] + moved


def alert_of_nothing(made: Made) -> None:
    made.lines.append(made.last("received") | {"id": "new", "of": ["critical", 0, 10_000]})


def alert_id_of_another(made: Made) -> None:
    line = made.last("received")
    others = [m for m in made.lines if m["k"] == "received" and m["of"] != line["of"]]
    assume(others)  # few seeds have alerts of one place only
    made.lines.append(others[0] | {"id": line["id"], "h": line["h"]})


def letter_missing(made: Made) -> None:
    of = made.last("letter")["of"]
    made.lines = [m for m in made.lines if m["k"] != "letter" or m["of"] != of]


def count_goes_back(made: Made) -> None:
    made.lines.append(made.last("seen"))
    made.lines.append({**made.last("seen"), "c": [[*each[:-1], 0] for each in made.last("seen")["c"]]})


def count_vanishes(made: Made) -> None:
    made.lines.append({**made.last("seen"), "c": made.last("seen")["c"][1:]})


def acknowledged_and_gone(made: Made) -> None:
    batch = made.last("ack")["n"]
    made.last("publish", lambda line: line["n"] == batch)["e"][0][0] = "another"


def _same(flush: Line, commit: Line) -> bool:
    return [flush["t"], flush["p"]] == commit["at"][0][:2]


def _place(line: Line) -> tuple[str, int, int]:
    return line["t"], line["p"], line["o"]


@pytest.mark.parametrize(
    ("harm", "finding"),
    [
        (count_less, "lost"),
        (count_more, "twice"),
        (row_of_a_source_less, "lost"),
        (total_of_a_source_more, "twice"),
        (public_bucket_moved, "lost"),
        (public_bucket_moved, "twice"),
        (no_counts, "lost"),
        (no_rows, "lost"),
        (batch_skips, "out of order"),
        (batch_again, "out of order"),
        (batch_of_another, "out of order"),
        (commit_before_the_flush, "bad commits"),
        (commit_of_what_was_not_confirmed, "bad commits"),
        (commit_too_far, "bad commits"),
        (commit_before_an_alert_is_confirmed, "bad commits"),
        (alert_missing, "alerts lost"),
        (alert_with_another_content, "alert ids with two contents"),
        (alert_produced_otherwise, "alert ids with two contents"),
        (alert_after_a_later_one, "alerts out of order"),
        (alert_of_nothing, "made up"),
        (alert_id_of_another, "made up"),
        (letter_missing, "dead letters lost"),
        (count_goes_back, "counts that went back"),
        (count_vanishes, "counts that went back"),
        (acknowledged_and_gone, "lost by the brokers"),
    ],
)
@given(seed=st.integers(0, 10**9))
def test_a_broken_history_is_rejected(harm: Callable[[Made], None], finding: str, seed: int) -> None:
    made = Made(seed, 60)
    harm(made)
    verdict = made.verdict()
    assert verdict.findings()[finding].number > 0, verdict.report()
    assert verdict.findings()[finding].examples
    assert not verdict.good
    assert f"{finding} {verdict.findings()[finding].number:,}" in verdict.report().splitlines()[-1]


def test_the_last_line_says_the_figures() -> None:
    made = Made(1)
    number = sum(map(len, made.log.values()))
    report = made.verdict().report()
    assert report.startswith(f"published {number}, counted {number}, lost 0, twice 0, out of order 0")


def test_a_history_keeps_every_line_of_every_writer(tmp_path: Path) -> None:
    path = tmp_path / "history"
    first, second = History(path), History(path)
    first.write("start", w="w0:1")
    second.write("start", w="w1:2")
    first.write("revoked", w="w0:1")
    assert [(line["k"], line["w"]) for line in read(path)] == [
        ("start", "w0:1"),
        ("start", "w1:2"),
        ("revoked", "w0:1"),
    ]
    first.close()
    second.close()
    with path.open("ab") as file:
        file.write(b"[1]\n")
    with pytest.raises(ValueError, match="line 4"):
        list(read(path))


def test_contents_differ_where_anything_differs() -> None:
    contents = [
        content_of(b"k", b"v", [("a", b"b")]),
        content_of(None, b"v", [("a", b"b")]),
        content_of(b"k", None, [("a", b"b")]),
        content_of(b"", b"kv", [("a", b"b")]),
        content_of(b"k", b"v", []),
        content_of(b"k", b"v", [("ab", b"")]),
    ]
    assert len(set(contents)) == len(contents)


def test_a_flood_of_event_types_is_counted_under_whichever_of_them_but_as_often() -> None:
    log = [[offset, f"{offset}", f"flood.{offset}", 0] for offset in range(4)] + [[4, "4", "a", 0]]
    named = [["flood.2", 1], ["(other event types)", 3], ["a", 1]]

    def verdict(of_others: int) -> Verdict:
        totals = [[name, of_others if number == 3 else number] for name, number in named]
        buckets = [[name, 0, number] for name, number in totals]
        public = [["DEBUG", *each] for each in totals], [["DEBUG", *each] for each in buckets]
        lines = [
            {"k": "log", "t": "debug", "p": 0, "e": log},
            {"k": "source", "t": "debug", "p": 0, "c": totals, "b": buckets},
            {"k": "counts", "of": "public", "c": public[0], "b": public[1]},
        ]
        return check(lines, PRIORITIES)

    assert verdict(3).good
    assert verdict(2).lost.number == 1
    assert verdict(4).twice.number == 1


def made_again() -> list[Line]:
    """A topic whose records are counted; made again; two of three new records were deleted unread."""
    place = {"t": "debug", "p": 0}
    return [
        {"k": "publish", "n": 1, **place, "e": [["1", "a"], ["2", "a"]]},
        {"k": "ack", "n": 1, "o": 0},
        {"k": "ready", "w": "w0:1", "g": 1, "at": [["debug", 0, None]], "sources": {}},
        {"k": "batch", "w": "w0:1", "g": 1, **place, "a": 0, "z": 1, "again": 0},
        {"k": "flush", "w": "w0:1", **place, "o": 1, "unconfirmed": 0},
        {"k": "remade", "t": "debug", "as": "debug@1"},
        {"k": "log", "t": "debug@1", "p": 0, "e": [[0, "1", "a", 10], [1, "2", "a", 10]]},
        # It has not heard of it yet.
        {"k": "commit", "w": "w0:1", "at": [["debug", 0, 2]]},
        {"k": "publish", "n": 2, **place, "e": [["3", "b"], ["4", "b"], ["5", "b"]]},
        {"k": "ack", "n": 2, "o": 0},
        {"k": "deleted", **place, "o": 2},
        {"k": "ready", "w": "w0:1", "g": 2, "at": [["debug", 0, None]], "sources": {}},
        {"k": "batch", "w": "w0:1", "g": 2, **place, "a": 2, "z": 2, "again": 0},
        {"k": "flush", "w": "w0:1", **place, "o": 2, "unconfirmed": 0},
        {"k": "commit", "w": "w0:1", "at": [["debug", 0, 3]]},
        {"k": "log", **place, "e": [[2, "5", "b", 20]]},
        {"k": "source", "t": "debug@1", "p": 0, "c": [["a", 2]], "b": [["a", 10, 2]]},
        {"k": "source", **place, "c": [["b", 1]], "b": [["b", 20, 1]]},
        {
            "k": "counts",
            "c": [["DEBUG", "a", 2], ["DEBUG", "b", 1]],
            "b": [["DEBUG", "a", 10, 2], ["DEBUG", "b", 20, 1]],
        },
    ]


def test_a_topic_made_again_and_records_deleted_unread() -> None:
    verdict = check(made_again(), PRIORITIES)
    assert verdict.good, verdict.report()
    assert (verdict.published, verdict.counted) == (3, 3)


@pytest.mark.parametrize(
    ("without", "finds"),
    [("remade", "twice"), ("deleted", "out of order"), ("ready", "out of order")],
)
def test_without_being_told_so_it_finds_fault(without: str, finds: str) -> None:
    """The control: neither what is of the old topic nor what is gone unread passes for the new one's."""
    lines = made_again()
    last = max(index for index, line in enumerate(lines) if line["k"] == without)
    found = check([*lines[:last], *lines[last + 1 :]], PRIORITIES).findings()
    assert found[finds].number, found


def test_old_records_counted_into_the_new_topic_are_found() -> None:
    lines = made_again()
    lines[-2] = lines[-2] | {"c": [["b", 3]]}
    assert check(lines, PRIORITIES).twice.number == 2
