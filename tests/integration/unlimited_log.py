"""``python -m tests.integration.unlimited_log worker``: a worker that writes every line, however often."""

from __future__ import annotations

import logging

from tocsin import logs
from tocsin.cli import main

if __name__ == "__main__":
    logs.LimitedHandler = logging.StreamHandler  # type: ignore[assignment,misc]
    main()
