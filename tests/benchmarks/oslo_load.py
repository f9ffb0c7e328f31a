"""``python -m tests.benchmarks.oslo_load URL TOPIC EACH GO``: a publisher of oslo.messaging.

It publishes one notification of each priority, so that it is connected, and says ``connected``. When the file
GO is there it publishes EACH of every priority, and says in JSON how long that took, and how much processor
time.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import oslo_messaging  # type: ignore[import-untyped]
from oslo_config import cfg

from streams.notifications.priority import Priority

_CONTEXT = {"user_id": "u-1", "project_id": "p-1", "request_id": "req-1", "roles": ["admin"]}
_POLL_S = 0.005


def main(url: str, topic: str, each: int, go: Path) -> None:
    """Publish; see the module."""
    transport = oslo_messaging.get_notification_transport(cfg.ConfigOpts(), url=url)
    notifier = oslo_messaging.Notifier(transport, "compute.host1", driver="messagingv2", topics=[topic])
    methods = [getattr(notifier, priority.lower()) for priority in Priority]

    def publish(number: int) -> None:
        for index in range(number):
            for method in methods:
                payload = {"instance_id": f"i-{index}", "metrics": [{"name": "cpu", "value": 0.5}]}
                method(_CONTEXT, "compute.instance.exists", payload)

    publish(1)
    print("connected", flush=True)
    while not go.exists():
        time.sleep(_POLL_S)
    began, used = time.monotonic(), time.process_time()
    publish(each)
    print(json.dumps({"s": time.monotonic() - began, "processor_s": time.process_time() - used}), flush=True)
    transport.cleanup()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), Path(sys.argv[4]))
