"""Variables of the environment that look like settings of Tocsin and are none."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from streams.settings import SECRETS, Settings
from streams.settings.wording import likely

_PREFIX: Final = "TOCSIN_"
#: What Kubernetes puts into every pod beside a Service that is called tocsin, or tocsin-web.
_OF_A_SERVICE: Final = re.compile(r"_SERVICE_HOST$|_(SERVICE_)?PORT(_|$)")
#: How like a setting one of those has to be.
_LIKE_OF_A_SERVICE: Final = 0.85


def unknown_settings(names: Iterable[str]) -> list[str]:
    """A sentence for each variable that is called like a setting, and that nothing reads.

    They are no error, as they are in a settings file, because an environment is not Tocsin's alone.

    Args:
        names: of the variables of an environment.
    """
    known = {f"{_PREFIX}{name.upper()}" for name in Settings.model_fields}
    known |= {f"{_PREFIX}{name.upper()}_FILE" for name in (*SECRETS, "config")}
    sentences = []
    for name in sorted(names):
        # Settings are read whatever the case of their names.
        if not name.upper().startswith(_PREFIX) or name.upper() in known:
            continue
        of_a_service = _OF_A_SERVICE.search(name)
        meant = likely(name, known, least=_LIKE_OF_A_SERVICE) if of_a_service else likely(name, known)
        if meant:
            sentences.append(f"{name} is no setting and has no effect; use {meant} if that is meant.")
        elif not of_a_service:
            sentences.append(f"{name} is no setting and has no effect; see the README for those there are.")
    return sentences
