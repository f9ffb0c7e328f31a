"""A local Kafka whose data folder is made once in each process, and copied for all others of it.

Kafka's own tool for that is a Java program, which takes a third of what the start of a broker takes.
"""

from __future__ import annotations

import base64
import re
import uuid
from pathlib import Path
from typing import Final

from tests.breakable_kafka import BreakableKafka
from tocsin.local_kafka.config import Cluster
from tocsin.local_kafka.process import Java

_META: Final = "meta.properties"
#: Files of a data folder that a broker has not started in yet, by their path in it.
_made: dict[Path, bytes] = {}


class FormattedKafka(BreakableKafka):
    """A `BreakableKafka` of one broker, which starts sooner; each has ids of its own."""

    def _format(self, cluster: Cluster, brokers: list[int], java: Java) -> None:
        assert brokers == [1], "the files are those of broker 1 of 1"
        data = self._process(1).folder / "data"
        if (data / _META).exists():
            return
        if not _made:
            super()._format(cluster, brokers, java)
            files = [path for path in data.rglob("*") if path.is_file()]
            _made.update({path.relative_to(data): path.read_bytes() for path in files})
            return
        for name, content in _made.items():
            (data / name).parent.mkdir(parents=True, exist_ok=True)
            (data / name).write_bytes(content)
        meta = (data / _META).read_text()
        for key, value in {"cluster.id": cluster.cluster_id, "directory.id": new_id()}.items():
            meta, found = re.subn(rf"(?m)^{re.escape(key)}=.*$", f"{key}={value}", meta)
            assert found == 1, meta
        (data / _META).write_text(meta)


def new_id() -> str:
    """An id in Kafka's form; none that begins with a dash, as Kafka's own."""
    while (made := base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")).startswith("-"):
        pass
    return made
