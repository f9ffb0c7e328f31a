"""Dead letters as they are found in their topic."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass, field
from typing import Final

from streams.dead_letters.letters import DeadLetter, noted_replay, parse
from streams.records import PlacedRecord
from streams.settings import Settings

#: States of a dead letter.
NEW: Final = "new"
NOT_BACK: Final = "replayed"
STILL_BAD: Final = "bad again"
OLDER: Final = "older"

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


@dataclass(frozen=True, slots=True)
class Note:
    """That a dead letter was replayed: how often from here, and when last, in milliseconds since 1970."""

    times: int
    last_ms: int


@dataclass(slots=True)
class History:
    """What became of dead letters, as far as the topic was read; complete at its end."""

    notes: dict[str, Note] = field(default_factory=dict)
    #: Dead letters whose replay is a dead letter again -> the id of the newest such one.
    came_back: dict[str, str] = field(default_factory=dict)

    def times_replayed(self, letter: DeadLetter) -> int:
        """How often the record of a dead letter was replayed, before and since."""
        note = self.notes.get(letter.id)
        since = note.times if note is not None else int(letter.id in self.came_back)
        return letter.replays + since

    def state(self, letter_id: str, replays: int) -> str:
        """Where a dead letter stands.

        Args:
            letter_id: of the dead letter.
            replays: how often its record had been replayed when it came here.
        """
        if letter_id in self.came_back:
            return OLDER
        if letter_id in self.notes:
            return NOT_BACK
        return STILL_BAD if replays else NEW


async def dead_letters(
    batches: AsyncIterator[Sequence[PlacedRecord]],
    skipped: Skipped,
    *,
    repeats: bool = False,
    history: History | None = None,
) -> AsyncIterator[Found]:
    """The dead letters among records of their topic, each id once unless ``repeats``.

    Args:
        batches: of the dead-letter topic, each partition in order.
        skipped: takes in what is passed over.
        repeats: whether to hand out those too that a crash wrote twice.
        history: takes in what was replayed.
    """
    history = History() if history is None else history
    seen: set[str] = set()
    async for batch in batches:
        for record in batch:
            written_ms = -1 if record.timestamp is None else record.timestamp
            try:
                letter = parse(record.key, record.value, record.headers)
                replayed = None if letter is not None else noted_replay(record.headers)
            except (AttributeError, TypeError):
                # Somebody else's record: a header of ours without a value.
                letter = replayed = None
            if replayed is not None:
                before = history.notes.get(replayed)
                history.notes[replayed] = Note(1 if before is None else before.times + 1, written_ms)
                continue
            if letter is None:
                skipped.foreign += 1
                continue
            if letter.replayed_from is not None:
                history.came_back[letter.replayed_from] = letter.id
            if not repeats:
                if letter.id in seen:
                    skipped.repeats += 1
                    continue
                seen.add(letter.id)
            yield Found(letter, record.partition, record.offset, written_ms)


def names_of(found: Found) -> set[str]:
    """What a dead letter may be called on the command line: its id, or where it lies."""
    return {found.letter.id, f"{found.partition}/{found.offset}"}


def unknown(settings: Settings, which: str) -> str:
    """The sentence for a name that no dead letter has."""
    kind = "dead letter at" if _POSITION.fullmatch(which) else "dead letter"
    return f"{settings.dead_letter_topic} has no {kind} {which}: see `tocsin dead-letters list`."
