"""No broker creates a topic because a client of this process asked for it. A private part of aiokafka.

Where brokers have ``auto.create.topics.enable`` (Kafka's default), a Metadata request creates what is
missing, with the broker's defaults, unless it says otherwise; that of aiokafka 0.14 does not. A topic that
was deleted under a worker would come back at once, with another number of partitions, made by any reader.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Final

import aiokafka.admin.client
import aiokafka.client
from aiokafka.protocol.metadata import MetadataRequest

#: Stands in for aiokafka's ``MetadataRequest``.
ONLY_ASKING: Final[Any] = partial(MetadataRequest, allow_auto_topic_creation=False)


def install_no_topic_creation() -> None:
    """Let no client of this process have topics created by asking; may be called again."""
    aiokafka.client.MetadataRequest = ONLY_ASKING
    aiokafka.admin.client.MetadataRequest = ONLY_ASKING
