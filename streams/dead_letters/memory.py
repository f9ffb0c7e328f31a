"""The latest dead letters, in a bounded memory. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import orjson

from streams.dead_letters.topic import Found, History
from streams.notifications.masking import Masker
from streams.notifications.priority import Priority
from streams.notifications.visible import visible

#: Dead letters that are kept, and the first bytes of each value.
MOST_LETTERS: Final = 2000
MOST_VALUE: Final = 1024
# Anybody who may write to the topic can write these: what is kept has bounds.
_MOST_ID: Final = 512
_MOST_REASON: Final = 100
_MOST_TEXT: Final = 300
#: Bytes of JSON that is looked through as a whole; of larger JSON, and of anything else, the beginning.
_MOST_MASKED: Final = 64 * 2**10


@dataclass(frozen=True, slots=True)
class Letter:
    """What is kept of a dead letter. In its texts, what cannot be seen is escaped, but for ``id``.

    Attributes:
        id: of the dead letter, as it lies in the topic.
        shown_id: the same as it is shown, and asked for.
        reason: why it could not be read.
        detail: the same in a sentence, which may repeat some of the value; empty where that is not all shown.
        priority: of the topic it came from; None where that is no notification topic.
        topic: that it came from; so are ``partition`` and ``offset``.
        lies_in: its partition in the dead-letter topic, and its offset there.
        written_ms: when it was written there, in milliseconds since 1970.
        size: bytes of its value; None when it has none.
        truncated: whether that is only the beginning of what was published.
        replays: how often its record had been replayed before.
        value: its first bytes, secrets masked; None where none are kept, or where a key names a secret that
            cannot be masked.
    """

    id: str
    shown_id: str
    reason: str
    detail: str
    priority: Priority | None
    topic: str
    partition: int
    offset: int
    lies_in: tuple[int, int]
    written_ms: int
    size: int | None
    truncated: bool
    replays: int
    value: bytes | None


@dataclass(frozen=True, slots=True)
class Sum:
    """How many dead letters of one reason and priority are listed, and the bytes of their values."""

    reason: str
    priority: Priority | None
    count: int
    size: int


@dataclass(frozen=True, slots=True)
class Latest:
    """The latest dead letters, as they were at a time.

    Attributes:
        letters: newest first, each id once.
        states: id -> where each stands: new, replayed, bad again or older.
        sums: by reason and priority, largest first.
        records: that lie in the topic: dead letters and notes of replays.
        whole: whether these are all dead letters of the topic.
        as_of: when the topic was read, in seconds since 1970.
    """

    letters: Sequence[Letter]
    states: Mapping[str, str]
    sums: Sequence[Sum]
    records: int
    whole: bool
    as_of: float


@dataclass(slots=True)
class LetterMemory:
    """Keeps the newest dead letters, and what became of them.

    Attributes:
        priorities: notification topic -> its priority.
        masker: masks the secrets of values; None where no value is to be kept.
        most: dead letters.
        cut: whether older ones were left out.
        history: of replays.
    """

    priorities: Mapping[str, Priority]
    masker: Masker | None
    most: int = MOST_LETTERS
    cut: bool = False
    history: History = field(default_factory=History)
    _letters: dict[str, Letter] = field(default_factory=dict)

    def add(self, found: Found) -> None:
        """Take in a dead letter; one whose id is known is a repeat after a crash, and changes nothing.

        One whose id is longer than Tocsin makes any is left out.
        """
        letter = found.letter
        if letter.id in self._letters or len(letter.id) > _MOST_ID:
            return
        shown_id = visible(letter.id)
        if len(shown_id) > _MOST_ID:
            return
        value, whole = self._shown(letter.value or b"")
        self._letters[letter.id] = Letter(
            letter.id,
            shown_id,
            _shown_text(letter.reason, _MOST_REASON),
            _shown_text(letter.detail, _MOST_TEXT) if whole and not letter.truncated else "",
            self.priorities.get(letter.topic),
            _shown_text(letter.topic, _MOST_TEXT),
            letter.partition,
            letter.offset,
            (found.partition, found.offset),
            found.time_ms,
            None if letter.value is None else len(letter.value),
            letter.truncated,
            letter.replays,
            value,
        )

    def _shown(self, value: bytes) -> tuple[bytes | None, bool]:
        """What may be shown of a value, and whether all of it was looked through and nothing masked."""
        if self.masker is None:
            return None, False
        try:
            if len(value) <= _MOST_MASKED and _is_json(value):
                masked = self.masker.masked(value)
                return masked[:MOST_VALUE], masked is value
        except ValueError:  # a key names a secret, and it cannot be written anew
            return None, False
        # Nobody can tell what is the secret in anything else.
        begin = value[:MOST_VALUE]
        return (None, False) if self.masker.is_mentioned(begin) else (begin, len(value) <= MOST_VALUE)

    def bound(self, begins: Mapping[int, int]) -> None:
        """Forget what is no longer in the topic, and the oldest above the bound, with its history.

        Args:
            begins: partition of the dead-letter topic -> the first offset that is still there.
        """
        for letter in [each for each in self._letters.values() if each.lies_in[1] < begins[each.lies_in[0]]]:
            del self._letters[letter.id]
        if (more := len(self._letters) - self.most) > 0:
            self.cut = True
            for letter in sorted(self._letters.values(), key=_age)[:more]:
                del self._letters[letter.id]
        for known in (self.history.notes, self.history.came_back):
            for gone in known.keys() - self._letters.keys():
                del known[gone]

    def latest(self, records: int, as_of: float) -> Latest:
        """All of it.

        Args:
            records: that lie in the topic.
            as_of: when it was read, in seconds since 1970.
        """
        letters = sorted(self._letters.values(), key=_age, reverse=True)
        states = {each.id: self.history.state(each.id, each.replays) for each in letters}
        return Latest(letters, states, sums(letters), records, not self.cut, as_of)


def sums(letters: Iterable[Letter]) -> list[Sum]:
    """Counts and bytes by reason and priority, largest count first."""
    found: dict[tuple[str, Priority | None], tuple[int, int]] = {}
    for letter in letters:
        count, size = found.get((letter.reason, letter.priority), (0, 0))
        found[letter.reason, letter.priority] = count + 1, size + (letter.size or 0)
    made = [Sum(reason, priority, *both) for (reason, priority), both in found.items()]
    return sorted(made, key=lambda each: (-each.count, each.reason, _rank(each.priority)))


def _rank(priority: Priority | None) -> int:
    return len(Priority) if priority is None else priority.rank


def _age(letter: Letter) -> tuple[int, tuple[int, int]]:
    return letter.written_ms, letter.lies_in


def _shown_text(text: str, most: int) -> str:
    return visible(text[:most])[:most]


def _is_json(value: bytes) -> bool:
    try:
        orjson.loads(value)
    except ValueError:
        return False
    return True
