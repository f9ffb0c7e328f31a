"""A service of a cloud that publishes as its configuration file says; run as a script by a test.

In a process of its own, so that its threads and what it does to the process disturb no test.
"""

from __future__ import annotations

import sys

import oslo_messaging  # type: ignore[import-untyped]
from oslo_config import cfg


def main(file: str, number: int) -> None:
    """Publish ``number`` notifications of each of the five priorities.

    Args:
        file: such as nova.conf; driver, topics and ``transport_url`` are what it says.
        number: of each.
    """
    conf = cfg.ConfigOpts()
    conf(["--config-file", file], project="nova")
    # As nova does it.
    oslo_messaging.set_transport_defaults(control_exchange="nova")
    transport = oslo_messaging.get_notification_transport(conf)
    notifier = oslo_messaging.Notifier(transport, "compute.host1")
    for index in range(number):
        for priority in ("critical", "error", "warn", "info", "debug"):
            name = f"compute.instance.{priority}"
            payload = {"id": f"{priority} {index}", "admin_password": "hush"}
            getattr(notifier, priority)({"user_id": "u-1"}, name, payload)
    transport.cleanup()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
