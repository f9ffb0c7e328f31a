"""Do the demo's numbers agree? Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from streams.notifications.priority import Priority
from streams.quantities import quantity, thousands


@dataclass(frozen=True, slots=True)
class PrioritySums:
    """The numbers of one priority.

    Attributes:
        priority: which one.
        published: confirmed by Kafka.
        counted: by the worker's counts, dead letters left out.
        dead_lettered: in the dead-letter topic, each once.
        counted_dead: dead letters by the worker's counts.
        forwarded: in the alert topics, each once.
        is_forwarded: whether notifications of this priority are forwarded at all.
    """

    priority: Priority
    published: int
    counted: int
    dead_lettered: int
    counted_dead: int
    forwarded: int
    is_forwarded: bool

    def faults(self) -> list[str]:
        """One sentence for each sum that does not agree."""
        found = []
        name = self.priority.value
        if self.counted + self.dead_lettered != self.published:
            found.append(
                f"{name}: {_were(self.published)} published, and {self.counted:,} counted + "
                f"{self.dead_lettered:,} dead-lettered are {self.counted + self.dead_lettered:,}."
            )
        if self.counted_dead != self.dead_lettered:
            found.append(
                f"{name}: {quantity(self.dead_lettered, 'lies', 'lie', show=thousands)} in the dead letters, "
                f"and {_were(self.counted_dead)} counted as such."
            )
        expected = self.counted + self.dead_lettered if self.is_forwarded else 0
        if self.forwarded != expected:
            found.append(f"{name}: {expected:,} should have been forwarded, and {_were(self.forwarded)}.")
        return found


def _were(number: int) -> str:
    return quantity(number, "was", "were", show=thousands)


@dataclass(frozen=True, slots=True)
class DemoSums:
    """The numbers of all priorities, from the most urgent to the least."""

    lines: tuple[PrioritySums, ...]

    @property
    def published(self) -> int:
        """Confirmed by Kafka."""
        return sum(line.published for line in self.lines)

    @property
    def counted(self) -> int:
        """Counted under their event types."""
        return sum(line.counted for line in self.lines)

    @property
    def dead_lettered(self) -> int:
        """In the dead-letter topic."""
        return sum(line.dead_lettered for line in self.lines)

    @property
    def forwarded(self) -> int:
        """In the alert topics."""
        return sum(line.forwarded for line in self.lines)

    @property
    def agree(self) -> bool:
        """Whether every sum agrees, for each priority."""
        return not self.faults()

    @property
    def too_many(self) -> bool:
        """Whether more was counted than published. Counts never fall, so this never becomes right."""
        return any(line.counted + line.counted_dead > line.published for line in self.lines)

    def faults(self) -> list[str]:
        """One sentence for each sum that does not agree."""
        return [fault for line in self.lines for fault in line.faults()]

    def verdict(self) -> list[str]:
        """What the numbers come to, a sentence a line."""
        if faults := self.faults():
            return ["The sums do not agree.", *faults]
        names = " and ".join(line.priority.value for line in self.lines if line.is_forwarded)
        agreed = (
            f"The sums agree: {self.counted:,} counted + {self.dead_lettered:,} dead-lettered = "
            f"{self.published:,} published; {self.forwarded:,} forwarded = all {names}."
        )
        return [agreed]


def make_sums(
    priorities: Iterable[Priority],
    forward: Collection[Priority],
    published: Mapping[Priority, int],
    totals: Iterable[Mapping[str, Any]],
    forwarded: Mapping[Priority, int],
    dead_lettered: Mapping[Priority, int],
    dead_name: str,
) -> DemoSums:
    """Put the numbers side by side.

    Args:
        priorities: those that are consumed.
        forward: those that are forwarded.
        published: by priority.
        totals: items of ``/api/v1/counts?window=total``.
        forwarded: alerts by priority.
        dead_lettered: dead letters by the priority of the topic they came from.
        dead_name: event type under which the worker counts dead letters.
    """
    counted: dict[str, int] = {}
    dead: dict[str, int] = {}
    for item in totals:
        into = dead if item["event_type"] == dead_name else counted
        into[item["priority"]] = into.get(item["priority"], 0) + item["count"]
    return DemoSums(
        tuple(
            PrioritySums(
                priority=priority,
                published=published.get(priority, 0),
                counted=counted.get(priority.value, 0),
                dead_lettered=dead_lettered.get(priority, 0),
                counted_dead=dead.get(priority.value, 0),
                forwarded=forwarded.get(priority, 0),
                is_forwarded=priority in forward,
            )
            for priority in sorted(priorities, key=lambda each: each.rank)
        )
    )
