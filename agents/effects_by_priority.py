"""What the records of the most urgent priority cause is sent by a producer of its own.

A client has one request at a time under way to a broker, and in a storm of ERROR that is one of half a
megabyte. An alert of CRITICAL would wait for its end, and for room among what is not confirmed yet.
"""

from __future__ import annotations

import asyncio

from faust.types import TP

from agents.effects import Effects


class EffectsByPriority:
    """Sends what records cause, each input topic by one of two ways, so that the order within a source stays.

    Args:
        topic: the input topic of the most urgent priority.
        urgent: what its records cause.
        others: what all other records cause.
    """

    def __init__(self, topic: str, urgent: Effects, others: Effects) -> None:
        self._topic = topic
        self._urgent = urgent
        self._others = others
        self._both = (urgent, others)

    def of(self, tp: TP) -> Effects:
        """What sends what the records of an input partition cause."""
        return self._urgent if tp.topic == self._topic else self._others

    @property
    def blocked(self) -> bool:
        """Whether ingest waits for confirmations."""
        return any(effects.blocked for effects in self._both)

    def unconfirmed_s(self) -> float:
        """Seconds for which some record has waited to be confirmed; 0 when none does."""
        return max(effects.unconfirmed_s() for effects in self._both)

    async def wait(self, deadline_s: float) -> bool:
        """Wait until nothing is under way; False when the deadline came first."""
        return all(await asyncio.gather(*(effects.wait(deadline_s) for effects in self._both)))

    def close(self) -> None:
        """Send nothing of the assignment again."""
        for effects in self._both:
            effects.close()
