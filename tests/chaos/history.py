"""The history of a run: what was published, done and seen, one JSON object a line.

All processes of a run append to one file, each line by one system call, so that a ``kill -9`` loses no line
that was finished and the order of the lines is the order in which things were done. Kinds of lines (``k``):

=========  ================================================================================================
publish    a batch is about to be sent: number ``n``, topic ``t``, partition ``p``, ``e`` = [[id, event type]]
ack        batch ``n`` is acknowledged: its first record has offset ``o``
refused    batch ``n`` is not acknowledged: it may lie in the topic or not
start      a worker process began; ``w`` is its name and process id
assigned   it got partitions, and recovers their state
ready      it begins assignment ``g``: ``at`` = [[topic, partition, committed offset]], ``sources``
revoked    its assignment ended
batch      an agent finished records ``a`` to ``z`` of a partition, in assignment ``g``; ``again`` of them may
           be repeats that rows count already
rows       the brokers confirmed ``n`` rows of ``table``, partition ``p``
flush      everything up to input offset ``o`` is durable; ``unconfirmed`` rows of it were not
commit     offsets are about to be committed: ``at`` = [[topic, partition, offset]]
alert      the brokers confirmed what the record at ``o`` caused, a forward or a dead letter: ``id``, content
           ``h``
fault      the runner did something to the cluster, or a worker struck itself at a chosen place
remade     topic ``t`` was deleted and made again; what was of the old one is called ``as`` from here on
begins     of partition ``p`` of topic ``t``, what lies below offset ``o`` is of what was called ``as`` before
reset      all topics and groups are gone, and with them all that was said before
deleted    records of partition ``p`` of topic ``t`` below offset ``o`` are deleted, and nobody had read them
seen       public counts as ``who`` saw them: ``c`` = [[priority, event type, count]], of all there are
log        what a notification topic held at the end: ``e`` = [[offset, id, event type, bucket]], event type
           null where the record cannot be read
received   a record of an alert topic at the end: ``id``, content ``h``, ``of`` = the notification's place
letter     a record of the dead-letter topic at the end
source     rows of a source at the end: ``c`` = [[event type, total]], ``b`` = [[event type, bucket, count]]
counts     public counts at the end: ``c`` as above, ``b`` = [[priority, event type, bucket, count]]
=========  ================================================================================================

Every line has the wall-clock time ``s``.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import orjson

#: One line of a history.
Line = dict[str, Any]


class History:
    """Appends lines to the history; unbuffered, and safe among processes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)

    def write(self, kind: str, **values: Any) -> None:
        """Append one line."""
        line = {"k": kind, "s": round(time.time(), 4)} | values
        os.write(self._file, orjson.dumps(line) + b"\n")

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


def read(path: Path, start: int = 0) -> Iterator[Line]:
    """The lines of a history.

    Args:
        path: of its file.
        start: byte at which a line begins; earlier ones are left out.

    Raises:
        ValueError: a line is no JSON object. A line cannot be torn by the death of its writer.
    """
    with path.open("rb") as file:
        file.seek(start)
        for number, text in enumerate(file, 1):
            line = orjson.loads(text)
            if not isinstance(line, dict) or "k" not in line:
                raise ValueError(f"line {number} of {path} is no line of a history")
            yield line


def content_of(key: bytes | None, value: bytes | None, headers: Iterable[tuple[str, bytes]]) -> str:
    """A hash of everything that a subscriber gets of a record."""
    digest = hashlib.blake2b(digest_size=12)
    for part in (key, value, *(part for name, content in headers for part in (name.encode(), content))):
        digest.update(b"-" if part is None else b"%d:" % len(part) + part)
    return digest.hexdigest()
