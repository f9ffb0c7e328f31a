"""Faust's own producer, which waits for brokers that are away when it starts."""

from __future__ import annotations

from faust.transport.drivers import aiokafka as driver

from streams.upstream.connections import connect


class Producer(driver.Producer):
    """Faust's producer, which waits for brokers that are away when it starts."""

    async def on_start(self) -> None:
        """Connect."""
        await connect(self._connect, lambda: not self.app.should_stop)

    async def _connect(self) -> None:
        try:
            await super().on_start()
        except BaseException:
            if self._producer is not None:  # else a stop has taken it meanwhile, and closes it
                await self._producer.client.close()
            raise
