"""Whether a broker has sent something that the event loop has not read yet. Uses private parts of aiokafka.

The loop looks at its sockets once a turn. Whoever does long work within a turn, and would interrupt it for
what has come, has to look by himself.
"""

from __future__ import annotations

import select
from typing import Any


def has_arrivals(consumer: Any) -> bool:
    """Whether bytes wait in a socket of a consumer: most often the records that it has asked for.

    Costs some microseconds, one call of the system for all its connections.

    Args:
        consumer: of aiokafka, started.
    """
    poll = select.poll()
    for connection in consumer._client._conns.values():
        # None before it is connected, and once it is closed.
        writer = connection._writer
        if writer is not None and not writer.transport.is_closing():
            poll.register(writer.transport.get_extra_info("socket").fileno(), select.POLLIN)
    return any(events & select.POLLIN for _, events in poll.poll(0))
