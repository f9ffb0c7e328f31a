"""How each priority is served, and what that comes to in a sentence. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from streams.notifications.priority import Priority
from tables.views.minute_counts import LastHour
from tables.views.times import age

#: Seconds after which a record that is not counted yet waits; below it is on its way.
WAITS_S: Final = 5.0


class Figures(Protocol):
    """What a priority has and gets: ``ClassTraffic`` of a worker, or the sums of several."""

    @property
    def configured_share(self) -> float:
        """Of the service time, from 0 to 1, that is due while all have a backlog."""

    @property
    def achieved_share(self) -> float:
        """Of the service time, that it got lately."""

    @property
    def lag_records(self) -> int:
        """Records that are not counted yet."""

    @property
    def oldest_age_s(self) -> float:
        """Age in seconds of the oldest of them that was read; 0 where none was."""

    @property
    def buffered_records(self) -> int:
        """Those of them that were read."""


@dataclass(slots=True, frozen=True)
class Strip:
    """A priority at a glance.

    Attributes:
        priority: its name.
        per_s: records a second now.
        minutes: counts of the last hour, one for each minute, oldest first.
        figures: what it has and gets; None where that is not known.
        is_forwarded: whether its records become alerts, so that it must not wait.
    """

    priority: str
    per_s: float
    minutes: Sequence[int]
    figures: Figures | None = None
    is_forwarded: bool = False

    @property
    def waits(self) -> bool:
        """Whether its records wait."""
        found = self.figures
        if found is None or found.lag_records <= 0:
            return False
        # Where none was read yet, nobody knows how old they are; so many come in some seconds anyway.
        unread = found.buffered_records == 0 and found.lag_records > max(1.0, self.per_s * WAITS_S)
        return unread or found.oldest_age_s >= WAITS_S

    @property
    def waits_s(self) -> float:
        """Seconds for which the oldest has waited; 0 where none does, or nobody knows."""
        return self.figures.oldest_age_s if self.waits and self.figures is not None else 0.0

    @property
    def state(self) -> str:
        """``through``, ``waits``, or ``unknown``."""
        return "unknown" if self.figures is None else "waits" if self.waits else "through"


def strips(
    hour: LastHour,
    figures: Mapping[str, Figures],
    rates: Mapping[str, float],
    *,
    named: Collection[str],
    forwarded: Collection[str],
) -> list[Strip]:
    """One for each priority, most urgent first.

    Args:
        hour: counts of the last hour.
        figures: by priority, where they are known.
        rates: records a second, by priority; where one is missing, that of the last minute is taken.
        named: priorities that are shown though there is nothing of them.
        forwarded: those whose records become alerts.
    """
    names = {*named, *figures, *hour.minutes}
    return [
        Strip(
            name,
            rates[name] if name in rates else hour.per_s(name),
            hour.of(name),
            figures.get(name),
            name in forwarded,
        )
        for name in sorted(names, key=_urgency)
    ]


def _urgency(name: str) -> tuple[int, str]:
    known = Priority.parse(name)
    return (len(Priority), name) if known is None else (known.rank, name)


def sentence(found: Sequence[Strip]) -> str:
    """What they come to, such as "CRITICAL is through; DEBUG waits 3 min."; "" where nothing is known.

    It is read out when it changes, so a time in it is a coarse one.
    """
    known = [strip for strip in found if strip.figures is not None]
    if not known:
        return ""
    through = [strip.priority for strip in known if not strip.waits]
    waiting = ", ".join(_wait(strip) for strip in known if strip.waits)
    if not waiting:
        return "Everything is through, nothing waits."
    if not through:
        return f"Nothing is through: {waiting}."
    goes = f"{_listed(through)} {'is' if len(through) == 1 else 'are'} through"
    return f"{waiting}; {goes}." if known[0].waits else f"{goes}; {waiting}."


def _wait(strip: Strip) -> str:
    seconds = strip.waits_s
    if seconds < WAITS_S:
        return f"{strip.priority} waits"
    if seconds < 10:
        return f"{strip.priority} waits some seconds"
    return f"{strip.priority} waits {age(seconds if seconds >= 60 else seconds // 10 * 10)}"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
