"""The Faust app: it tells the coordinator when work may begin, and when it must end."""

from __future__ import annotations

import logging

import faust
from faust.app import BootStrategy
from faust.types import TP

from streams.upstream.coordinator import Coordinator


class _WithoutFaustsWeb(BootStrategy):
    """Starts all but Faust's own web server: ``faust worker`` would open it on all addresses, to anybody."""

    enable_web = False


class App(faust.App):
    """A Faust app that tells the coordinator when work may begin and when it must end."""

    #: Faust's own lines about services are told apart from ours by their logger.
    logger = logging.getLogger("faust.app")
    BootStrategy = _WithoutFaustsWeb
    coordinator: Coordinator

    def on_rebalance_end(self) -> None:
        """Recovery and seeks are done, and flow has been resumed."""
        super().on_rebalance_end()
        consumer = self.consumer
        assigned = {tp for tp in consumer.assignment() if self.coordinator.manages(tp.topic)}
        committed = {tp: consumer._committed_offset.get(tp) for tp in assigned}
        self.add_future(self.coordinator.on_ready(assigned, committed, dict(consumer.topic_ids)))

    def on_crash(self, error: BaseException) -> None:
        """Something cannot go on, and the worker ends; may be called for several errors."""

    def _crash(self, reason: BaseException) -> None:
        self.on_crash(reason)
        super()._crash(reason)

    def fail(self, error: BaseException) -> None:
        """End the worker, because it cannot go on."""
        self.add_future(self.crash(error))

    def instance_taken(self) -> None:
        """Another process has taken over the instance id: end the worker."""
        self.fail(RuntimeError("another process has the instance id"))

    async def _on_partitions_revoked(self, revoked: set[TP]) -> None:
        await super()._on_partitions_revoked(revoked)
        await self.coordinator.on_revoked()


def member_alive(app: App) -> bool:
    """Whether the tasks that keep up the group membership run; true before they were started."""
    if app._consumer is None:
        return True
    consumer = app.consumer._thread._consumer
    coordinator = getattr(consumer, "_coordinator", None)
    task = getattr(coordinator, "_coordination_task", None)
    return task is None or not task.done()
