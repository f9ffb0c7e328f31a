"""``tocsin archive`` that commits no ids of topics, as earlier versions: ``python -m … DIR [OPTIONS]``."""

from __future__ import annotations

import sys
from typing import Any

from streams.archive import membership
from tocsin.cli import cli


def main() -> None:
    """Run the command."""

    def nothing(*_: Any, **__: Any) -> str:
        return ""

    membership.commit_note = nothing
    cli(["archive", *sys.argv[1:]])


if __name__ == "__main__":
    main()
