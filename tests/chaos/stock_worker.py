"""The peer of the suite: the Faust app that a reader of its documentation would write.

A table counts per event type, CRITICAL and ERROR are sent on. It gets what helps it: RocksDB, static
membership, and the same session time-out.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import faust
import orjson

from streams.settings import Settings, load_settings
from tests.chaos import relay
from tests.leash import die_with_parent


def make_app(settings: Settings) -> Any:
    """The app."""
    app = faust.App(
        settings.app_id,
        broker=[f"kafka://{address}" for address in settings.broker_list],
        broker_session_timeout=settings.session_timeout_s,
        broker_heartbeat_interval=settings.session_timeout_s / 3,
        consumer_group_instance_id=os.environ["CHAOS_NAME"],
        canonical_url=f"http://{os.environ['CHAOS_NAME']}:1",
        consumer_auto_offset_reset="earliest",
        store="rocksdb://?driver=rocksdict",
        datadir=str(settings.data_dir),
        topic_partitions=settings.partitions,
        topic_replication_factor=settings.replication_factor,
        web_enabled=False,
        autodiscover=False,
    )
    counts = app.Table("counts", default=int, partitions=settings.partitions)

    def add_agent(priority: str, topic: str) -> None:
        forward = priority in {each.value for each in settings.forward_priorities}
        alerts = app.topic(settings.alert_topic(priority), value_serializer="raw")

        async def handle(stream: Any) -> None:
            async for event in stream.events():
                message = event.message
                try:
                    event_type = orjson.loads(event.value)["event_type"]
                except (ValueError, KeyError, TypeError):
                    event_type = "(dead letters)"
                else:
                    if forward:
                        place = {
                            "topic": message.topic,
                            "partition": message.partition,
                            "offset": message.offset,
                        }
                        await alerts.send(value=orjson.dumps({"examples": [place]}))
                counts[f"{priority}/{event_type}"] += 1

        app.agent(app.topic(topic, value_serializer="raw"), name=priority.lower())(handle)

    for priority in settings.priorities:
        add_agent(priority.value, settings.notification_topic(priority))
    return app


def main() -> None:
    """Run a worker of the app."""
    die_with_parent()
    relay.install(os.environ)
    sys.argv = [sys.argv[0]]
    settings = load_settings()
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    faust.Worker(make_app(settings), loglevel="WARNING", redirect_stdouts=False).execute_from_commandline()


if __name__ == "__main__":
    main()
