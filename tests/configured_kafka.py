"""A Kafka of a test's own with more lines in the properties of its brokers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.formatted_kafka import FormattedKafka
from tests.shared_kafka import NEVER_KILLED, START_S, more_properties
from tocsin.local_kafka.cluster import Cluster, LocalKafka
from tocsin.local_kafka.process import SHORT_LIFE

#: Asks who may do what, and lets everybody do what no rule is about.
AUTHORIZER = {
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "allow.everyone.if.no.acl.found": "true",
}


@contextmanager
def configured_kafka(
    data_dir: Path, properties: Callable[[Cluster], Mapping[str, str]]
) -> Iterator[LocalKafka]:
    """Start it, and throw it away in the end. Nobody kills it meanwhile.

    Args:
        data_dir: for its data.
        properties: of a broker, by what its cluster is like.
    """
    local = FormattedKafka(data_dir, die_with_parent=True, jvm_options=SHORT_LIFE)
    with more_properties(lambda cluster: {**NEVER_KILLED, **properties(cluster)}):
        local.start(timeout=START_S)
    try:
        yield local
    finally:
        local.throw_away()
