"""Logs that go back: what was read is compared with what the brokers have, before an assignment is worked on.

A notification topic may lose its end (a power loss with one replica, an unclean election). What was counted
of that end stays counted; what comes at the same offsets later is other records, and belongs to another life
of the source: see ``tables.source_lives``. The changelog of the counts may lose its end, too: then what was
committed is not in the rows any more, and is read again.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from faust.types import TP

from streams.log_lines import BOUNDED
from streams.notifications import Priority
from streams.quantities import quantity
from streams.upstream.slice_assignor import slice_of
from streams.upstream.stores import PartitionGoneError
from tables.durable_table import DurableTable
from tables.restoring import Restored, restore
from tables.rows import VersionedRows
from tables.source_lives import CommonEnd, SourceLife, life_name, load_life
from tables.source_name import source_name

log = logging.getLogger(__name__)

_FAR: Final = 2**62


class Brokers(Protocol):
    """What is asked of the brokers, and told them; the group's consumer."""

    lives: Mapping[TP, str]
    leader_epochs: Mapping[TP, int]
    written: Mapping[TP, int]
    last_epochs: Mapping[TP, int]

    async def epoch_ends(self, epochs: Mapping[TP, int]) -> dict[TP, tuple[int, int]]:
        """Where a leader epoch of each of these partitions ends."""

    async def ends(self, tps: Any) -> dict[TP, int]:
        """Ends of partitions."""

    async def records_at(self, places: Mapping[TP, int]) -> Mapping[TP, tuple[int, Any, Any] | None]:
        """The first record at each offset or behind it."""

    async def begin_again(self, offsets: Mapping[TP, int]) -> None:
        """Commit offsets that lie before the committed ones."""

    def forget_committed(self, tps: Any) -> None:
        """Any offset of these may be committed next."""


@dataclass(slots=True)
class OpenSource:
    """A source as it is worked on.

    Attributes:
        first: its name in its first life.
        life: its present life.
        version: of the row of it.
        stale_keys: of that row, by other writers.
        rows: of the table partition.
        restored: what its rows hold.
        begin: the offset to read from; None for the first that is there.
        is_written: whether the row of its life says so.
    """

    first: str
    life: SourceLife
    version: int
    stale_keys: list[bytes]
    rows: VersionedRows
    restored: Restored
    begin: int | None = None
    is_written: bool = True

    @property
    def name(self) -> str:
        """Its name in its present life."""
        return f"{self.first}:{self.life.name}" if self.life.name else self.first

    def earlier(self) -> list[str]:
        """Its names in the lives before."""
        return [f"{self.first}:{name}" if name else self.first for name in self.life.earlier]


@dataclass(slots=True)
class SourceLives:
    """The sources of one assignment after the other.

    Args:
        table: rows of the sources.
        priorities: of the notification topics, by name.
        partials: the topic of counts on their way to the combiners.
        slices: into how many the event types are cut, and the table is.
        combined: rows of the combiners; None where nothing is combined.
        sources: of the present assignment.
        counted_lost: records that were counted and then lost with the end of a log, in the life of this
            process, by priority.
    """

    table: DurableTable
    priorities: Mapping[str, Priority]
    partials: str
    slices: int
    combined: DurableTable | None = None
    sources: dict[TP, OpenSource] = field(default_factory=dict)
    counted_lost: Counter[Priority] = field(default_factory=Counter)
    _written: Mapping[TP, int] = field(default_factory=dict)

    def home(self, tp: TP) -> int:
        """The partition of the table that has the rows of a source, or of a slice."""
        return slice_of(tp.partition, self.slices)

    def life_of(self, tp: TP) -> str:
        """Name of the life that offsets of ``tp`` are of; empty for the first."""
        source = self.sources.get(tp)
        return "" if source is None else source.life.name

    def epoch_before(self, tp: TP, offset: int) -> int:
        """Leader epoch of the record before an offset; -1 where it is not known."""
        source = self.sources.get(tp)
        return -1 if source is None else source.life.epoch_before(offset)

    def written(self, tp: TP) -> int:
        """Changelog offset of the last row that was written for ``tp``; -1 where it is not known."""
        table = self.combined if tp.topic == self.partials else self.table
        now = -1 if table is None else table.written(self.home(tp))
        return now if now >= 0 else self._written.get(tp, -1)

    def epochs(self) -> dict[TP, int]:
        """Leader epoch of the record before where reading begins, where it is known."""
        return {
            tp: epoch
            for tp, source in self.sources.items()
            if source.begin and (epoch := source.life.epoch_before(source.begin)) >= 0
        }

    async def settle(
        self,
        brokers: Brokers,
        assigned: set[TP],
        committed: Mapping[TP, int | None],
        inherited: Mapping[TP, int],
        topic_ids: Mapping[str, str],
        holds: Callable[[], bool],
    ) -> dict[TP, int | None] | None:
        """Look at each partition before it is worked on.

        Args:
            brokers: to be asked.
            assigned: the partitions.
            committed: next offset to read, of the topics with these ids.
            inherited: what another pool has committed, where that is further.
            topic_ids: id of each topic, by name.
            holds: whether the assignment still is the present one.

        Returns:
            Where to begin; None when the assignment has ended meanwhile.
        """
        self._written = brokers.written
        self._load(
            {tp for tp in assigned if tp.topic in self.priorities}, committed, inherited, topic_ids, brokers
        )
        begin: dict[TP, int | None] = {tp: committed.get(tp) for tp in assigned}
        ends = await self._common_ends(brokers)
        if not holds():
            return None
        cut = {
            tp: end
            for tp, source in self.sources.items()
            if (end := ends.get(tp)) is not None and end < _position(source)
        }
        for tp, source in self.sources.items():
            if tp in cut:
                await self._end_life(tp, cut[tp], brokers.leader_epochs.get(tp, 0))
            elif not source.is_written:
                await self._write(tp, source.life, 2 * source.life.epoch_before(_FAR) + 1)
            if not holds():
                return None
        brokers.forget_committed(
            tp for tp, source in self.sources.items() if source.begin != committed.get(tp)
        )
        lost = await self._with_lost_changelog(brokers, begin)
        again = await self._with_lost_rows(brokers, self.sources.keys() - cut.keys(), lost)
        again |= await self._partials_gone_back(brokers, begin, lost)
        if not holds():
            return None
        if again:
            await brokers.begin_again(again)
        begin |= {tp: source.begin for tp, source in self.sources.items()}
        return begin | again

    def _load(
        self,
        tps: set[TP],
        committed: Mapping[TP, int | None],
        inherited: Mapping[TP, int],
        topic_ids: Mapping[str, str],
        brokers: Brokers,
    ) -> None:
        self.sources = {}
        by_partition: dict[int, VersionedRows] = {}
        for tp in sorted(tps):
            home = self.home(tp)
            if home not in by_partition:
                by_partition[home] = self.table.rows(home)
            rows = by_partition[home]
            first = source_name(topic_ids[tp.topic], tp.partition)
            life, version, keys = load_life(first, rows)
            in_row = life
            if life.precedes(committed_life := brokers.lives.get(tp, "")):
                life = life.followed_by(committed_life)  # the row was lost with the end of the changelog
            name = source_name(topic_ids[tp.topic], tp.partition, life.name)
            source = OpenSource(first, life, version, rows.others(keys), rows, restore(name, rows))
            if not life.name:
                source.begin = max(committed.get(tp) or 0, inherited.get(tp, 0)) or committed.get(tp)
            elif brokers.lives.get(tp, "") == life.name:
                source.begin = committed.get(tp)
            else:  # what is committed is of an earlier life
                source.begin = life.begin
            if source.begin and source.begin == committed.get(tp) and tp in brokers.last_epochs:
                # The row that says so may have been lost with the end of the changelog.
                source.life = life.met(brokers.last_epochs[tp], source.begin - 1) or life
            source.is_written = source.life == in_row
            self.sources[tp] = source

    async def _common_ends(self, brokers: Brokers) -> dict[TP, int]:
        """Up to where each log is what was read of it, where there is anything to compare."""
        asked = {tp: CommonEnd(source.life) for tp, source in self.sources.items()}
        while questions := {
            tp: epoch for tp, each in asked.items() if (epoch := each.question()) is not None
        }:
            answers = await brokers.epoch_ends(questions)
            if not answers:
                break
            for tp in questions:
                if tp in answers:
                    asked[tp].answer(*answers[tp])
                else:  # its topic may not be read
                    del asked[tp]
        found = {tp: each.found for tp, each in asked.items() if each.found is not None}
        # Of a source that an earlier version of Tocsin has read, no epoch is known.
        unknown = [tp for tp, source in self.sources.items() if not source.life.epochs and source.begin]
        if unknown:
            found |= await brokers.ends(unknown)
        return found

    async def _end_life(self, tp: TP, end: int, leader_epoch: int) -> None:
        source = self.sources[tp]
        lost = _position(source) - end
        log.warning(
            "%s, partition %d, lost its end: it goes back to offset %d, and %s from there on had been "
            "counted. What was counted stays so; the records that come at those offsets now are others, and "
            "are counted and forwarded as such. Look at the brokers: a power loss, or an unclean election?",
            tp.topic,
            tp.partition,
            end,
            quantity(lost, "record"),
            extra=BOUNDED,  # one a partition
        )
        self.counted_lost[self.priorities[tp.topic]] += lost
        life = source.life.ended(end, leader_epoch)
        await self._write(tp, life, 2 * leader_epoch + 1)
        source.begin = end
        source.restored = restore(source.name, source.rows)

    async def met(self, topic: str, epochs: Sequence[tuple[int, int, int]]) -> list[int]:
        """Make durable which leader epochs were met, before any record of theirs is taken over.

        Args:
            topic: of the partitions.
            epochs: partition, epoch, and offset of the first record.

        Returns:
            Partitions of which rows count other records than those that were met: to be settled again.
        """
        parted = []
        for partition, epoch, offset in epochs:
            tp = TP(topic, partition)
            source = self.sources.get(tp)
            if source is None or (life := source.life.met(epoch, offset)) is None:
                continue
            known = source.life.epochs
            if known and epoch > known[-1][0] and offset <= source.restored.replay_until:
                parted.append(partition)  # the log lost its end while records were being replayed
                continue
            try:
                await self._write(tp, life, 2 * epoch)
            except PartitionGoneError:
                break  # so will the lane be, in a moment
        return parted

    async def _write(self, tp: TP, life: SourceLife, version: int) -> None:
        source = self.sources[tp]
        # A worker that was paused may write what it met of the log before: of two, the later epoch holds.
        source.version = max(source.version + 1, version)
        source.life = life
        changes = source.rows.changes(life_name(source.first), source.version, life)
        stale, source.stale_keys = source.stale_keys, []
        await self.table.write(self.home(tp), [*changes, *((key, None) for key in stale)])

    async def _with_lost_changelog(self, brokers: Brokers, tps: Iterable[TP]) -> set[TP]:
        """Those whose changelog ends before what was written when their offset was committed."""
        changelogs = {}
        for tp in tps:
            table = self.combined if tp.topic == self.partials else self.table
            if table is not None and tp in self._written:
                changelogs[tp] = TP(table.changelog_topic, self.home(tp))
        ends = await brokers.ends(set(changelogs.values())) if changelogs else {}
        lost = {tp for tp, place in changelogs.items() if ends.get(place, _FAR) <= self._written[tp]}
        # From here on only what is written now counts.
        self._written = {tp: at for tp, at in self._written.items() if tp not in lost}
        return lost

    async def _with_lost_rows(
        self, brokers: Brokers, tps: Iterable[TP], lost: Container[TP]
    ) -> dict[TP, int]:
        """Where to begin with sources of which more was committed than their rows hold."""
        behind = {
            tp: source.restored.replay_until + 1
            for tp in tps
            if (source := self.sources[tp]).begin
            and tp not in self._written
            and source.begin > max(source.restored.replay_until + 1, source.life.begin)
        }
        found = await brokers.records_at(behind) if behind else {}
        again: dict[TP, int] = {}
        for tp in tps:
            source = self.sources[tp]
            if not source.begin:
                continue
            first = found.get(tp)
            if tp not in lost and (first is None or first[0] >= source.begin):
                continue
            # Of the last flush only some rows may be left; what the one before it wrote is whole.
            start = min(source.begin, max(source.restored.settled + 1, source.life.begin))
            log.warning(
                "Offset %d of %s, partition %d, was committed, and its counts end at %d: %s, partition %d, "
                "lost its end%s. Records are read again from offset %d.",
                source.begin,
                tp.topic,
                tp.partition,
                source.restored.replay_until + 1,
                self.table.changelog_topic,
                self.home(tp),
                "" if tp in lost else ", or somebody has set the group's offsets",
                start,
                extra=BOUNDED,  # one a partition
            )
            again[tp] = source.begin = start
        return again

    async def _partials_gone_back(
        self, brokers: Brokers, begin: Mapping[TP, int | None], lost: Container[TP]
    ) -> dict[TP, int]:
        """Where to begin with partitions of the partials topic of which more was committed than is there.

        All that it holds is combined again, which changes no count that is there.
        """
        places = {tp: offset for tp, offset in begin.items() if tp.topic == self.partials and offset}
        if not places:
            return {}
        ends = await brokers.ends(places)
        again: dict[TP, int] = {}
        for tp, offset in places.items():
            if (end := ends.get(tp, offset)) < offset:
                log.warning(
                    "%s, partition %d, lost its end: it goes back from offset %d to %d.",
                    tp.topic,
                    tp.partition,
                    offset,
                    end,
                    extra=BOUNDED,  # one a partition
                )
                again[tp] = 0
            elif tp in lost and self.combined is not None:
                log.warning(
                    "%s, partition %d, lost its end: what %s holds is combined again.",
                    self.combined.changelog_topic,
                    tp.partition,
                    tp.topic,
                    extra=BOUNDED,  # one a partition
                )
                again[tp] = 0
        return again


def _position(source: OpenSource) -> int:
    """The offset behind the last record that was read of a source, or is counted in its rows."""
    return max(source.begin or 0, source.restored.replay_until + 1)
