"""Time buckets and the windows made of them. Pure.

A bucket is named by its start, in whole seconds since 1970 (UTC). Three resolutions are kept:
10 s for recent time, 1 min for a day, 1 h for a month. Coarse buckets are recomputed from finer
ones and never incremented, so that a repeat does no harm.
"""

from __future__ import annotations

from typing import Final

#: Seconds a fine bucket spans.
FINE: Final = 10
#: Seconds a minute bucket spans.
MINUTE: Final = 60
#: Seconds an hour bucket spans.
HOUR: Final = 3600

#: Resolutions from fine to coarse, in seconds.
RESOLUTIONS: Final = (FINE, MINUTE, HOUR)

#: A notification's own time is believed up to this far after the broker's, in seconds.
FUTURE_S: Final = 600

#: Seconds after its end at which a coarse bucket is first written. Most stragglers are in by then;
#: a later one makes it written again.
CLOSE_GRACE_S: Final = {MINUTE: 20, HOUR: 150}

#: Seconds that buckets of a resolution are kept after their end, without the lateness.
RETENTION_S: Final = {FINE: 3600 + FUTURE_S + 300, MINUTE: 25 * HOUR, HOUR: 31 * 24 * HOUR}

#: Windows that can be asked for, by name, in seconds; ``total`` is since the first notification.
WINDOWS: Final = {"1m": 60, "5m": 300, "1h": 3600, "24h": 86_400, "30d": 30 * 86_400}


def bucket_of(time_ms: int, resolution_s: int) -> int:
    """Start of the bucket that ``time_ms`` (milliseconds since 1970) falls into, in seconds."""
    seconds = time_ms // 1000
    return seconds - seconds % resolution_s


def parent(bucket: int, resolution_s: int) -> int:
    """Start of the bucket of ``resolution_s`` that holds the finer bucket ``bucket``."""
    return bucket - bucket % resolution_s


def children(bucket: int, resolution_s: int) -> range:
    """Starts of the next finer buckets that make up ``bucket`` of ``resolution_s``."""
    finer = RESOLUTIONS[RESOLUTIONS.index(resolution_s) - 1]
    return range(bucket, bucket + resolution_s, finer)


def retention_s(resolution_s: int, lateness_s: int) -> int:
    """Seconds that buckets of ``resolution_s`` are kept when records may be ``lateness_s`` late."""
    return RETENTION_S[resolution_s] + lateness_s
