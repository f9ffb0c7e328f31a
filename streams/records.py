"""Records as the transport hands them out: what was fetched, and what stands for what could not be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


class ReadingFailedError(Exception):
    """Topics cannot be read any further; the message is one sentence that says what to do."""


class Record(Protocol):
    """A record as agents get it, in a batch that knows its topic and partition.

    It is the record of aiokafka's parser, its ``ConsumerRecord``, or an `UnreadableRecord`.
    """

    @property
    def offset(self) -> int:
        """Place in the partition."""

    @property
    def timestamp(self) -> int | None:
        """Milliseconds since 1970, by the broker or by the publisher; -1 or None when there is none."""

    @property
    def timestamp_type(self) -> int | None:
        """Whose time it is, as ``streams.notifications.record_time`` takes it."""

    @property
    def key(self) -> bytes | None:
        """As it was published."""

    @property
    def value(self) -> bytes | None:
        """As it was published."""

    @property
    def headers(self) -> Sequence[tuple[str, bytes | None]]:
        """Names and values, in order; Kafka allows a name without a value."""


class PlacedRecord(Record, Protocol):
    """A record that also says where it lies: aiokafka's ``ConsumerRecord``, or an `UnreadableRecord`."""

    @property
    def topic(self) -> str:
        """Kafka topic."""

    @property
    def partition(self) -> int:
        """Number of the partition."""


@dataclass(slots=True, frozen=True)
class UnreadableRecord:
    """Stands for a record that the Kafka client cannot take apart: its place is known, and nothing else.

    Attributes:
        corrupt: whether it is not as it was written: its batch has changed on a broker's disk.
        found: what lies there now instead of its value; for the dead letter alone, since it may be anything.
    """

    topic: str
    partition: int
    offset: int
    error: str
    timestamp: int = -1
    timestamp_type: int | None = None
    key: bytes | None = None
    value: bytes | None = None
    headers: tuple[tuple[str, bytes], ...] = ()
    corrupt: bool = False
    found: bytes | None = None
