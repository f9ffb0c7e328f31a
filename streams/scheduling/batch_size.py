"""How many records make a batch of a given service time."""

from __future__ import annotations

#: Assumed of one record until a batch has been measured, in seconds.
INITIAL_SECONDS_PER_RECORD = 50e-6
_DECAY = 0.75
#: A batch this many times longer than intended shrinks the next one at once.
_FAR_TOO_LONG = 2.0


class BatchSize:
    """Number of records for a target service time, learnt from the batches of one class.

    Seconds per record are a decaying sum of seconds over one of records, so that a single record, dear for
    the fixed cost of a batch, says little about a large batch. The first batch is one record, since it may
    take any time. Growth is at most twofold, and only after a batch of that size was really run; a batch far
    longer than the target counts alone, at once.
    """

    __slots__ = ("_max_records", "_records", "_seconds", "_target", "limit")

    def __init__(self, target_seconds: float, max_records: int) -> None:
        """Start with one record.

        Args:
            target_seconds: service time a batch should have, above 0.
            max_records: most records of a batch, 1 or more.

        Raises:
            ValueError: a target or a maximum out of range.
        """
        if not target_seconds > 0 or max_records < 1:
            raise ValueError("batches need a target time above 0 and at least one record")
        self._target = target_seconds
        self._max_records = max_records
        self._seconds = INITIAL_SECONDS_PER_RECORD
        self._records = 1.0
        #: Most records of the next batch, 1 or more.
        self.limit = 1

    def learn(self, records: int, seconds: float) -> None:
        """Take in a measured batch.

        Args:
            records: its records; an empty batch teaches nothing.
            seconds: its service time, 0 or more.
        """
        if records <= 0:
            return
        target = self._target
        if seconds > _FAR_TOO_LONG * target:
            # Scaled to the size of the next batch, so that the following ones can correct an outlier.
            self._seconds = target
            self._records = records * target / seconds
        else:
            self._seconds = self._seconds * _DECAY + seconds
            self._records = self._records * _DECAY + records
        most = min(max(2 * records, self.limit), self._max_records)
        # As a product, since the seconds may be 0.
        if self._seconds * most <= target * self._records:
            self.limit = most
        else:
            self.limit = max(1, int(target * self._records / self._seconds))
