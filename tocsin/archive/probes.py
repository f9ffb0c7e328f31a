"""The probes of an archiver."""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web

from streams.archive.archiver import Archiver
from streams.archive.files import ArchiveWriter
from tocsin import small_server
from tocsin.archive.figures import make_registry


class ArchiveHealth:
    """What is told of an archiver: why it is not ready.

    It is live as long as it answers: nothing else is mended by a restart.

    Args:
        stopping: whether the process was told to end.
    """

    def __init__(self, stopping: Callable[[], bool]) -> None:
        self._stopping = stopping
        #: The archiver; None before the brokers were reached.
        self.archiver: Archiver | None = None

    def reasons(self) -> list[str]:
        """One sentence for each reason why it does not archive now; none when it is ready."""
        found = ["The process is stopping."] if self._stopping() else []
        if self.archiver is None:
            return [*found, "The brokers of Kafka have not been reached yet."]
        return found + self.archiver.reasons()


def make_app(health: ArchiveHealth, writer: ArchiveWriter) -> web.Application:
    """The addresses ``/livez``, ``/readyz`` and ``/metrics``; none changes anything or tells of a record."""
    registry = make_registry(lambda: health.archiver, writer, lambda: not health.reasons())
    return small_server.make_app(health.reasons, registry)
