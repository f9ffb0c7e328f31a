"""Whether this worker's clock agrees with the brokers', and the time that both can go by.

Brokers put their own time on the records of some topics, and tell it when they confirm them. A clock that is
ahead or behind by more than a bound is said in one sentence, and until it is right again the worker goes by
the brokers' time, carried on by a clock that nobody sets.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from typing import Any, Final

from aiokafka.errors import InvalidTimestampError

from streams.log_lines import BOUNDED

log = logging.getLogger(__name__)

#: Seconds that the clocks may be apart: more than those of brokers that are set by NTP ever are.
MOST_APART_S: Final = 60.0
#: Seconds after which it is said again.
_SAY_AGAIN_S: Final = 600.0
#: Seconds for which a refusal of a record's time counts.
_REFUSAL_S: Final = 60.0
_LOG_APPEND_TIME: Final = 1
_DAY_S: Final = 86_400
_BOOT_CLOCK: Final = getattr(time, "CLOCK_BOOTTIME", None)


def steady_s() -> float:
    """Seconds of a clock that nobody sets; where that can be had, it goes on while the machine sleeps."""
    return time.monotonic() if _BOOT_CLOCK is None else time.clock_gettime(_BOOT_CLOCK)


class ClockCheck:
    """Compares this worker's clock with the brokers'.

    Args:
        clock: this worker's, in seconds since 1970.
        steady: seconds, only for differences; nobody sets it.
    """

    def __init__(
        self, clock: Callable[[], float] = time.time, steady: Callable[[], float] = steady_s
    ) -> None:
        self._clock = clock
        self._steady = steady
        #: The brokers' time less ``steady``, from and to; None before it is known.
        self._broker_at: tuple[float, float] | None = None
        self._refused_at: float | None = None
        self._said_at: float | None = None

    # ---------------------------------------------------------------- what is learnt

    def steady_now(self) -> float:
        """To be asked before records are sent, for ``confirmed``."""
        return self._steady()

    def confirmed(self, sent_at: float, confirmed: Iterable[Any]) -> None:
        """Brokers have confirmed records that were sent at ``sent_at`` by the steady clock.

        Args:
            sent_at: as ``steady_now`` told.
            confirmed: metadata of the records, as aiokafka has it.
        """
        times = [each.timestamp for each in confirmed if each.timestamp_type == _LOG_APPEND_TIME]
        if times:
            # Each was put on the record after it was sent and before it was confirmed. Where brokers do not
            # agree with each other, the sentence asks to look at all clocks.
            self._broker_at = min(times) / 1000 - self._steady(), max(times) / 1000 - sent_at
            self._refused_at = None

    def failed(self, error: BaseException | None) -> None:
        """Brokers did not take a record."""
        if isinstance(error, InvalidTimestampError):
            self._refused_at = self._steady()
            self.look()

    # ---------------------------------------------------------------- what is known

    @property
    def ahead_s(self) -> float:
        """Seconds that this worker's clock is ahead of the brokers', less than 0 when behind.

        0 while they are less than a minute apart, and before the brokers have told their time.
        """
        if self._broker_at is None:
            return 0.0
        now, steady = self._clock(), self._steady()
        least, most = (each + steady for each in self._broker_at)
        if now > most + MOST_APART_S:
            return now - most
        return now - least if now < least - MOST_APART_S else 0.0

    def now_s(self) -> float:
        """The time in seconds since 1970: this worker's clock, or the brokers' where that one is wrong."""
        return self._clock() - self.ahead_s

    def reason(self) -> str | None:
        """What is wrong with the clock, in one sentence; None while nothing is."""
        ahead = self.ahead_s
        if ahead:
            side = "ahead of" if ahead > 0 else "behind"
            return (
                f"The clock of this worker is {_length(abs(ahead))} {side} the brokers': set all of them by "
                "NTP; until then it counts and shows by the brokers' time."
            )
        if self._refused_at is not None and self._steady() - self._refused_at < _REFUSAL_S:
            return (
                "The brokers refuse the times that this worker puts on its records: set its clock and theirs "
                "by NTP."
            )
        return None

    def look(self) -> None:
        """Log what is wrong: at once, then now and then, and when it is over."""
        reason, now = self.reason(), self._steady()
        if reason is None:
            if self._said_at is not None:
                log.warning("The clock of this worker agrees with the brokers' again.", extra=BOUNDED)
            self._said_at = None
        elif self._said_at is None or now - self._said_at >= _SAY_AGAIN_S:
            self._said_at = now
            log.warning("%s", reason, extra=BOUNDED)


def _length(seconds: float) -> str:
    return f"{seconds / _DAY_S:.1f} days" if seconds >= 2 * _DAY_S else f"{seconds:,.0f} s"
