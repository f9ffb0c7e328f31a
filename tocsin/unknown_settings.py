"""Variables of the environment that look like settings of Tocsin and are none."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import Final

from streams.settings import SECRETS, Settings

_PREFIX: Final = "TOCSIN_"
#: What Kubernetes puts into every pod beside a Service that is called tocsin, or tocsin-web.
_OF_A_SERVICE: Final = re.compile(r"_SERVICE_HOST$|_(SERVICE_)?PORT(_|$)")


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
        if not name.startswith(_PREFIX) or name in known:
            continue
        likely = difflib.get_close_matches(name, known, n=1, cutoff=0.85)
        if likely:
            sentences.append(f"{name} is no setting and has no effect; use {likely[0]} if that is meant.")
        elif not _OF_A_SERVICE.search(name):
            sentences.append(f"{name} is no setting and has no effect; see the README for those there are.")
    return sentences
