"""A worker with other partial counts: ``python -m tests.integration.changed_partials worker``.

``CHANGED_PARTIALS`` is ``later`` for a worker of a later release, which writes messages of a version that
this one does not read; or ``silent`` for one that never asks for what it has missed.
"""

from __future__ import annotations

import os
from typing import Literal

import msgspec

from tables import again, combined_counter, partials
from tables.combined_counter import CombinedCounter
from tocsin.cli import main


class _LaterMessage(msgspec.Struct):
    v: Literal[1, 2]
    parts: list[partials.LaterPartial]


def _of_a_later_release() -> None:
    for module in (again, combined_counter, partials):
        vars(module)["VERSION"] = 2
    vars(partials)["_Message"] = _LaterMessage
    vars(partials)["_decode_message"] = msgspec.json.Decoder(_LaterMessage).decode


if __name__ == "__main__":
    match os.environ["CHANGED_PARTIALS"]:
        case "later":
            _of_a_later_release()
        case "silent":
            CombinedCounter._ask = lambda *_, **__: None  # type: ignore[method-assign]
        case other:
            raise SystemExit(f"no partials are {other}")
    main()
