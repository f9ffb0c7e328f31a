"""What `tocsin verify` makes of records that are corrupt on a broker's disk."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from streams.dead_letters.letters import parse
from streams.notifications.notification import Reason
from streams.records import PlacedRecord, UnreadableRecord
from streams.settings import ConfigurationError, Settings
from tables.source_name import source_name
from tocsin.cli.common.reading import topic_reader
from tocsin.cli.verify.findings import Findings


class CorruptRecords:
    """Tells those that workers have met as corrupt from those that may have been counted before.

    Args:
        settings: of the workers.
        ids: id of each notification topic, by name.
        found: gets their numbers.
        say: tells a person what cannot be looked at.
    """

    def __init__(
        self, settings: Settings, ids: Mapping[str, str], found: Findings, say: Callable[[str], None]
    ) -> None:
        self._settings = settings
        self._ids = ids
        self._found = found
        self._say = say
        #: Topic, partition and offset of dead letters for corrupt records; None before they were asked for.
        self._letters: set[tuple[str, int, int]] | None = None

    async def known(self, tp: Any, records: list[PlacedRecord]) -> list[PlacedRecord]:
        """Leave out what is corrupt, unless a dead letter says that workers have counted it as such.

        Args:
            tp: partition that the records lie in.
            records: with stand-ins for those that are corrupt.
        """
        corrupt = [each for each in records if isinstance(each, UnreadableRecord) and each.corrupt]
        if not corrupt:
            return records
        letters = await self._dead_letters()
        # The bucket of one without a time is that of the moment in which a worker met it.
        accounted = {each.offset for each in corrupt if each.timestamp > 0 and (*tp, each.offset) in letters}
        left_out = {each.offset for each in corrupt} - accounted
        self._found.with_dead_letters += len(accounted)
        if left_out:
            self._found.unreadable[f"{tp.topic}/{tp.partition}"] += len(left_out)
        return [each for each in records if each.offset not in left_out]

    async def _dead_letters(self) -> set[tuple[str, int, int]]:
        """Places of the corrupt records that have dead letters; none where those may not be read."""
        if self._letters is None:
            self._letters = set()
            try:
                async with topic_reader(
                    self._settings, [self._settings.dead_letter_topic], start_ms=0
                ) as reader:
                    async for records in reader.to_end():
                        self._letters.update(filter(None, map(self._place, records)))
            except ConfigurationError as error:
                self._say(f"the dead letters cannot be looked at: {error}")
        return self._letters

    def _place(self, record: PlacedRecord) -> tuple[str, int, int] | None:
        """Where the corrupt record lies that a dead letter stands for; None for any other."""
        letter = parse(record.key, record.value, record.headers)
        if letter is None or letter.reason != Reason.CORRUPT_BATCH:
            return None
        source = source_name(self._ids.get(letter.topic, ""), letter.partition)
        if not letter.id.startswith(f"{source}:"):
            return None  # of an earlier topic of that name
        return letter.topic, letter.partition, letter.offset
