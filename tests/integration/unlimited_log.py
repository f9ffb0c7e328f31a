"""``python -m tests.integration.unlimited_log worker``: a worker that writes every line, however often."""

from __future__ import annotations

import logging

from streams import logs
from streams.commands import main

if __name__ == "__main__":
    logs.LimitedHandler = logging.StreamHandler  # type: ignore[assignment,misc]
    main()
