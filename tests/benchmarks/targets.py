"""Targets: what a benchmark set out to reach, what it reached, and one line that says which it was."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Target:
    """One figure of a benchmark beside its bar.

    Attributes:
        benchmark: name of the benchmark, as in ``make bench ONLY=``.
        what: the figure in words, for the table.
        limit: the bar.
        reached: the measured figure; infinite or NaN when nothing came of it, which is never met.
        unit: of both, such as ``ms``, ``MB``, ``%``; ``x`` for ratios.
        at_most: whether the bar is an upper one.
    """

    benchmark: str
    what: str
    limit: float
    reached: float
    unit: str
    at_most: bool

    @property
    def met(self) -> bool:
        """Whether the bar is reached."""
        if not math.isfinite(self.reached):
            return False
        return self.reached <= self.limit if self.at_most else self.reached >= self.limit

    @property
    def verdict(self) -> str:
        """``met``, or by how much it falls short."""
        if self.met:
            return "met"
        if math.isnan(self.reached):
            return "not measured"
        if not math.isfinite(self.reached) or not self.limit:
            return "falls short"
        return f"falls short by {abs(self.reached / self.limit - 1):.0%}"

    def row(self) -> list[str]:
        """Cells of the table: what, bar, reached, verdict."""
        sense = "at most" if self.at_most else "at least"
        return [
            self.what,
            f"{sense} {_figure(self.limit, self.unit)}",
            _figure(self.reached, self.unit),
            self.verdict,
        ]

    def to_json(self) -> dict[str, Any]:
        """The form that goes into the results, with the verdict."""
        return asdict(self) | {"met": self.met}

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Target:
        """What ``to_json`` made, also after a way through a file, where NaN is null and infinite is "inf"."""
        reached = found["reached"]
        return cls(
            benchmark=found["benchmark"],
            what=found["what"],
            limit=found["limit"],
            reached=math.nan if reached is None else float(reached),
            unit=found["unit"],
            at_most=found["at_most"],
        )


def _figure(value: float, unit: str) -> str:
    if math.isnan(value):
        return "nothing"
    digits = f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return f"{digits}{'' if unit in ('x', '%') else ' '}{unit}".strip()


def all_met(targets: Iterable[Target]) -> bool:
    """Whether no target falls short."""
    return all(target.met for target in targets)
