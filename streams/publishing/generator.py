"""A made load after OpenStack's traffic: operations with their stages, bursts, errors. Pure, seeded."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple

from streams.notifications.priority import Priority


class Made(NamedTuple):
    """One made notification.

    Attributes:
        priority: which topic it belongs to.
        publisher_id: such as ``compute.host07``.
        event_type: such as ``compute.instance.create.start``.
        payload: a dictionary of attributes.
        offset_ms: milliseconds after the start at which it happens; never falls.
        raw: if not None, malformed bytes to send instead; they end in dead letters.
    """

    priority: Priority
    publisher_id: str
    event_type: str
    payload: dict[str, Any]
    offset_ms: int
    raw: bytes | None = None


#: Share of each priority.
MIX = {
    Priority.DEBUG: 0.55,
    Priority.INFO: 0.33,
    Priority.WARN: 0.08,
    Priority.ERROR: 0.035,
    Priority.CRITICAL: 0.005,
}

# Operation -> (worker type, how often it is begun, how many progress events it has).
_OPERATIONS = {
    "compute.instance.create": ("compute", 20, 2),
    "compute.instance.delete": ("compute", 14, 0),
    "compute.instance.resize": ("compute", 3, 1),
    "compute.instance.reboot": ("compute", 6, 0),
    "compute.instance.snapshot": ("compute", 5, 1),
    "compute.instance.live_migration": ("compute", 3, 3),
    "volume.create": ("volume", 10, 0),
    "volume.attach": ("volume", 9, 0),
    "volume.delete": ("volume", 6, 0),
    "network.port.create": ("network", 18, 0),
    "network.port.delete": ("network", 12, 0),
    "image.upload": ("image", 2, 2),
}
_SINGLE = ("identity.authenticate", "identity.user.updated", "identity.project.created", "image.send")
_DEBUG = (
    ("rpc.call", "conductor", 30),
    ("scheduler.trace", "scheduler", 24),
    ("rpc.cast", "conductor", 12),
    ("http.request", "api", 12),
    ("agent.heartbeat", "network", 8),
    ("scheduler.filter", "scheduler", 6),
    ("metrics.update", "compute", 5),
    ("db.query", "conductor", 5),
    ("cache.lookup", "api", 4),
    ("network.port.sync", "network", 3),
    ("quota.check", "api", 3),
    ("lock.acquired", "compute", 2),
)
_WARN = (
    ("compute.instance.create.retry", "compute", 6),
    ("disk.usage.high", "compute", 5),
    ("api.rate_limited", "api", 5),
    ("quota.exceeded", "api", 4),
    ("message.queue.backlog", "conductor", 3),
    ("agent.heartbeat.late", "network", 3),
    ("volume.attach.slow", "volume", 2),
    ("network.port.binding.retry", "network", 2),
    ("identity.authenticate.failed", "identity", 2),
    ("clock.drift", "compute", 1),
    ("certificate.expiring", "api", 1),
)
_CRITICAL = (
    ("host.down", "compute", 6),
    ("storage.pool.full", "volume", 3),
    ("network.gateway.down", "network", 2),
    ("database.unreachable", "conductor", 2),
    ("message.broker.partitioned", "conductor", 1),
    ("cluster.quorum.lost", "volume", 1),
)

_MALFORMED: tuple[bytes, ...] = (
    b'{"event_type": "compute.instance.create.end", "payload": {"instance_id": "a-17", "sta',
    b"Traceback (most recent call last): connection reset",
    b'{"event_type": "volume.create.end", "payload": "\xff\xfe caf\xe9"}',
    b'["compute.instance.delete.end", {"instance_id": "a-18"}]',
    b'{"publisher_id": "compute.host1", "priority": "INFO", "payload": {}}',
    b'{"event_type": "metrics.update", "payload": {"load": 0x1F}}',
    b'{"event_type": "scheduler.trace", "payload": ' + b"[" * 300 + b"]" * 300 + b"}",
    b"",
)
_FAULTS = (
    "No valid host was found",
    "Connection timed out",
    "Volume is busy",
    "Port binding failed",
    "No space left",
)
_FLAVORS = (
    ("m1.small", 1, 2048, 20),
    ("m1.medium", 2, 4096, 40),
    ("m1.large", 4, 8192, 80),
    ("c2.xlarge", 16, 32768, 160),
)
_RUNNING = 200  # operations under way at any time
_BURST_S = 0.5
_BURST_FACTOR = 12.0
_HOSTS = 40


class _Operation:
    """One operation under way."""

    __slots__ = ("attributes", "name", "publisher_id", "stage", "steps")

    def __init__(self, name: str, publisher_id: str, steps: int, attributes: dict[str, Any]) -> None:
        self.name = name
        self.publisher_id = publisher_id
        self.steps = steps
        self.stage = 0
        self.attributes = attributes


def generate(
    seed: int,
    count: int | None = None,
    start_ms: int = 0,
    *,
    rate: float = 1000.0,
    bad_share: float = 0.0,
) -> Iterator[Made]:
    """Make notifications; the same arguments make the same ones.

    Operations begin, go on and end (or fail) on the same host and with the same ids. Now and then a
    tenant begins dozens of instances at once, traffic comes in bursts, and a host that goes down
    makes the operations on it fail next.

    Args:
        seed: of the random numbers.
        count: how many; None makes them for ever.
        start_ms: UTC milliseconds since 1970 at which it starts; dates in payloads follow from it.
        rate: notifications a second on average, by ``offset_ms``.
        bad_share: share of malformed messages, 0 to 1.
    """
    made = _Maker(random.Random(seed), start_ms, rate, bad_share).forever()
    return made if count is None else itertools.islice(made, count)


class _Maker:
    def __init__(self, rng: random.Random, start_ms: int, rate: float, bad_share: float) -> None:
        self._rng = rng
        self._random = rng.random
        self._start_ms = start_ms
        self._rate = rate
        self._hosts = [f"host{number:02d}" for number in range(1, _HOSTS + 1)]
        self._bad_share = bad_share
        # Choices by weight are looked up in a table: an order of magnitude faster than random.choices.
        self._operations = _spread([(name, weight) for name, (_, weight, _) in _OPERATIONS.items()])
        self._debug = _spread([((name, worker), weight) for name, worker, weight in _DEBUG])
        self._warn = _spread([((name, worker), weight) for name, worker, weight in _WARN])
        self._critical = _spread([((name, worker), weight) for name, worker, weight in _CRITICAL])
        self._tenants = [f"{rng.getrandbits(128):032x}" for _ in range(25)]
        self._created_at = ""
        self._created_s = -1
        self._offset = 0.0
        self._hosts_down: list[str] = []
        self._fresh: list[_Operation] = []  # begun by a tenant at once, still to announce their start
        self._running = [self._begin() for _ in range(_RUNNING)]

    def forever(self) -> Iterator[Made]:
        random_, expovariate = self._random, self._rng.expovariate
        debug = MIX[Priority.DEBUG]
        info = debug + MIX[Priority.INFO]
        warn = info + MIX[Priority.WARN]
        error = warn + MIX[Priority.ERROR]
        # Bursts take part of the time at a higher rate; calm time is slower, so that the mean is ``rate``.
        burst_share = 0.04
        calm_gap = (1 - burst_share + burst_share * _BURST_FACTOR) / self._rate * 1000
        gap, until = calm_gap, 0.0
        in_burst = True
        while True:
            self._offset += expovariate(1.0) * gap
            if self._offset >= until:
                in_burst = not in_burst
                mean_s = _BURST_S if in_burst else _BURST_S * (1 - burst_share) / burst_share
                until = self._offset + expovariate(1.0) * mean_s * 1000
                gap = calm_gap / _BURST_FACTOR if in_burst else calm_gap
            share = random_()
            if share < debug:
                made = self._make_debug()
            elif share < info:
                made = self._make_info()
            elif share < warn:
                made = self._make_plain(Priority.WARN, self._warn)
            elif share < error:
                made = self._make_error()
            else:
                made = self._make_critical()
            if self._bad_share and random_() < self._bad_share:
                made = made._replace(raw=_MALFORMED[int(random_() * len(_MALFORMED))])
            yield made

    def _pick(self, items: Any) -> Any:
        return items[int(self._random() * len(items))]

    def _begin(self, name: str | None = None, tenant: str | None = None) -> _Operation:
        name = name or self._pick(self._operations)
        worker, _, steps = _OPERATIONS[name]
        bits = self._rng.getrandbits(128)
        attributes: dict[str, Any] = {
            "tenant_id": tenant or self._pick(self._tenants),
            "request_id": f"req-{bits >> 64:016x}",
            "instance_id": f"{bits & 0xFFFFFFFFFFFF:012x}",
            "host": self._pick(self._hosts),
            "created_at": self._date(),
        }
        if worker == "compute":
            flavor, vcpus, memory_mb, disk_gb = self._pick(_FLAVORS)
            attributes |= {"flavor": flavor, "vcpus": vcpus, "memory_mb": memory_mb, "disk_gb": disk_gb}
        elif worker == "volume":
            attributes |= {"volume_id": f"vol-{bits >> 96:08x}", "size_gb": 10 << int(self._random() * 6)}
        return _Operation(name, f"{worker}.{attributes['host']}", steps, attributes)

    def _date(self) -> str:
        second = int(self._offset) // 1000
        if second != self._created_s:
            self._created_s = second
            moment = datetime.fromtimestamp((self._start_ms + int(self._offset)) / 1000, UTC)
            self._created_at = moment.strftime("%Y-%m-%dT%H:%M:%SZ")
        return self._created_at

    def _make_info(self) -> Made:
        if self._random() < 0.08:
            name = self._pick(_SINGLE)
            worker = name.partition(".")[0]
            payload = {
                "tenant_id": self._pick(self._tenants),
                "outcome": "success",
                "event_time": self._date(),
            }
            return Made(
                Priority.INFO, f"{worker}.{self._pick(self._hosts)}", name, payload, int(self._offset)
            )
        if self._fresh:
            operation = self._fresh.pop()
            self._running.append(operation)
            place = len(self._running) - 1
        else:
            if self._random() < 0.001:
                tenant = self._pick(self._tenants)
                many = 20 + int(self._random() * 40)
                self._fresh = [self._begin("compute.instance.create", tenant) for _ in range(many)]
            place = int(self._random() * len(self._running))
            operation = self._running[place]
        stage, operation.stage = operation.stage, operation.stage + 1
        payload = operation.attributes.copy()
        if stage == 0:
            name = operation.name + ".start"
            payload["state"] = "pending"
        elif stage <= operation.steps:
            name = operation.name + ".progress"
            payload["progress"] = 100 * stage // (operation.steps + 1)
        else:
            name = operation.name + ".end"
            payload["state"] = "done"
            payload["duration_ms"] = int(self._rng.lognormvariate(8.0, 0.8))
            self._replace(place)
        return Made(Priority.INFO, operation.publisher_id, name, payload, int(self._offset))

    def _replace(self, place: int) -> None:
        """Put a new operation in the place of a finished one, or close the gap a burst left."""
        if len(self._running) > _RUNNING:
            last = self._running.pop()
            if place < len(self._running):
                self._running[place] = last
        else:
            self._running[place] = self._begin()

    def _make_error(self) -> Made:
        place = int(self._random() * len(self._running))
        if self._hosts_down:
            host = self._hosts_down.pop()
            on_host = (
                index
                for index, item in enumerate(self._running)
                if item.attributes["host"] == host and item.stage
            )
            place = next(on_host, place)
        operation = self._running[place]
        payload = operation.attributes | {
            "state": "error",
            "code": 500 + int(self._random() * 5),
            "fault": self._pick(_FAULTS),
        }
        self._replace(place)
        return Made(
            Priority.ERROR, operation.publisher_id, operation.name + ".error", payload, int(self._offset)
        )

    def _make_critical(self) -> Made:
        made = self._make_plain(Priority.CRITICAL, self._critical)
        if made.event_type == "host.down":
            self._hosts_down += [made.payload["host"]] * (2 + int(self._random() * 6))
        return made

    def _make_debug(self) -> Made:
        (name, worker), host = self._pick(self._debug), self._pick(self._hosts)
        operation = self._pick(self._running)
        payload = {
            "request_id": operation.attributes["request_id"],
            "host": host,
            "took_us": int(self._random() * 20_000),
            "detail": operation.name,
        }
        return Made(Priority.DEBUG, f"{worker}.{host}", name, payload, int(self._offset))

    def _make_plain(self, priority: Priority, names: list[tuple[str, str]]) -> Made:
        (name, worker), host = self._pick(names), self._pick(self._hosts)
        payload = {
            "host": host,
            "request_id": self._pick(self._running).attributes["request_id"],
            "value": round(self._random() * 100, 2),
            "threshold": 90,
            "since": self._date(),
        }
        return Made(priority, f"{worker}.{host}", name, payload, int(self._offset))


def _spread(weighted: list[tuple[Any, int]]) -> list[Any]:
    return [item for item, weight in weighted for _ in range(weight)]
