"""Clients that have lost every broker that they know ask the bootstrap addresses again. Private parts.

aiokafka 0.14 asks for metadata only where its last metadata say that brokers are: when all of them have moved
behind the same bootstrap name, it asks the old addresses for ever, each time that anybody wants anything.
Here such a client bootstraps again (rebootstrap, as KIP-899 calls it), and tries an address that does not
answer once a second at most. And while a topic is gone, its producers ask for metadata again as soon as they
have an answer, 3,000 times a second: here ten times.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final
from weakref import WeakKeyDictionary

import aiokafka.client
from aiokafka.client import AIOKafkaClient, ConnectionGroup
from aiokafka.cluster import ClusterMetadata
from aiokafka.errors import KafkaError

log = logging.getLogger(__name__)

#: Seconds for which no known broker could be asked, after which the bootstrap addresses are.
AFTER_S: Final = 15.0
#: Seconds between two questions to them.
AGAIN_S: Final = 5.0
#: Seconds for all known brokers to answer a question; each has the client's request timeout else.
_KNOWN_S: Final = 30.0
#: Seconds for one bootstrap address to answer.
_ANSWER_S: Final = 10.0
#: Seconds between two questions for metadata while some topic or leader that is asked for is not there.
MISSING_S: Final = 0.1
#: Seconds between two connections to one address that cannot be had: the first pause, and the longest.
_FIRST_PAUSE_S: Final = 0.1
_LONGEST_PAUSE_S: Final = 1.0

_stock_get_conn: Final = AIOKafkaClient._get_conn
_stock_metadata_update: Final = AIOKafkaClient._metadata_update
_stock_take_metadata: Final = ClusterMetadata.update_metadata


@dataclass(slots=True)
class _Lost:
    """What a client cannot reach.

    Attributes:
        since: when no known broker could be asked for the first time; None while one can.
        ask_at: when the bootstrap addresses may be asked.
        pauses: address -> seconds of its pause, and when it ends.
        missing_until: when metadata may be asked for again, after an answer without something that is wanted.
    """

    since: float | None = None
    ask_at: float = 0.0
    pauses: dict[tuple[str, int], tuple[float, float]] = field(default_factory=dict)
    missing_until: float = 0.0


_lost: WeakKeyDictionary[AIOKafkaClient, _Lost] = WeakKeyDictionary()
_cluster_ids: WeakKeyDictionary[ClusterMetadata, str] = WeakKeyDictionary()


def install_rebootstrap() -> None:
    """Let all clients of this process bootstrap again; may be called again."""
    AIOKafkaClient._get_conn = _get_conn
    AIOKafkaClient._metadata_update = _metadata_update
    ClusterMetadata.update_metadata = _take_metadata


def let_bootstrap_again(client: AIOKafkaClient) -> None:
    """Let one client bootstrap again, in a process whose other clients are not ours."""
    cluster = client.cluster
    client._get_conn = partial(_get_conn, client)
    client._metadata_update = partial(_metadata_update, client)
    cluster.update_metadata = partial(_take_metadata, cluster)


def _of(client: AIOKafkaClient) -> _Lost:
    found = _lost.get(client)
    if found is None:
        found = _lost[client] = _Lost()
    return found


async def _get_conn(
    client: AIOKafkaClient,
    node_id: Any,
    *,
    group: ConnectionGroup = ConnectionGroup.DEFAULT,
    no_hint: bool = False,
) -> Any:
    """Connect to a broker, or return its connection; None when it cannot be had, after a pause."""
    connection = client._conns.get((node_id, group))
    if connection is not None and connection.connected():
        return connection
    broker = client.cluster.broker_metadata(node_id)
    if broker is None:
        return await _stock_get_conn(client, node_id, group=group, no_hint=no_hint)
    pauses, address = _of(client).pauses, (broker.host, broker.port)
    pause_s, until = pauses.get(address, (0.0, 0.0))
    if (left_s := until - time.monotonic()) > 0:
        await asyncio.sleep(left_s)
        connection = client._conns.get((node_id, group))
        return connection if connection is not None and connection.connected() else None
    if pause_s:
        # Said before it is tried: whoever else wants the same meanwhile waits.
        pauses[address] = pause_s, time.monotonic() + pause_s
    connection = await _stock_get_conn(client, node_id, group=group, no_hint=no_hint)
    if connection is not None:
        pauses.pop(address, None)
    else:
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S) or _FIRST_PAUSE_S
        pauses[address] = pause_s, time.monotonic() + pause_s
    return connection


async def _metadata_update(client: AIOKafkaClient, cluster: ClusterMetadata, topics: Iterable[str]) -> bool:
    """Ask a known broker for metadata, or a bootstrap address when none has answered for a while."""
    lost = _of(client)
    if (left_s := lost.missing_until - time.monotonic()) > 0:
        await asyncio.sleep(left_s)
    began = time.monotonic()
    updated = False
    try:
        async with asyncio.timeout(_KNOWN_S):
            updated = await _stock_metadata_update(client, cluster, topics)
    except TimeoutError:
        log.warning("No known broker has answered for %.0f s.", _KNOWN_S)
    if updated:
        lost.since = None
        if _is_missing(cluster, topics):
            lost.missing_until = time.monotonic() + MISSING_S
        return True
    if lost.since is None:
        lost.since = began
    now = time.monotonic()
    if now - lost.since < AFTER_S or now < lost.ask_at:
        return False
    lost.ask_at = now + AGAIN_S
    metadata = await _ask_bootstrap_addresses(client, topics)
    if metadata is None:
        return False
    log.warning(
        "No known broker has answered for %.0f s: going on with those that the bootstrap addresses name.",
        now - lost.since,
    )
    cluster.update_metadata(metadata)
    lost.since = None
    lost.pauses.clear()
    return True


def _is_missing(cluster: ClusterMetadata, topics: Iterable[str] | None) -> bool:
    """Whether a topic is not there, or a partition of one has no leader."""
    return any(
        (all_of_it := cluster.partitions_for_topic(topic)) is None
        or all_of_it != cluster.available_partitions_for_topic(topic)
        for topic in topics or ()
    )


async def _ask_bootstrap_addresses(client: AIOKafkaClient, topics: Iterable[str]) -> Any:
    """The metadata that the first bootstrap address tells which can be had; None when none can."""
    for host, port, _ in client.hosts:
        try:
            async with asyncio.timeout(_ANSWER_S):
                metadata = await _ask(client, host, port, topics)
        except (OSError, KafkaError, TimeoutError) as error:
            log.warning("The bootstrap address %s:%s cannot be asked: %r", host, port, error)
            continue
        known = _cluster_ids.get(client.cluster)
        if known is not None and metadata.cluster_id != known:
            log.error(
                "The bootstrap address %s:%s leads to another cluster (%s, not %s): nothing is asked of it.",
                host,
                port,
                metadata.cluster_id,
                known,
            )
        elif metadata.brokers:
            return metadata
    return None


async def _ask(client: AIOKafkaClient, host: str, port: int, topics: Iterable[str]) -> Any:
    connection = await aiokafka.client.create_conn(
        host,
        port,
        client_id=client._client_id,
        request_timeout_ms=client._request_timeout_ms,
        ssl_context=client._ssl_context,
        security_protocol=client._security_protocol,
        max_idle_ms=client._connections_max_idle_ms,
        sasl_mechanism=client._sasl_mechanism,
        sasl_plain_username=client._sasl_plain_username,
        sasl_plain_password=client._sasl_plain_password,
        sasl_kerberos_service_name=client._sasl_kerberos_service_name,
        sasl_kerberos_domain_name=client._sasl_kerberos_domain_name,
        sasl_oauth_token_provider=client._sasl_oauth_token_provider,
    )
    try:
        return await connection.send(aiokafka.client.MetadataRequest(list(topics) if topics else None))
    finally:
        connection.close()


def _take_metadata(cluster: ClusterMetadata, metadata: Any) -> None:
    """Take metadata over, and remember of which cluster they are."""
    _stock_take_metadata(cluster, metadata)
    if metadata.brokers and (told := getattr(metadata, "cluster_id", None)) is not None:
        _cluster_ids[cluster] = told
