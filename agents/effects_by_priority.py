"""What the records of the most urgent priority cause is sent by a producer of its own.

A client has one request at a time under way to a broker, and in a storm of ERROR that is one of half a
megabyte. An alert of CRITICAL would wait for its end, and for room among what is not confirmed yet.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from faust.types import TP

from agents.effects import Effects, Published, Smaller
from streams.outgoing import Outgoing
from streams.packed_records import PackedRecords


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

    def _of(self, tp: TP) -> Effects:
        return self._urgent if tp.topic == self._topic else self._others

    def send_now(
        self, tp: TP, offset: int, record: Outgoing, smaller: Smaller, published: Published | None = None
    ) -> bool:
        """As `Effects.send_now`."""
        return self._of(tp).send_now(tp, offset, record, smaller, published)

    async def send_all(
        self,
        tp: TP,
        offsets: Sequence[int],
        records: PackedRecords,
        smaller: Smaller,
        published: Published | None = None,
    ) -> None:
        """As `Effects.send_all`."""
        await self._of(tp).send_all(tp, offsets, records, smaller, published)

    async def send(
        self, tp: TP, offset: int, record: Outgoing, smaller: Smaller, published: Published | None = None
    ) -> None:
        """As `Effects.send`."""
        await self._of(tp).send(tp, offset, record, smaller, published)

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
