"""The command ``tocsin``, and ``python -m tocsin``."""

from __future__ import annotations

import os
import sys

from tocsin.guard import ForeignPackageError, check_package


def main() -> None:
    """Run the command line; see ``tocsin.cli``. Where `streams` is somebody else's, say so: exit code 78."""
    try:
        check_package("streams")
    except ForeignPackageError as error:
        sys.stderr.write(f"tocsin: {error}\n")
        sys.exit(os.EX_CONFIG)
    from tocsin.cli import main as command_line  # noqa: PLC0415 - it needs our `streams`, checked just now

    command_line()


if __name__ == "__main__":
    main()
