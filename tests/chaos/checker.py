"""The checker: reads a history and says what was lost, doubled, out of order, or promised too early. Pure.

The truth is what lay in the notification topics at the end; every acknowledged record must be there, and one
that was never acknowledged counts if it is. See ``history`` for the lines.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.chaos.history import Line

#: What unreadable records are counted as.
DEAD_LETTERS = "(dead letters)"
#: Where event types without end are published, their order decides which ones are counted by name; so those
#: that begin so, and what workers count as others, are one to the checker. No other line may have either.
FLOOD = "flood."
_OTHERS = "(other event types)"
#: Counter-examples kept of each kind; all are counted.
_SHOWN = 20

#: Topic and partition.
Place = tuple[str, int]
Name = tuple[Any, ...]


@dataclass
class Finding:
    """How often something was found, and the first examples."""

    number: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, example: str, number: int = 1) -> None:
        """Note one more."""
        self.number += number
        if len(self.examples) < _SHOWN:
            self.examples.append(example)


@dataclass
class Verdict:
    """What a history says."""

    published: int = 0
    counted: int = 0
    alerts: int = 0
    #: Alert records beyond the first of an id: allowed after a crash, since subscribers can drop them.
    repeated_alerts: int = 0
    #: Records that an agent read though their offset was handled before, by whichever worker.
    read_again: int = 0
    lost: Finding = field(default_factory=Finding)
    twice: Finding = field(default_factory=Finding)
    out_of_order: Finding = field(default_factory=Finding)
    bad_commits: Finding = field(default_factory=Finding)
    alerts_lost: Finding = field(default_factory=Finding)
    two_contents: Finding = field(default_factory=Finding)
    #: Alerts in one partition that came before one of an earlier record of the same source; repeats left out.
    disordered: Finding = field(default_factory=Finding)
    went_back: Finding = field(default_factory=Finding)
    letters_lost: Finding = field(default_factory=Finding)
    #: Alerts and dead letters of records that are in no topic, and alert ids that stand for two records.
    made_up: Finding = field(default_factory=Finding)
    #: Acknowledged records that are not in their topic: the brokers' fault, not Tocsin's.
    broker_lost: Finding = field(default_factory=Finding)

    def findings(self) -> dict[str, Finding]:
        """Every answer by its name in the line."""
        return {
            "lost": self.lost,
            "twice": self.twice,
            "out of order": self.out_of_order,
            "bad commits": self.bad_commits,
            "alerts lost": self.alerts_lost,
            "alert ids with two contents": self.two_contents,
            "alerts out of order": self.disordered,
            "counts that went back": self.went_back,
            "dead letters lost": self.letters_lost,
            "made up": self.made_up,
            "lost by the brokers": self.broker_lost,
        }

    @property
    def good(self) -> bool:
        """Whether nothing is wrong."""
        return not any(finding.number for finding in self.findings().values())

    def line(self) -> str:
        """The figures, in one line."""
        shown = ", ".join(f"{name} {finding.number:,}" for name, finding in self.findings().items())
        return f"published {self.published:,}, counted {self.counted:,}, {shown}"

    def report(self) -> str:
        """Counter-examples, then the figures as the last line."""
        lines = [
            f"{name}: {example}" for name, finding in self.findings().items() for example in finding.examples
        ]
        return "\n".join([*lines, self.line()])


class _Source:
    """What the workers did with one partition."""

    def __init__(self) -> None:
        #: Everything below these offsets is.
        self.durable = 0
        self.handled = 0
        #: offset -> id, event type or None, bucket
        self.log: dict[int, tuple[str, str | None, int]] = {}
        #: offset -> id, as acknowledged
        self.sent: dict[int, str] = {}
        #: What lay below was deleted before anybody had read it.
        self.start = 0
        #: What lies below is of an earlier life of the partition.
        self.begin = 0


class Checker:
    """Reads a history line by line.

    Args:
        priorities: topic -> priority of the notification topics.
        forwarded: priorities each of whose notifications must be in an alert topic.
        windows: whether counts by 10 s bucket are checked as well.
        recorded: whether the workers recorded what they did; a stock worker does not.
    """

    def __init__(
        self,
        priorities: Mapping[str, str],
        forwarded: Iterable[str] = ("CRITICAL", "ERROR"),
        *,
        windows: bool = True,
        recorded: bool = True,
    ) -> None:
        self._priorities = dict(priorities)
        self._forwarded = set(forwarded)
        self._windows = windows
        self._recorded = recorded
        self._verdict = Verdict()
        self._sources: dict[Place, _Source] = defaultdict(_Source)
        self._batches: dict[int, tuple[Place, list[str]]] = {}
        self._positions: dict[tuple[str, int, Place], int] = {}
        self._seen: dict[str, dict[tuple[str, str], int]] = {}
        #: What a place was before its topic was made again, and who works on it since.
        self._before: dict[Place, Place] = {}
        self._renewed: set[tuple[str, Place]] = set()
        self._commits: list[tuple[str, Place, int, int, int]] = []
        self._contents: dict[str, str] = {}
        self._places: dict[str, tuple[str, int, int]] = {}
        self._received: Counter[tuple[str, int, int]] = Counter()
        #: Source, and partition of an alert topic -> the latest record of the source that has an alert there.
        self._latest: dict[tuple[Place, Place], int] = {}
        self._letters: Counter[tuple[str, int, int]] = Counter()
        self._counts: Line | None = None
        self._rows: dict[Place, Line] = {}
        self._confirm_times: dict[tuple[str, int, int], int] = {}
        self._number = 0
        #: By view (totals, rows, of sources or public): how many are missing, and how many too many.
        self._missing: Counter[str] = Counter()
        self._excess: Counter[str] = Counter()

    def feed(self, line: Line) -> None:
        """Take in one line; kinds that say nothing about exactness are left out."""
        self._number += 1
        handle = getattr(self, f"_on_{line['k']}", None)
        if handle is not None:
            handle(line)

    # ---------------------------------------------------------------- publishing

    def _on_publish(self, line: Line) -> None:
        self._batches[line["n"]] = ((line["t"], line["p"]), [each[0] for each in line["e"]])

    def _on_ack(self, line: Line) -> None:
        place, ids = self._batches.pop(line["n"])
        self._sources[place].sent.update(enumerate(ids, line["o"]))

    def _on_log(self, line: Line) -> None:
        source = self._sources[line["t"], line["p"]]
        for offset, identity, event_type, bucket in line["e"]:
            if offset >= source.begin:
                source.log[offset] = (identity, event_type, bucket)

    def _on_begins(self, line: Line) -> None:
        self._sources[line["t"], line["p"]].begin = line["o"]

    def _on_reset(self, _: Line) -> None:
        topics = {topic: priority for topic, priority in self._priorities.items() if "@" not in topic}
        vars(self).update(
            vars(Checker(topics, self._forwarded, windows=self._windows, recorded=self._recorded))
        )

    def _on_remade(self, line: Line) -> None:
        topic, old = line["t"], line["as"]
        self._priorities[old] = self._priorities[topic]
        for place in [place for place in self._sources if place[0] == topic]:
            self._before[place] = old, place[1]
            self._sources[old, place[1]] = self._sources.pop(place)
        self._renewed = {each for each in self._renewed if each[1][0] != topic}

    def _place(self, line: Line, topic: str, partition: int) -> Place:
        """The place that a worker means: until its next assignment it means the topic that there was."""
        place = (topic, partition)
        return place if (line["w"], place) in self._renewed else self._before.get(place, place)

    def _on_deleted(self, line: Line) -> None:
        source = self._sources[line["t"], line["p"]]
        source.start = line["o"]
        source.sent = {offset: each for offset, each in source.sent.items() if offset >= line["o"]}

    # ---------------------------------------------------------------- what workers did

    def _on_ready(self, line: Line) -> None:
        for topic, partition, committed in line["at"]:
            if topic in self._priorities:
                self._renewed.add((line["w"], (topic, partition)))
                self._positions[line["w"], line["g"], (topic, partition)] = committed or 0

    def _on_batch(self, line: Line) -> None:
        place = self._place(line, line["t"], line["p"])
        key = (line["w"], line["g"], place)
        due = self._positions.get(key)
        if due is None:
            self._verdict.out_of_order.add(f"{line['w']} handled {_at(place, line['a'])} and does not own it")
        elif line["a"] != (due := max(due, self._sources[place].start)):
            self._verdict.out_of_order.add(
                f"{line['w']} handled {_at(place, line['a'])} where {due} was due", abs(line["a"] - due)
            )
        self._positions[key] = line["z"] + 1
        source = self._sources[place]
        self._verdict.read_again += max(0, min(source.handled, line["z"] + 1) - line["a"])
        source.handled = max(source.handled, line["z"] + 1)

    def _on_flush(self, line: Line) -> None:
        if not line.get("unconfirmed"):
            source = self._sources[self._place(line, line["t"], line["p"])]
            source.durable = max(source.durable, line["o"] + 1)

    def _on_alert(self, line: Line) -> None:
        self._confirm_times.setdefault((line["t"], line["p"], line["o"]), self._number)
        self._same_content(line["id"], line["h"], "as produced")

    def _on_commit(self, line: Line) -> None:
        for topic, partition, offset in line["at"]:
            place = self._place(line, topic, partition)
            durable = self._sources[place].durable
            self._commits.append((line["w"], place, offset, durable, self._number))

    # ---------------------------------------------------------------- what others saw

    def _on_seen(self, line: Line) -> None:
        now = {(priority, event_type): count for priority, event_type, count in line["c"]}
        for name, known in self._seen.get(line["who"], {}).items():
            count = now.get(name, 0)
            if count < known:
                self._verdict.went_back.add(
                    f"{line['who']} saw {known} {' '.join(name)}, and {count} at {line['s']}"
                )
        self._seen[line["who"]] = now

    def _on_received(self, line: Line) -> None:
        place = tuple(line["of"])
        if not self._received[place]:
            where = place[:2], (line["t"], line["p"])
            if place[2] < (latest := self._latest.get(where, -1)):
                self._verdict.disordered.add(
                    f"that of {_at(place[:2], place[2])} came after that of {latest}"
                )
            self._latest[where] = max(latest, place[2])
        self._received[place] += 1
        identity = line["id"]
        if identity is not None:
            self._same_content(identity, line["h"], f"as received at {line['t']}/{line['p']}/{line['o']}")
            if self._places.setdefault(identity, place) != place:
                self._verdict.made_up.add(f"alert {identity} is of {self._places[identity]} and of {place}")

    def _same_content(self, identity: str, content: str, where: str) -> None:
        if self._contents.setdefault(identity, content) != content:
            self._verdict.two_contents.add(f"{identity} {where} differs from what it was before")

    def _on_letter(self, line: Line) -> None:
        self._letters[tuple(line["of"])] += 1

    def _on_counts(self, line: Line) -> None:
        self._counts = line

    def _on_source(self, line: Line) -> None:
        self._rows[line["t"], line["p"]] = line

    # ---------------------------------------------------------------- the answers

    def finish(self) -> Verdict:
        """The verdict, when the whole history was taken in."""
        self._check_brokers()
        self._check_counts()
        self._check_effects()
        if self._recorded:
            self._check_commits()
        return self._verdict

    def _check_brokers(self) -> None:
        for place, source in self._sources.items():
            for offset, identity in source.sent.items():
                found = source.log.get(offset)
                if found is None or found[0] != identity:
                    self._verdict.broker_lost.add(f"{_at(place, offset)} was acknowledged as {identity}")

    def _check_counts(self) -> None:
        verdict = self._verdict
        totals: Counter[Name] = Counter()
        buckets: Counter[Name] = Counter()
        for (topic, partition), source in self._sources.items():
            if (priority := self._priorities.get(topic)) is None:
                continue
            own: Counter[Name] = Counter()
            own_buckets: Counter[Name] = Counter()
            for _, event_type, bucket in source.log.values():
                name = _known(event_type or DEAD_LETTERS)
                own[(name,)] += 1
                own_buckets[name, bucket] += 1
            totals.update({(priority, *name): n for name, n in own.items()})
            buckets.update({(priority, *name): n for name, n in own_buckets.items()})
            if self._recorded:
                self._check_rows((topic, partition), own, own_buckets)
        verdict.published = totals.total()
        if self._counts is None:
            verdict.lost.add("nothing says what was counted", verdict.published)
            return
        found = _counter(self._counts["c"])
        verdict.counted = found.total()
        self._compare("the public total", found, totals)
        if self._windows:
            self._compare("the public row", _counter(self._counts["b"]), buckets)
        # One lost record is missing in totals and in a bucket, in public and in the rows: it is one.
        verdict.lost.number = max(self._missing.values(), default=0)
        verdict.twice.number = max(self._excess.values(), default=0)

    def _check_rows(self, place: Place, totals: Counter[Name], buckets: Counter[Name]) -> None:
        line = self._rows.get(place)
        if line is None:
            if totals:
                self._verdict.lost.add(f"{place[0]}/{place[1]} has no rows")
                self._missing["totals of sources"] += totals.total()
            return
        where = f"of {place[0]}/{place[1]}"
        self._compare(f"the total {where}", _counter(line["c"]), totals, "totals of sources")
        if self._windows:
            self._compare(f"the row {where}", _counter(line["b"]), buckets, "rows of sources")

    def _compare(self, what: str, found: Counter[Name], expected: Counter[Name], view: str = "") -> None:
        for name in sorted(found.keys() | expected.keys(), key=str):
            missing = expected[name] - found[name]
            if missing:
                finding = self._verdict.lost if missing > 0 else self._verdict.twice
                finding.add(f"{what} of {' '.join(map(str, name))} is {found[name]} for {expected[name]}")
                (self._missing if missing > 0 else self._excess)[view or what] += abs(missing)

    def _check_effects(self) -> None:
        verdict = self._verdict
        wanted, letters = set(), set()
        for (topic, partition), source in self._sources.items():
            forwarded = self._priorities.get(topic) in self._forwarded
            for offset, (_, event_type, _) in source.log.items():
                if event_type is None:
                    letters.add((topic, partition, offset))
                if forwarded:
                    wanted.add((topic, partition, offset))
        for missing in sorted(wanted - self._received.keys()):
            verdict.alerts_lost.add(f"{_at(missing[:2], missing[2])} was not forwarded")
        for missing in sorted(letters - self._letters.keys()):
            verdict.letters_lost.add(f"{_at(missing[:2], missing[2])} is not in the dead letters")
        for strange in sorted((self._received.keys() - wanted) | (self._letters.keys() - letters)):
            verdict.made_up.add(f"{_at(strange[:2], strange[2])} was sent on and was never published so")
        verdict.alerts = len(wanted & self._received.keys())
        verdict.repeated_alerts = self._received.total() - len(self._received)

    def _check_commits(self) -> None:
        effects: dict[Place, list[int]] = {}
        for place, source in self._sources.items():
            forwarded = self._priorities.get(place[0]) in self._forwarded
            effects[place] = sorted(o for o, (_, e, _) in source.log.items() if e is None or forwarded)
        reached: Counter[Place] = Counter()
        for worker, place, offset, durable, number in self._commits:
            if offset > durable:
                self._verdict.bad_commits.add(
                    f"{worker} committed {_at(place, offset)} when {durable} was durable", offset - durable
                )
            needed = effects.get(place, [])
            while reached[place] < len(needed) and needed[reached[place]] < offset:
                at = (*place, needed[reached[place]])
                if self._confirm_times.get(at, number) >= number:
                    self._verdict.bad_commits.add(
                        f"{worker} committed {_at(place, offset)} before what {at[2]} caused was confirmed"
                    )
                reached[place] += 1


def _counter(entries: Iterable[list[Any]]) -> Counter[Name]:
    """Lists of a name and a number, as a counter."""
    found: Counter[Name] = Counter()
    for *name, number in entries:
        if number:
            found[tuple(_known(part) if isinstance(part, str) else part for part in name)] += number
    return found


def _known(event_type: str) -> str:
    return _OTHERS if event_type.startswith(FLOOD) else event_type


def _at(place: tuple[Any, ...], offset: int) -> str:
    return f"{place[0]}/{place[1]}/{offset}"


def check(lines: Iterable[Line], priorities: Mapping[str, str], **options: Any) -> Verdict:
    """The verdict about a whole history; ``options`` as of ``Checker``."""
    checker = Checker(priorities, **options)
    for line in lines:
        checker.feed(line)
    return checker.finish()
