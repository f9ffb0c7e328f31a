"""Publishes through oslo.messaging's Notifier, over Kafka or by a transport URL; run as a script by a test.

In a process of its own, so that its threads and what it does to the process disturb no test.
"""

from __future__ import annotations

import json
import sys

import oslo_messaging  # type: ignore[import-untyped]
from oslo_config import cfg


def main(server: str, topic: str, driver: str, number: int) -> None:
    """Publish ``number`` notifications of each of its priorities, then print how many of each event type."""
    url = server if "://" in server else f"kafka://{server}/"
    transport = oslo_messaging.get_notification_transport(cfg.ConfigOpts(), url=url)
    notifier = oslo_messaging.Notifier(transport, "compute.host1", driver=driver, topics=[topic])
    context = {"user_id": "u-1", "project_id": "p-1", "request_id": "req-1", "roles": ["admin"]}
    published = {}
    for priority in ("audit", "debug", "info", "warn", "error", "critical", "sample"):
        event_type = f"compute.instance.{driver}.{priority}"
        for index in range(number):
            payload = {"instance_id": f"i-{index}", "metrics": [{"name": "cpu", "value": 0.5}]}
            getattr(notifier, priority)(context, event_type, payload)
        published[event_type] = number
    transport.cleanup()
    print(json.dumps(published))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
