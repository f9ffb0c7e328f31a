"""Getting past a record that the Kafka client cannot take apart."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from typing import Any, Final

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from streams.records import UnreadableRecord

#: Records looked at one by one, per partition, in search of the one that cannot be taken apart.
_MOST_STEPS: Final = 20_000
_WAIT_MS: Final = 500


async def step_over(
    consumer: Any, positions: Mapping[TopicPartition, int]
) -> AsyncGenerator[tuple[TopicPartition, list[Any], int]]:
    """Read record by record, up to and including the first one that the client cannot take apart.

    The client raises for a whole fetch, loses the good records before the bad one, and would then go on
    behind them; so each partition starts again from where records were last taken over.

    Args:
        consumer: raised something other than a KafkaError when it was asked for these partitions.
        positions: partition -> offset after the last record that was taken over.

    Yields:
        Partition, one record (or its stand-in, an `UnreadableRecord`, which is the last of all), and the
        offset after it; the record in a list, as the client gave it.

    Raises:
        KafkaError: the brokers refuse.
    """
    for tp, position in positions.items():
        consumer.seek(tp, position)
    for tp, start in positions.items():
        position = start
        for _ in range(_MOST_STEPS):
            try:
                fetched = await consumer.getmany(tp, timeout_ms=_WAIT_MS, max_records=1)
            except KafkaError:
                raise
            except Exception as error:  # noqa: BLE001 - hostile records raise anything
                bad = UnreadableRecord(tp.topic, tp.partition, position, f"{type(error).__name__}: {error}")
                consumer.seek(tp, position + 1)
                yield tp, [bad], position + 1
                return
            if not fetched:
                break
            records = fetched[tp]
            position = records[-1].offset + 1
            yield tp, records, position
