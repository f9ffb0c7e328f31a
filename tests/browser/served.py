"""A real worker on a real Kafka, whose pages a browser looks at."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streams.notifications import Priority
from streams.publishing.generator import Made
from streams.settings import Settings
from tests.integration.worker_process import Deployment, Worker
from tests.integration.writing import Writer, writer


def address_of(worker: Worker) -> str:
    """Of the pages of a worker, or of ``tocsin web``, that is ready; with a "/" at its end."""
    assert worker.address is not None
    host, port = worker.address
    return f"http://{host}:{port}/"


@dataclass
class Served:
    """A worker, and a way to publish more."""

    deployment: Deployment
    worker: Worker
    out: Writer

    @property
    def settings(self) -> Settings:
        return self.deployment.settings

    @property
    def address(self) -> str:
        return address_of(self.worker)

    async def publish(
        self, event_type: str, count: int = 1, priority: Priority = Priority.INFO, **payload: Any
    ) -> None:
        """Publish ``count`` notifications of one event type."""
        await self.out.made([Made(priority, "compute.host01", event_type, payload, 0)] * count)


@asynccontextmanager
async def serve(bootstrap: str, folder: Path, **settings: str) -> AsyncIterator[Served]:
    """A worker that is ready, with topics of its own; it flushes often, so that pages change soon."""
    deployment = Deployment(bootstrap, f"t{uuid.uuid4().hex[:12]}", folder)
    deployment.configure(flush_interval_s="0.2", **settings)
    worker = deployment.worker().start()
    try:
        await worker.ready()
        async with writer(deployment.settings) as out:
            yield Served(deployment, worker, out)
    finally:
        for each in deployment.workers:
            each.cleanup()
            print(f"---------------- end of the log of {each.name}\n{each.tail()}")
