"""The transport of the Faust app: Faust's own for aiokafka, with our consumer and producer."""

from __future__ import annotations

from faust.transport.drivers import aiokafka as driver

from streams.upstream.faust_consumer import Consumer
from streams.upstream.faust_producer import Producer


class Transport(driver.Transport):
    """Faust's aiokafka transport with our consumer and producer."""

    Consumer = Consumer
    Producer = Producer
