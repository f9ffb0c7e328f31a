"""Reads notifications with oslo.messaging's own listener over RabbitMQ; run as a script by a test.

In a process of its own, so that its threads and what it does to the process disturb no test. Prints each
notification as a line of JSON, and ends when it is told to, by the end of its standard input.
"""

from __future__ import annotations

import json
import sys
import threading
from typing import Any

import oslo_messaging  # type: ignore[import-untyped]
from oslo_config import cfg

_PRIORITIES = ("audit", "debug", "info", "warn", "error", "critical", "sample")


class Printing:
    """An endpoint for every priority."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        for priority in _PRIORITIES:
            setattr(self, priority, self._told(priority))

    def _told(self, priority: str) -> Any:
        def told(
            context: dict[str, Any],
            publisher_id: str,
            event_type: str,
            payload: Any,
            metadata: dict[str, Any],
        ) -> str:
            found = {
                "priority": priority,
                "context": {name: context.get(name) for name in ("user_id", "project_id") if name in context},
                "publisher_id": publisher_id,
                "event_type": event_type,
                "payload": payload,
                "message_id": metadata["message_id"],
                "timestamp": metadata["timestamp"],
            }
            with self._lock:
                print(json.dumps(found), flush=True)
            return oslo_messaging.NotificationResult.HANDLED

        return told


def main(url: str, exchange: str, topic: str, durable: str) -> None:
    """Listen until standard input ends."""
    conf = cfg.ConfigOpts()
    transport = oslo_messaging.get_notification_transport(conf, url=url)
    conf.set_override("amqp_durable_queues", durable == "durable", group="oslo_messaging_rabbit")
    target = oslo_messaging.Target(exchange=exchange, topic=topic)
    listener = oslo_messaging.get_notification_listener(
        transport, [target], [Printing()], executor="threading"
    )
    listener.start()
    sys.stdin.read()
    listener.stop()
    listener.wait()
    transport.cleanup()


if __name__ == "__main__":
    main(*sys.argv[1:])
