"""A worker that commits nothing: killed, it leaves all that it counted to be read again.

With ``forgetful`` as its first argument it counts that by the settings of today, as workers once did.
"""

from __future__ import annotations

import sys
from typing import Any

from faust.types import TP

from agents import counting
from tables.source_counter import SourceCounter
from tocsin.cli import main
from tocsin.worker import Worker


def _nothing(_worker: Worker) -> dict[TP, int]:
    """Nothing may be committed: Faust commits by itself as well."""
    return {}


class _Forgetful(SourceCounter):
    def __init__(self, *arguments: Any, rules: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)


if __name__ == "__main__":
    if sys.argv[1] == "forgetful":
        counting.SourceCounter = _Forgetful  # type: ignore[misc]
        del sys.argv[1]
    Worker.committable = _nothing  # type: ignore[method-assign]
    main()
