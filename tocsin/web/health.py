"""What the probes say of ``tocsin web``."""

from __future__ import annotations

from typing import Any

from streams.broker.outage import BrokerWatch
from streams.notifications.visible import visible
from tables.totals_reader import TotalsReader
from tables.views.sources import Check


class WebHealth:
    """Implements ``Health`` of the web views where counts are read, and nothing else.

    Args:
        brokers: whether they answer.
        reader: of the counts.
    """

    def __init__(self, brokers: BrokerWatch, reader: TotalsReader) -> None:
        self._brokers = brokers
        self._reader = reader
        #: Why the counts cannot be read yet; None once they are being read.
        self.waits: str | None = "The brokers have not been reached yet."
        self._had_all = False
        self._stopping = False

    def stopping(self) -> None:
        """It was told to stop."""
        self._stopping = True

    def started(self) -> Check:
        """Whether all counts were read once."""
        reasons = [] if self._has_had_all else [self.waits or "The counts are being read."]
        return Check(not reasons, reasons, self._details())

    def ready(self) -> Check:
        """Whether the counts are current: others should answer for as long as these stand still."""
        reasons = ["The process is stopping."] if self._stopping else []
        if not self._has_had_all:
            reasons.append(self.waits or "The counts are being read.")
        elif missing := self._reader.missing:
            reasons.append(
                f"The counts stand still in the partitions {', '.join(map(str, sorted(missing)))}."
            )
        if (away := self._brokers.reason()) is not None:
            reasons.append(away)
        if (other := self._reader.foreign_app()) is not None:
            reasons.append(f"The app {visible(other)} writes its counts to the same topic.")
        return Check(not reasons, reasons, self._details())

    def live(self) -> Check:
        """Always: an event loop that answers is all that a restart could mend."""
        return Check(ok=True)

    @property
    def _has_had_all(self) -> bool:
        self._had_all = self._had_all or self._reader.complete
        return self._had_all

    def _details(self) -> dict[str, Any]:
        return {"counts_complete": self._reader.complete}
