"""Ask a Kafka broker who it is: one Metadata request over a plain socket, without a client library."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass

_METADATA = 3
_VERSION = 4
_MAX_ANSWER = 1 << 20


@dataclass(frozen=True, slots=True)
class BrokerAnswer:
    """What one broker says of its cluster."""

    cluster_id: str
    broker_ids: frozenset[int]
    controller_id: int


class _Reader:
    """Reads the primitive types of Kafka's protocol."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def int32(self) -> int:
        (value,) = struct.unpack_from(">i", self._data, self._at)
        self._at += 4
        return int(value)

    def string(self) -> str:
        (length,) = struct.unpack_from(">h", self._data, self._at)
        self._at += 2
        if length < 0:
            return ""
        value = self._data[self._at : self._at + length]
        self._at += length
        return value.decode("utf-8", "replace")


def ping(host: str, port: int, timeout: float = 2.0) -> BrokerAnswer | None:
    """Ask the broker at ``host:port`` for its cluster.

    Args:
        host: address to connect to.
        port: port to connect to.
        timeout: seconds for the connection and for each read.

    Returns:
        Its answer, or None when nothing there answers as a Kafka broker does.
    """
    # Version 4: flags after an empty list of topics, so that the answer stays small.
    body = struct.pack(">hhih6sib", _METADATA, _VERSION, 1, 6, b"tocsin", 0, 0)
    try:
        with socket.create_connection((host, port), timeout=timeout) as connection:
            connection.sendall(struct.pack(">i", len(body)) + body)
            (size,) = struct.unpack(">i", _receive(connection, 4))
            if not 0 < size <= _MAX_ANSWER:
                return None
            return _parse(_receive(connection, size))
    except (OSError, struct.error, EOFError):
        return None


def _receive(connection: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        part = connection.recv(size - len(data))
        if not part:
            raise EOFError
        data += part
    return bytes(data)


def _parse(answer: bytes) -> BrokerAnswer | None:
    reader = _Reader(answer)
    if reader.int32() != 1:  # the correlation id we sent
        return None
    reader.int32()  # throttle time
    broker_ids = set()
    for _ in range(reader.int32()):
        broker_ids.add(reader.int32())
        reader.string()
        reader.int32()
        reader.string()
    return BrokerAnswer(
        cluster_id=reader.string(), broker_ids=frozenset(broker_ids), controller_id=reader.int32()
    )
