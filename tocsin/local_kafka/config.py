"""What a local Kafka is made of: its ports, its remembered cluster, and the files its brokers read."""

from __future__ import annotations

import base64
import json
import random
import socket
import uuid
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from tocsin.local_kafka.jars import LocalKafkaConfigurationError, LocalKafkaError

#: Brokers listen on this address only.
HOST = "127.0.0.1"

# Below the ports that the system gives to outgoing connections: there, a client that keeps trying to
# reach a stopped broker may be given the broker's own port, and then holds it against its restart.
_PORTS = range(15_000, 32_000)
_FILE = "cluster.json"
_OURS = ("lock", f"{_FILE}.new")


@dataclass(frozen=True, slots=True)
class Cluster:
    """A local cluster as remembered in its data folder."""

    cluster_id: str
    ports: tuple[int, ...]
    controller_ports: tuple[int, ...]
    ports_given: bool

    @property
    def brokers(self) -> int:
        """Number of brokers."""
        return len(self.ports)

    @property
    def bootstrap(self) -> str:
        """Bootstrap addresses, host:port separated by commas."""
        return ",".join(f"{HOST}:{port}" for port in self.ports)


def new_cluster(brokers: int) -> Cluster:
    """A cluster that has an identity and no ports yet."""
    cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode("ascii").rstrip("=")
    return Cluster(cluster_id, (0,) * brokers, (0,) * brokers, ports_given=False)


def load_cluster(data_dir: Path) -> Cluster | None:
    """The cluster of a data folder; None when the folder is empty or missing.

    Raises:
        LocalKafkaError: the folder holds something else.
    """
    path = data_dir / _FILE
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return Cluster(
            cluster_id=str(values["cluster_id"]),
            ports=tuple(int(port) for port in values["ports"]),
            controller_ports=tuple(int(port) for port in values["controller_ports"]),
            ports_given=bool(values["ports_given"]),
        )
    except FileNotFoundError:
        if data_dir.is_dir() and any(item.name not in _OURS for item in data_dir.iterdir()):
            raise LocalKafkaConfigurationError(
                f"{data_dir} is not the data folder of a local Kafka (it holds no {_FILE}); "
                "name an empty or new folder."
            ) from None
        return None
    except (ValueError, KeyError, TypeError):
        raise LocalKafkaConfigurationError(
            f"{path} does not describe a local Kafka; delete the folder {data_dir} to start anew."
        ) from None
    except OSError as error:
        raise LocalKafkaError(f"The data folder {data_dir} cannot be read ({error.strerror}).") from None


def save_cluster(data_dir: Path, cluster: Cluster) -> None:
    """Remember ``cluster``; a crash in between leaves the old description or the new one."""
    scratch = data_dir / f"{_FILE}.new"
    scratch.write_text(json.dumps(asdict(cluster), indent=2) + "\n", encoding="utf-8")
    scratch.replace(data_dir / _FILE)


def port_is_free(port: int) -> bool:
    """Whether a broker could listen on ``port`` now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        # As Java does: connections of an earlier broker that fade out are no hindrance.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
            listener.listen(1)
        except OSError:
            return False
    return True


def with_ports(cluster: Cluster, port: int | None, preferred_port: int | None = None) -> Cluster:
    """Give every broker of a stopped cluster its ports.

    Args:
        cluster: the cluster; ports that were chosen for it earlier are kept when they are still free.
        port: the first broker's port, the others follow; None chooses free ones or those given earlier.
        preferred_port: taken for the first broker of a new cluster when ``port`` is None and it is free.

    Raises:
        LocalKafkaError: a given port is in use.
    """
    if port is None and cluster.ports_given:
        port = cluster.ports[0]
    taken: set[int] = set()

    def choose(remembered: int) -> int:
        if remembered and remembered not in taken and port_is_free(remembered):
            taken.add(remembered)
            return remembered
        for candidate in random.sample(_PORTS, 200):
            if candidate not in taken and port_is_free(candidate):
                taken.add(candidate)
                return candidate
        raise LocalKafkaError(f"No free port was found between {_PORTS.start} and {_PORTS.stop}.")

    if port is not None:
        ports = tuple(range(port, port + cluster.brokers))
        for wanted in ports:
            if not port_is_free(wanted):
                raise LocalKafkaError(port_in_use(wanted))
        taken.update(ports)
    else:
        first = cluster.ports[0] or preferred_port or 0
        ports = tuple(choose(remembered) for remembered in (first, *cluster.ports[1:]))
    return replace(
        cluster,
        ports=ports,
        controller_ports=tuple(choose(remembered) for remembered in cluster.controller_ports),
        ports_given=port is not None,
    )


def port_in_use(port: int) -> str:
    """The sentence for a port that another program has."""
    return f"Port {port} is in use by another program; choose another port, or none for a free one."


def write_broker_files(folder: Path, cluster: Cluster, broker: int) -> None:
    """Write ``server.properties`` and ``log4j2.properties`` of one broker (1 is the first)."""
    replicas = min(3, cluster.brokers)
    voters = ",".join(
        f"{number}@{HOST}:{port}" for number, port in enumerate(cluster.controller_ports, start=1)
    )
    client = f"PLAINTEXT://{HOST}:{cluster.ports[broker - 1]}"
    properties = {
        "node.id": broker,
        "process.roles": "broker,controller",
        # Voters by configuration, not by the metadata log: so a port can change at a start.
        "controller.quorum.voters": voters,
        "listeners": f"{client},CONTROLLER://{HOST}:{cluster.controller_ports[broker - 1]}",
        "advertised.listeners": client,
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "PLAINTEXT",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "log.dirs": folder / "data",
        # A mistyped topic is an error, not a new topic.
        "auto.create.topics.enable": "false",
        "default.replication.factor": replicas,
        "offsets.topic.replication.factor": replicas,
        "offsets.topic.num.partitions": 8,
        "transaction.state.log.replication.factor": replicas,
        "transaction.state.log.min.isr": min(2, replicas),
        "transaction.state.log.num.partitions": 4,
        "share.coordinator.state.topic.replication.factor": replicas,
        "share.coordinator.state.topic.min.isr": min(2, replicas),
        "share.coordinator.state.topic.num.partitions": 4,
        # A group starts at once, and a lost worker is noticed soon when its session says so.
        "group.initial.rebalance.delay.ms": 0,
        "group.min.session.timeout.ms": 1000,
        # Kafka's default, said aloud: 1 MiB and the overhead of a batch.
        "message.max.bytes": 1_048_588,
        "socket.request.max.bytes": 32 * 2**20,
        # A broker that was killed may register again only when its old session has ended: 9 s by default.
        "broker.session.timeout.ms": 4000,
        "broker.heartbeat.interval.ms": 500,
        # Sized for a small heap and two cores.
        "num.network.threads": 2,
        "num.io.threads": 4,
        "background.threads": 2,
        "log.cleaner.dedupe.buffer.size": 16 * 2**20,
    }
    _write_properties(folder / "server.properties", properties)
    log = folder / "server.log"
    _write_properties(
        folder / "log4j2.properties",
        {
            "appender.file.type": "RollingFile",
            "appender.file.name": "file",
            "appender.file.fileName": log,
            "appender.file.filePattern": f"{log}.%i",
            "appender.file.layout.type": "PatternLayout",
            "appender.file.layout.pattern": "%d %p %m (%c)%n",
            "appender.file.policies.type": "Policies",
            "appender.file.policies.size.type": "SizeBasedTriggeringPolicy",
            "appender.file.policies.size.size": "10MB",
            "appender.file.strategy.type": "DefaultRolloverStrategy",
            "appender.file.strategy.max": 3,
            "rootLogger.level": "INFO",
            "rootLogger.appenderRef.file.ref": "file",
        },
    )


def _write_properties(path: Path, properties: dict[str, object]) -> None:
    # A backslash escapes in Java's property files.
    lines = [f"{key}={str(value).replace(chr(92), chr(92) * 2)}" for key, value in properties.items()]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
