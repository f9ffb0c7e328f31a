"""What a wrong configuration raises."""

from __future__ import annotations

#: Exit code for a wrong configuration (EX_CONFIG of sysexits.h).
EXIT_CONFIG = 78
#: Exit code of a worker for which the brokers were away for too long (EX_TEMPFAIL): a restart may help.
EXIT_AWAY = 75


class ConfigurationError(Exception):
    """The configuration is wrong; the message is one sentence that says what to change.

    Attributes:
        exit_code: of a worker that ends for this reason.
    """

    exit_code = EXIT_CONFIG


class BrokersAwayError(ConfigurationError):
    """No broker can be used at present. The address may be wrong, but waiting may help as well.

    Args:
        sentence: says why, and what to change.
        unclear: whether it looks the same when a setting is wrong, so that waiting for long is no help.
    """

    exit_code = EXIT_AWAY

    def __init__(self, sentence: str, *, unclear: bool = False) -> None:
        super().__init__(sentence)
        self.unclear = unclear
        if unclear:
            self.exit_code = EXIT_CONFIG
