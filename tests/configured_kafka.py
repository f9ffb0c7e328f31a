"""A Kafka of a test's own with more lines in the properties of its brokers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.formatted_kafka import FormattedKafka
from tests.shared_kafka import START_S
from tocsin.local_kafka import cluster as local_kafka
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
    """Start it, and throw it away in the end.

    Args:
        data_dir: for its data.
        properties: of a broker, by what its cluster is like.
    """
    write = local_kafka.write_broker_files

    def write_more(folder: Path, cluster: Cluster, number: int) -> None:
        write(folder, cluster, number)
        with (folder / "server.properties").open("a", encoding="utf-8") as file:
            file.writelines(f"{name}={value}\n" for name, value in properties(cluster).items())

    local = FormattedKafka(data_dir, die_with_parent=True, jvm_options=SHORT_LIFE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(local_kafka, "write_broker_files", write_more)
        local.start(timeout=START_S)
    try:
        yield local
    finally:
        local.throw_away()
