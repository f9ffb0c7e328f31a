"""Every setting of Tocsin.

A value comes from an option of the command, else from the environment (``TOCSIN_<NAME>``), else from a TOML
file named by ``--config`` or ``TOCSIN_CONFIG_FILE``, else from the default in ``model``. A secret may also be
given by the path of a file that holds it: ``TOCSIN_<NAME>_FILE``.

A value that is empty, or nothing but white space, is as good as none: compose files and shells make it of a
variable that is not set. A secret is the exception: one that is set and empty is refused, since it would open
a door.
"""

from __future__ import annotations

from streams.settings.errors import EXIT_AWAY, EXIT_CONFIG, BrokersAwayError, ConfigurationError
from streams.settings.model import Settings
from streams.settings.profiles import PROFILES, ModeName, ProfileName
from streams.settings.sources import load_settings

#: The settings that are secrets.
SECRETS = Settings.secret_names()

__all__ = [
    "EXIT_AWAY",
    "EXIT_CONFIG",
    "PROFILES",
    "SECRETS",
    "BrokersAwayError",
    "ConfigurationError",
    "ModeName",
    "ProfileName",
    "Settings",
    "load_settings",
]
