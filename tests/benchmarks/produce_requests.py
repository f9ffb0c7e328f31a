"""How many produce requests an arm sends: counted in its process, in a file that the benchmark reads.

Only arms on aiokafka can tell. A request that holds batches of several partitions is one.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

from tests.benchmarks.shared_numbers import SharedNumbers

_FORM = struct.Struct("=q")
#: Name of the file in the folder of an arm's ``RunSpec``.
FILE = "produce-requests"


def count_produce_requests(folder: str | Path, topics: str) -> None:
    """Count from here on what aiokafka sends to topics whose name begins with ``topics``."""
    from aiokafka.client import AIOKafkaClient
    from aiokafka.protocol.produce import ProduceRequest

    shared = SharedNumbers(Path(folder) / FILE, 1)
    send = AIOKafkaClient.send
    number = 0

    async def counted(self: Any, node: Any, request: Any, **options: Any) -> Any:
        nonlocal number
        if isinstance(request, ProduceRequest) and any(
            topic.startswith(topics) for topic, _ in request._topics
        ):
            number += 1
            shared[0] = number
        return await send(self, node, request, **options)

    AIOKafkaClient.send = counted


def produce_requests(folder: str | Path) -> int | None:
    """How many there were; None for an arm that does not tell."""
    path = Path(folder) / FILE
    return _FORM.unpack(path.read_bytes())[0] if path.exists() else None
