"""Dead letters as the commands find them in their topic."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass

from agents.dead_letters import DeadLetter, parse
from streams.settings import Settings
from tocsin.cli.reading import TopicReader

_POSITION = re.compile(r"\d+/\d+")


@dataclass(frozen=True, slots=True)
class Found:
    """A dead letter and where it lies; ``time_ms`` is when it was written, in milliseconds since 1970."""

    letter: DeadLetter
    partition: int
    offset: int
    time_ms: int


@dataclass(frozen=True, slots=True)
class Filter:
    """Which dead letters are meant; an empty collection leaves out none."""

    reasons: Collection[str]
    topics: Collection[str]

    def keeps(self, letter: DeadLetter) -> bool:
        """Whether this one is meant."""
        return (not self.reasons or letter.reason in self.reasons) and (
            not self.topics or letter.topic in self.topics
        )


@dataclass(slots=True)
class Skipped:
    """How many records of the topic were passed over."""

    repeats: int = 0
    foreign: int = 0

    def sentences(self, settings: Settings) -> list[str]:
        """What there is to say of them."""
        said = []
        if self.repeats:
            said.append(f"Repeats after a crash, left out: {self.repeats}.")
        if self.foreign:
            said.append(f"Records of {settings.dead_letter_topic} that are no dead letters: {self.foreign}.")
        return said


async def dead_letters(
    reader: TopicReader, skipped: Skipped, *, repeats: bool = False
) -> AsyncIterator[Found]:
    """The dead letters that are there now, each id once unless ``repeats``."""
    seen: set[str] = set()
    async for batch in reader.to_end():
        for record in batch:
            try:
                letter = parse(record.key, record.value, record.headers)
            except (AttributeError, TypeError):
                # Somebody else's record: a header of ours without a value.
                letter = None
            if letter is None:
                skipped.foreign += 1
                continue
            if not repeats:
                if letter.id in seen:
                    skipped.repeats += 1
                    continue
                seen.add(letter.id)
            written_ms = -1 if record.timestamp is None else record.timestamp
            yield Found(letter, record.partition, record.offset, written_ms)


def names_of(found: Found) -> set[str]:
    """What a dead letter may be called on the command line: its id, or where it lies."""
    return {found.letter.id, f"{found.partition}/{found.offset}"}


def unknown(settings: Settings, which: str) -> str:
    """The sentence for a name that no dead letter has."""
    kind = "dead letter at" if _POSITION.fullmatch(which) else "dead letter"
    return f"{settings.dead_letter_topic} has no {kind} {which}: see `tocsin dead-letters list`."
