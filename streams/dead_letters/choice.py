"""Which dead letters a replay sends: none a second time, unless that is asked for."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass, field

from streams.dead_letters.topic import (
    NEW,
    NOT_BACK,
    OLDER,
    STILL_BAD,
    Filter,
    History,
    Skipped,
    dead_letters,
    names_of,
)
from streams.records import PlacedRecord


@dataclass(slots=True)
class Choice:
    """What a replay sends, and what it leaves out.

    A record that stays bad makes a new dead letter with each replay, which stands for those before it.

    Attributes:
        ids: of the dead letters to send.
        missing: names that no dead letter has.
        not_back: left out: replayed, and no dead letter again, so that it was counted or soon will be.
        bad_again: left out: the record was replayed and is bad again; of each record the newest dead letter.
        older: left out: a newer dead letter stands for it.
        history: what was replayed until now.
    """

    ids: set[str] = field(default_factory=set)
    missing: set[str] = field(default_factory=set)
    not_back: set[str] = field(default_factory=set)
    bad_again: set[str] = field(default_factory=set)
    older: set[str] = field(default_factory=set)
    history: History = field(default_factory=History)

    def place(self, letter_id: str, replays: int, *, named: bool, again: bool) -> None:
        """Send a dead letter, or leave it out; its history must be complete.

        Args:
            letter_id: of the dead letter.
            replays: how often its record had been replayed when it came here.
            named: whether it was asked for by its name.
            again: of named ones, send those too that were replayed; of all, those that are bad again.
        """
        state = self.history.state(letter_id, replays)
        if state == NEW or (again and (named or state == STILL_BAD)):
            self.ids.add(letter_id)
        else:
            {OLDER: self.older, NOT_BACK: self.not_back, STILL_BAD: self.bad_again}[state].add(letter_id)

    def sentences(self, *, named: bool, again: bool) -> list[str]:
        """What there is to say of those left out, before anything is sent."""
        said = []
        if self.not_back:
            how = "--again" if named else "its id and --again"
            said.append(
                f"left out {len(self.not_back)} that were replayed before and have not come back: they were "
                f"counted or soon will be, and a second time would count twice. {how} sends one all the same."
            )
        if self.bad_again:
            said.append(
                f"left out {len(self.bad_again)} that were replayed before and are bad again: "
                "--again sends each once more."
            )
        if self.older and (named or not again):
            said.append(
                f"left out {len(self.older)} for which a newer dead letter of the same record stands."
            )
        if not again and said and not self.ids:
            said.append("nothing is left to send.")
        return said


async def choose(
    batches: AsyncIterator[Sequence[PlacedRecord]], wanted: Collection[str], only: Filter, *, again: bool
) -> Choice:
    """Read the dead-letter topic to its end, and choose.

    Args:
        batches: of the dead-letter topic, up to its end.
        wanted: names of dead letters; empty for all that ``only`` keeps.
        only: which, when they are not named.
        again: of named ones, send those too that were replayed; of all, those that are bad again.
    """
    choice = Choice(missing=set(wanted))
    replays: dict[str, int] = {}
    async for found in dead_letters(batches, Skipped(), repeats=bool(wanted), history=choice.history):
        if wanted:
            named = names_of(found) & set(wanted)
            choice.missing -= named
            if named:
                replays[found.letter.id] = found.letter.replays
        elif only.keeps(found.letter):
            replays[found.letter.id] = found.letter.replays
    for letter_id, number in replays.items():
        choice.place(letter_id, number, named=bool(wanted), again=again)
    return choice
