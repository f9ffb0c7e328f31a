"""What a demo was asked for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Plan:
    """What the options ask for; ``seconds`` is None for a demo without end."""

    seconds: float | None
    rate: float
    brokers: int
