"""What a wrong configuration raises."""

from __future__ import annotations

#: Exit code for a wrong configuration (EX_CONFIG of sysexits.h).
EXIT_CONFIG = 78


class ConfigurationError(Exception):
    """The configuration is wrong; the message is one sentence that says what to change."""
