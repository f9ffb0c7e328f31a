"""How Faust is configured for a worker."""

from __future__ import annotations

import os
import socket
from typing import Any

from streams.broker.faust_credentials import faust_credentials
from streams.settings import Settings
from streams.upstream.faust_tables import SharedTable, TablesDeclared
from streams.upstream.faust_worker import Worker
from streams.upstream.slice_assignor import SliceAssignor


def faust_options(settings: Settings) -> dict[str, Any]:
    """The options of the Faust app, but for its id."""
    instance = settings.instance_id
    return {
        "broker": [f"kafka://{address}" for address in settings.broker_list],
        "broker_credentials": faust_credentials(settings),
        "broker_session_timeout": settings.session_timeout_s,
        "broker_heartbeat_interval": min(3.0, settings.session_timeout_s / 3),
        "broker_request_timeout": max(30.0, settings.session_timeout_s + 5),
        "broker_rebalance_timeout": max(30.0, settings.drain_deadline_s + 10),
        "broker_commit_interval": 2.0,
        "broker_commit_every": 1_000_000,
        "consumer_group_instance_id": instance,
        "consumer_auto_offset_reset": "earliest",
        # Faust compares it with the address it had before, so it must not change over a restart.
        "canonical_url": f"http://{instance or f'{socket.gethostname()}-{os.getpid()}'}:1",
        "datadir": str(settings.data_dir.absolute()),
        "store": "rocksdb://?driver=rocksdict",
        "Table": SharedTable,
        "TableManager": TablesDeclared,
        "Worker": Worker,
        "PartitionAssignor": SliceAssignor,
        "processing_guarantee": "at_least_once",
        "producer_acks": -1,
        "stream_wait_empty": True,
        "table_standby_replicas": 0,
        "topic_allow_declare": False,
        "topic_disable_leader": True,
        "topic_partitions": settings.partitions,
        "topic_replication_factor": settings.replication_factor,
        "stream_recovery_delay": 0.0,
        "web_enabled": False,
        "worker_redirect_stdouts": False,
        "autodiscover": False,
        "loghandlers": [],
    }
