"""Ports for servers of tests that have to be told where to listen.

Nobody else takes one between the look and the start of the server: they lie below those that the system gives
to outgoing connections (from 32768 on), and below those that a local Kafka looks for (from 15000 on).
"""

from __future__ import annotations

import os
import random

from tocsin.local_kafka.config import port_is_free

_FIRST, _SLICE, _SLICES = 10_000, 500, 10
#: Those that this process was given: none is given twice, as a server that was stopped may be started again.
_given: set[int] = set()


def free_ports(number: int) -> list[int]:
    """Ports of loopback that nobody uses just now, and that no other process of this test run is given."""
    found: list[int] = []
    mine = _mine()
    for port in random.sample(mine, len(mine)):
        if len(found) == number:
            break
        if port not in _given and port_is_free(port):
            _given.add(port)
            found.append(port)
    assert len(found) == number, "no port is left"
    return found


def free_port() -> int:
    """One of them."""
    (port,) = free_ports(1)
    return port


def _mine() -> range:
    """The ports of this process: each one of pytest-xdist has its slice, and who is none has the last."""
    name = os.environ.get("PYTEST_XDIST_WORKER", "")
    slice_ = int(name.removeprefix("gw")) % (_SLICES - 1) if name.startswith("gw") else _SLICES - 1
    return range(_FIRST + slice_ * _SLICE, _FIRST + (slice_ + 1) * _SLICE)
