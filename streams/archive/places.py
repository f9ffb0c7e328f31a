"""Which records of an archive were given already, and which are missing. Pure."""

from __future__ import annotations

import bisect
from array import array
from collections import defaultdict
from collections.abc import Iterator

#: Topic, partition, and id of the topic; the id is empty where it is not known.
Log = tuple[str, int, str]


class SeenPlaces:
    """The places of records that were seen, with a checksum of each: four bytes a record in a run."""

    def __init__(self) -> None:
        #: First offsets of runs, in order, and the checksums in each run.
        self._runs: dict[Log, tuple[list[int], list[array[int]]]] = {}
        #: Checksums of further records at a place: a log has lost its end, or topics have no ids.
        self._others: dict[tuple[Log, int], set[int]] = {}
        self._ids: dict[tuple[str, int], set[str]] = defaultdict(set)

    def add(self, log: Log, offset: int, checksum: int) -> bool:
        """Note a record; whether it is new: there was none of the same content at that place.

        Where either of two has no id of its topic they may be of the same one.
        """
        if any(self._is_known(each, offset, checksum) for each in self._alike(log)):
            return False
        self._ids[log[:2]].add(log[2])
        if self._first(log, offset) is None:
            self._note(log, offset, checksum)
        else:
            self._others.setdefault((log, offset), set()).add(checksum)
        return True

    def next_run(self, log: Log, offset: int) -> range | None:
        """The first run of places with records that ends behind an offset; None when there is none.

        Args:
            log: where it is looked, and in what may be the same log.
            offset: the run may begin before it.
        """
        found = [run for each in self._alike(log) if (run := self._run(each, offset)) is not None]
        return min(found, key=lambda run: run.start, default=None)

    def _alike(self, log: Log) -> list[Log]:
        """The logs that may be the same: those of no known id are."""
        topic, partition, topic_id = log
        ids = self._ids.get((topic, partition), set())
        return [(topic, partition, each) for each in (ids & {topic_id, ""} if topic_id else ids)]

    def _run(self, log: Log, offset: int) -> range | None:
        firsts, runs = self._runs[log]
        index = max(0, bisect.bisect_right(firsts, offset) - 1)
        for first, run in zip(firsts[index : index + 2], runs[index : index + 2], strict=True):
            if first + len(run) > offset:
                return range(first, first + len(run))
        return None

    def _is_known(self, log: Log, offset: int, checksum: int) -> bool:
        return self._first(log, offset) == checksum or checksum in self._others.get((log, offset), ())

    def _first(self, log: Log, offset: int) -> int | None:
        firsts, runs = self._runs.get(log, ((), ()))
        index = bisect.bisect_right(firsts, offset) - 1
        if index < 0:
            return None
        at, run = offset - firsts[index], runs[index]
        return run[at] if at < len(run) else None

    def _note(self, log: Log, offset: int, checksum: int) -> None:
        firsts, runs = self._runs.setdefault(log, ([], []))
        index = bisect.bisect_right(firsts, offset) - 1
        if index >= 0 and offset - firsts[index] == len(runs[index]):
            runs[index].append(checksum)
            return
        firsts.insert(index + 1, offset)
        runs.insert(index + 1, array("I", [checksum]))


class MissingPlaces:
    """Offsets whose records an archive says it has not, and why."""

    def __init__(self) -> None:
        #: By log, offsets in the order in which they were noted; neighbours of one reason together.
        self._found: dict[Log, list[tuple[int, int, str]]] = defaultdict(list)

    def add(self, log: Log, first: int, end: int, why: str) -> None:
        """Note the offsets from ``first`` to before ``end``."""
        ranges = self._found[log]
        if ranges and ranges[-1][1] == first and ranges[-1][2] == why:
            first = ranges.pop()[0]
        ranges.append((first, end, why))

    def without(self, seen: SeenPlaces) -> Iterator[tuple[Log, range, str]]:
        """What is missing in the end, each offset once, and not what another line has all the same."""
        for log, ranges in self._found.items():
            told = 0
            for first, end, why in sorted(ranges):
                at = max(first, told)
                while at < end:
                    run = seen.next_run(log, at)
                    stop = end if run is None else min(end, run.start)
                    if at < stop:
                        yield log, range(at, stop), why
                    at = end if run is None else run.stop
                told = max(told, end)
