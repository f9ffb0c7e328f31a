"""Every way to say who one is, against a real Kafka that asks: worker, commands, publishing driver."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaConnectionError
from confluent_kafka.admin import (
    AdminClient,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from streams.broker.admin import admin_client
from streams.broker.client_options import client_options
from streams.publishing.driver import Outgoing
from streams.publishing.drivers.kafka import KafkaDriver
from streams.settings import EXIT_CONFIG, ConfigurationError, load_settings
from streams.upstream.clients import answering, client_of
from streams.upstream.topic_ids import fetch_topics
from tests.admin import apply_topics
from tests.configured_kafka import configured_kafka
from tests.integration.reading import public_counts
from tests.integration.worker_process import BOUND_S, Deployment, eventually
from tests.integration.writing import made_load, writer
from tests.long_form import in_the_long_form
from tests.paths import ROOT
from tests.ports import free_ports
from tests.token_endpoint import CLIENT_ID, CLIENT_SECRET, TokenEndpoint, token_endpoint, unsecured_token
from tocsin.local_kafka.cluster import LocalKafka
from tocsin.local_kafka.config import HOST, Cluster

#: In one process: each one with tests of these would start a broker of its own.
pytestmark = [pytest.mark.kafka, pytest.mark.xdist_group("sasl")]

USER, PASSWORD, KEY_PASSWORD = "tocsin", "pass, w=rd!", "key-s3cret"
_MODULES = "org.apache.kafka.common.security"
#: Milliseconds after which a broker closes a connection that a token opened: aiokafka makes it anew.
_SESSION_MS = 4000


@dataclass(frozen=True)
class Guarded:
    """A broker with a listener for each protocol, and the files of a client of it."""

    kafka: LocalKafka
    ports: dict[str, int]
    folder: Path

    def address(self, protocol: str) -> str:
        return f"{HOST}:{self.ports[protocol]}"


def write_files(folder: Path) -> None:
    """Certificates and keys of the broker and of a client, whose key is encrypted."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    trustme.CA().cert_pem.write_to_path(str(folder / "stranger.pem"))
    for name, host, encryption in (
        ("broker", HOST, NoEncryption()),
        ("client", "client.example", BestAvailableEncryption(KEY_PASSWORD.encode())),
    ):
        issued = authority.issue_cert(host)
        key = load_pem_private_key(issued.private_key_pem.bytes(), None)
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
        chain = b"".join(blob.bytes() for blob in issued.cert_chain_pems)
        (folder / f"{name}.key").write_bytes(pem)
        (folder / f"{name}.crt").write_bytes(chain)
        (folder / f"{name}.pem").write_bytes(pem + chain)


def properties(cluster: Cluster, ports: dict[str, int], folder: Path) -> dict[str, object]:
    """What a broker's file has beside, or in place of, what a local Kafka writes."""
    clients = [("PLAINTEXT", cluster.ports[0])]
    clients += [(name.replace("_", ""), port) for name, port in ports.items()]
    shown = ",".join(f"{name}://{HOST}:{port}" for name, port in clients)
    found: dict[str, object] = {
        "listeners": f"{shown},CONTROLLER://{HOST}:{cluster.controller_ports[0]}",
        "advertised.listeners": shown,
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,"
        + ",".join(f"{name.replace('_', '')}:{name}" for name in ports),
        "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER",
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": folder / "broker.pem",
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": folder / "ca.pem",
        "listener.name.ssl.ssl.client.auth": "required",
    }
    for name in ("saslplaintext", "saslssl"):
        prefix = f"listener.name.{name}"
        found |= {
            f"{prefix}.plain.sasl.jaas.config": (
                f'{_MODULES}.plain.PlainLoginModule required user_{USER}="{PASSWORD}";'
            ),
            f"{prefix}.oauthbearer.sasl.jaas.config": (
                f"{_MODULES}.oauthbearer.OAuthBearerLoginModule required "
                'unsecuredLoginStringClaim_sub="broker";'
            ),
            f"{prefix}.oauthbearer.connections.max.reauth.ms": _SESSION_MS,
        }
        for mechanism in ("scram-sha-256", "scram-sha-512"):
            found[f"{prefix}.{mechanism}.sasl.jaas.config"] = f"{_MODULES}.scram.ScramLoginModule required;"
    return found


@pytest.fixture(scope="module")
def guarded_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """A broker that asks who is there."""
    folder = tmp_path_factory.mktemp("sasl")
    write_files(folder)
    ports = dict(zip(("SASL_PLAINTEXT", "SSL", "SASL_SSL"), free_ports(3), strict=True))
    with configured_kafka(folder / "data", lambda cluster: properties(cluster, ports, folder)) as local:
        admin = AdminClient({"bootstrap.servers": local.bootstrap})
        for mechanism in (ScramMechanism.SCRAM_SHA_256, ScramMechanism.SCRAM_SHA_512):
            information = ScramCredentialInfo(mechanism, 4096)
            change = UserScramCredentialUpsertion(USER, information, PASSWORD.encode())
            for done in admin.alter_user_scram_credentials([change]).values():
                done.result(BOUND_S)
        yield Guarded(local, ports, folder)


@pytest.fixture
def deployment(guarded_kafka: Guarded, unique: str, tmp_path: Path) -> Iterator[Deployment]:
    """Topics of this test's own; the test itself goes in by the listener that asks nobody."""
    made = Deployment(guarded_kafka.kafka.bootstrap, unique, tmp_path)
    yield made
    for worker in made.workers:
        worker.cleanup()
        print(f"---------------- end of the log of {worker.name}\n{worker.tail()}")


@pytest.fixture
async def endpoint() -> AsyncIterator[TokenEndpoint]:
    async with token_endpoint() as running:
        yield running


def secured(
    guarded: Guarded, endpoint: TokenEndpoint, protocol: str, mechanism: str, folder: Path
) -> dict[str, str]:
    """The settings of a client that may come in."""
    values = {"brokers": guarded.address(protocol), "security_protocol": protocol}
    if protocol.endswith("SSL"):
        values["ssl_ca_file"] = str(guarded.folder / "ca.pem")
    if protocol == "SSL":
        return values | {
            "ssl_cert_file": str(guarded.folder / "client.crt"),
            "ssl_key_file": str(guarded.folder / "client.key"),
            "ssl_key_password": KEY_PASSWORD,
        }
    if mechanism == "token file":
        path = folder / "token"
        path.write_text(unsecured_token() + "\n")
        return values | {"sasl_mechanism": "OAUTHBEARER", "sasl_oauth_token_file": str(path)}
    if mechanism == "token endpoint":
        return values | {
            "sasl_mechanism": "OAUTHBEARER",
            "sasl_oauth_token_url": endpoint.url,
            "sasl_oauth_client_id": CLIENT_ID,
            "sasl_oauth_client_secret": CLIENT_SECRET,
            "sasl_oauth_scope": "kafka",
        }
    return values | {"sasl_mechanism": mechanism, "sasl_username": USER, "sasl_password": PASSWORD}


WAYS = [
    ("SASL_SSL", "SCRAM-SHA-512"),
    ("SASL_PLAINTEXT", "token endpoint"),
    ("SSL", "encrypted key"),
]
FURTHER_WAYS = [
    ("SASL_PLAINTEXT", "PLAIN"),
    ("SASL_PLAINTEXT", "SCRAM-SHA-256"),
    ("SASL_SSL", "token file"),
]
#: The beginning of each token is that of its header; three letters of it are found by chance in a long log.
SECRETS = (PASSWORD, CLIENT_SECRET, KEY_PASSWORD, unsecured_token().split(".")[0], "hunter2")
#: What SCRAM's answers begin with, and any other bytes of a SASL exchange.
_EXCHANGED = "sasl_auth_bytes=b'"


@pytest.mark.parametrize(("protocol", "mechanism"), [*WAYS, *in_the_long_form(*FURTHER_WAYS)])
async def test_a_worker_works_with_every_mechanism(
    guarded_kafka: Guarded,
    deployment: Deployment,
    endpoint: TokenEndpoint,
    tmp_path: Path,
    protocol: str,
    mechanism: str,
) -> None:
    values = secured(guarded_kafka, endpoint, protocol, mechanism, tmp_path)
    worker = await deployment.worker(**values | {"log_level": "DEBUG"}).start().ready()
    async with writer(deployment.settings) as out, public_counts(deployment.settings) as counts:
        await out.made(made_load(seed=6, count=200))
        await counts.reach(out.published.counts)
    await worker.stop()
    log = worker.log()
    assert [secret for secret in (*SECRETS, _EXCHANGED) if secret in log] == []
    assert " DEBUG " in log


async def test_a_worker_outlives_its_tokens_and_its_connections(
    guarded_kafka: Guarded, deployment: Deployment, endpoint: TokenEndpoint, tmp_path: Path
) -> None:
    """Brokers close a connection when the session of its token ends; nothing is lost or counted twice."""
    # A worker that starts with a token that has ended is refused: the first ones hold for a slow start.
    endpoint.life_s = 20.0
    values = secured(guarded_kafka, endpoint, "SASL_PLAINTEXT", "token endpoint", tmp_path)
    worker = await deployment.worker(**values).start().ready()
    endpoint.life_s = 5.0
    async with writer(deployment.settings) as out, public_counts(deployment.settings) as counts:
        asked = len(endpoint.forms)
        for seed in range(4):
            await out.made(made_load(seed=seed, count=100))
            await counts.reach(out.published.counts)
            after = asked + seed + 1
            await eventually("it asks for the next token", lambda after=after: len(endpoint.forms) >= after)
        await out.made(made_load(seed=9, count=100))
        await counts.reach(out.published.counts)
    assert worker.runs
    await worker.stop()


async def test_the_token_file_is_read_again_by_a_worker(
    guarded_kafka: Guarded, deployment: Deployment, endpoint: TokenEndpoint, tmp_path: Path
) -> None:
    """The first token is good for minutes; who comes back with it would be refused."""
    values = secured(guarded_kafka, endpoint, "SASL_PLAINTEXT", "token file", tmp_path)
    path = Path(values["sasl_oauth_token_file"])
    path.write_text(unsecured_token(life_s=300))
    until = time.monotonic() + _SESSION_MS / 1000
    worker = await deployment.worker(**values).start().ready()
    path.write_text(unsecured_token("somebody-else"))
    await eventually("the first session has ended", lambda: time.monotonic() > until)
    async with writer(deployment.settings) as out, public_counts(deployment.settings) as counts:
        await out.made(made_load(seed=1, count=100))
        await counts.reach(out.published.counts)
    await worker.stop()


# --- Commands ----------------------------------------------------------------------------------


async def tocsin(deployment: Deployment, values: dict[str, str], *arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a command."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tocsin",
        *arguments,
        cwd=ROOT,
        env=deployment.environment(**values),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(BOUND_S):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


#: Each command that talks to the brokers; what must lie there is published before.
COMMANDS = {
    "topics apply": ["topics", "apply"],
    "topics check": ["topics", "check"],
    "publish": ["publish", "--generate", "--count", "10"],
    "tail": ["tail", "notifications", "--from-beginning", "--count", "5"],
    "dead-letters list": ["dead-letters", "list"],
    "dead-letters show": ["dead-letters", "show", "0/0"],
    "dead-letters replay": ["dead-letters", "replay", "--all"],
    # They wait for a worker that connects anew again and again.
    "verify": ["verify", "--wait", "120"],
    "probe": ["probe", "--seconds", "1", "--wait", "120"],
}


@pytest.mark.parametrize(("protocol", "mechanism"), [WAYS[0], *in_the_long_form(*WAYS[1:])])
async def test_every_command_comes_in(
    guarded_kafka: Guarded,
    deployment: Deployment,
    endpoint: TokenEndpoint,
    tmp_path: Path,
    protocol: str,
    mechanism: str,
) -> None:
    values = secured(guarded_kafka, endpoint, protocol, mechanism, tmp_path)
    await apply_topics(deployment.settings)
    worker = await deployment.worker(**values).start().ready()
    assert (await tocsin(deployment, values, *COMMANDS["publish"]))[0] == 0
    for name, arguments in COMMANDS.items():
        code, out, err = await tocsin(deployment, values, *arguments)
        # There is no dead letter to show.
        assert code == (1 if name == "dead-letters show" else 0), (name, out, err)
        assert [secret for secret in SECRETS if secret in out + err] == []
    await worker.stop()


async def test_requests_outlive_the_session_of_their_connection(
    guarded_kafka: Guarded, deployment: Deployment, endpoint: TokenEndpoint, tmp_path: Path
) -> None:
    """A broker closes a connection on the first request after its token's time; a slow command makes one."""
    settings = load_settings(**secured(guarded_kafka, endpoint, "SASL_PLAINTEXT", "token endpoint", tmp_path))
    await apply_topics(deployment.settings)
    topics = [deployment.settings.dead_letter_topic]

    async def ended() -> None:
        until = time.monotonic() + _SESSION_MS / 1000
        await eventually("the sessions have ended", lambda: time.monotonic() > until)

    async with admin_client(settings) as admin:
        stock = AIOKafkaAdminClient(**client_options(settings))
        await stock.start()
        try:
            for each in (stock, admin):
                await each.describe_topics(topics)
            await ended()
            # Negative control: aiokafka's own.
            with pytest.raises(KafkaConnectionError):
                await stock.describe_topics(topics)
        finally:
            await stock.close()
        assert [each["error_code"] for each in await admin.describe_topics(topics)] == [0]
        await ended()
        assert (await fetch_topics(admin, topics))[topics[0]].error is None
        await ended()
        assert await answering(client_of(admin)) == 1


def wrong(guarded: Guarded, endpoint: TokenEndpoint, folder: Path, fault: str) -> tuple[dict[str, str], str]:
    """The settings of a client that may not come in, and the words of the sentence."""
    password = secured(guarded, endpoint, "SASL_PLAINTEXT", "PLAIN", folder) | {"sasl_password": "hunter2"}
    expired = secured(guarded, endpoint, "SASL_SSL", "token file", folder)
    token = secured(guarded, endpoint, "SASL_PLAINTEXT", "token endpoint", folder)
    key = secured(guarded, endpoint, "SSL", "", folder)
    if fault == "expired token":
        Path(expired["sasl_oauth_token_file"]).write_text(unsecured_token(life_s=-7200))
    return {
        "PLAIN": (password, "refuses the user name or password): set TOCSIN_SASL_USERNAME"),
        "SCRAM": (password | {"sasl_mechanism": "SCRAM-SHA-512"}, "refuses the user name or password"),
        "expired token": (expired, "refuses the bearer token): look at the broker's log"),
        "client secret": (
            token | {"sasl_oauth_client_secret": "hunter2"},
            "refuses this client (invalid_client)): set TOCSIN_SASL_OAUTH_CLIENT_ID",
        ),
        "scope": (token | {"sasl_oauth_scope": "hunter2"}, "(invalid_scope)): set TOCSIN_SASL_OAUTH_SCOPE"),
        "no token file": (
            expired | {"sasl_oauth_token_file": str(folder / "nowhere")},
            "TOCSIN_SASL_OAUTH_TOKEN_FILE: cannot read",
        ),
        "key password": (key | {"ssl_key_password": "hunter2"}, "is not the password of the key"),
        "stranger's CA": (
            key | {"ssl_ca_file": str(guarded.folder / "stranger.pem")},
            "set TOCSIN_SSL_CA_FILE",
        ),
    }[fault]


@pytest.mark.parametrize(
    "fault",
    [
        "SCRAM",
        "expired token",
        "no token file",
        "stranger's CA",
        *in_the_long_form("PLAIN", "client secret", "scope", "key password"),
    ],
)
async def test_a_worker_that_may_not_come_in_ends_with_one_sentence(
    guarded_kafka: Guarded, deployment: Deployment, endpoint: TokenEndpoint, tmp_path: Path, fault: str
) -> None:
    values, words = wrong(guarded_kafka, endpoint, tmp_path, fault)
    worker = deployment.worker(**values | {"log_level": "DEBUG"}).start()
    assert await worker.ended() == EXIT_CONFIG
    said = [line for line in worker.log().splitlines() if line.startswith("tocsin: ")]
    assert len(said) == 1, worker.log()
    assert words in said[0]
    assert "Traceback" not in worker.log()
    assert [secret for secret in SECRETS if secret in worker.log()] == []


@pytest.mark.parametrize("fault", ["SCRAM", *in_the_long_form("expired token", "client secret")])
async def test_commands_that_may_not_come_in_end_with_one_sentence(
    guarded_kafka: Guarded, deployment: Deployment, endpoint: TokenEndpoint, tmp_path: Path, fault: str
) -> None:
    values, words = wrong(guarded_kafka, endpoint, tmp_path, fault)
    # Not all at once: each gives a broker some seconds.
    few = asyncio.Semaphore(3)

    async def answer(*arguments: str) -> tuple[int, str, str]:
        async with few:
            return await tocsin(deployment, values, *arguments)

    answers = await asyncio.gather(*(answer(*each) for each in COMMANDS.values()))
    for name, (code, out, err) in zip(COMMANDS, answers, strict=True):
        assert (code, out) == (EXIT_CONFIG, ""), (name, err)
        assert err.count("\n") == 1, (name, err)
        assert err.startswith("tocsin: "), name
        assert words in err, name
        assert [secret for secret in SECRETS if secret in err] == [], name


# --- The driver --------------------------------------------------------------------------------


@pytest.mark.parametrize(("protocol", "mechanism"), [*WAYS, *FURTHER_WAYS])
async def test_the_publishing_driver_comes_in(
    guarded_kafka: Guarded,
    deployment: Deployment,
    endpoint: TokenEndpoint,
    tmp_path: Path,
    protocol: str,
    mechanism: str,
) -> None:
    await apply_topics(deployment.settings)
    settings = load_settings(**secured(guarded_kafka, endpoint, protocol, mechanism, tmp_path))
    driver = KafkaDriver(settings=settings)
    try:
        assert driver.push(Outgoing(deployment.settings.dead_letter_topic, b"{}"))
        assert await asyncio.to_thread(driver.flush, BOUND_S)
        assert driver.stats.delivered == 1
    finally:
        await asyncio.to_thread(driver.close)


async def test_an_endpoint_that_is_away_for_a_moment_is_waited_for(
    guarded_kafka: Guarded, endpoint: TokenEndpoint, tmp_path: Path
) -> None:
    settings = load_settings(**secured(guarded_kafka, endpoint, "SASL_PLAINTEXT", "token endpoint", tmp_path))
    endpoint.status = 503
    with pytest.raises(ConfigurationError, match=r"HTTP 503\)\): look at TOCSIN_SASL_OAUTH_TOKEN_URL"):
        async with admin_client(settings, timeout_s=BOUND_S, attempt_s=BOUND_S):
            pass

    async def comes_in() -> None:
        async with admin_client(settings, patience_s=BOUND_S):
            pass

    asked = len(endpoint.forms)
    coming = asyncio.create_task(comes_in())
    await eventually("it has asked twice", lambda: len(endpoint.forms) >= asked + 2)
    endpoint.status = 200
    await coming
