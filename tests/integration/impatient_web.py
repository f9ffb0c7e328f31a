"""``tocsin web`` that drops a slow reader after a fifth of a second, and looks for changes more often."""

from __future__ import annotations

from tables.views import live_stream
from tocsin.__main__ import main

if __name__ == "__main__":
    live_stream.SLOW_S = 0.2  # type: ignore[misc]
    live_stream.TICK_S = 0.1  # type: ignore[misc]
    main()
