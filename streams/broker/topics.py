"""Create the topics and check them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaConnectionError, NodeNotReadyError

from streams.broker.admin import COMMAND_ATTEMPT_S, admin_client
from streams.broker.lost_state import find_lost_state
from streams.broker.slices import kept_slices
from streams.broker.topic_plan import TopicSpec, planned_topics
from streams.broker.topic_problems import (
    CHECKED_CONFIG,
    TopicProblem,
    existing_partitions,
    find_few_partitions,
    find_problems,
    find_single_replicas,
    likely_slices,
    listed,
)
from streams.retries import Backoff, Retries
from streams.settings import BrokersAwayError, ConfigurationError, Settings
from streams.upstream.clients import client_of
from streams.upstream.topic_ids import UNKNOWN_TOPIC, TopicDescription, error_name, fetch_topics

_POLL_S = 0.05
_WAIT_S = 30.0
_ATTEMPTS = 4
#: What a broker may answer when another one, or another worker, was faster, or when it is just slow.
_HARMLESS = {"TOPIC_ALREADY_EXISTS", "REQUEST_TIMED_OUT"}


@dataclass(frozen=True, slots=True)
class EnsuredTopics:
    """The topics after the missing ones were created.

    Attributes:
        plan: what is wanted, with the notification topics' largest partition count, and the number of slices.
        found: what is there, by name.
        created: names of the topics that this call created.
        slices: the number of slices; None while nobody has fixed it.
    """

    plan: list[TopicSpec]
    found: dict[str, TopicDescription]
    created: list[str]
    slices: int | None = None


@dataclass(frozen=True, slots=True)
class Examination:
    """What is to be known of the topics.

    Attributes:
        problems: what is wrong; errors come first.
        writes_need: brokers that must be there for everything that a worker writes: the largest
            ``min.insync.replicas``; 1 where that may not be read.
    """

    problems: list[TopicProblem]
    writes_need: int


async def apply_topics(settings: Settings) -> list[str]:
    """Create the missing topics, and wait until each of their partitions has a leader.

    Topics that are there stay as they are. Two workers may do this at once.

    Returns:
        Names of the topics that were created by this call, in the order of the plan.

    Raises:
        ConfigurationError: brokers cannot be used, or do not let the topics be created.
    """
    async with admin_client(settings, attempt_s=COMMAND_ATTEMPT_S) as admin:
        return (await ensure_topics(admin, settings, create=True)).created


async def check_topics(settings: Settings) -> list[TopicProblem]:
    """Compare the topics with the plan; errors come first.

    Raises:
        ConfigurationError: no broker can be used.
    """
    async with admin_client(settings, attempt_s=COMMAND_ATTEMPT_S) as admin:
        plan, found, _ = await _plan(admin, settings)
        lost = await find_lost_state(admin, settings)
        gone = {problem.topic for problem in lost}
        problems = [
            problem
            for problem in (await examine_topics(admin, settings, plan, found)).problems
            if problem.topic not in gone or problem.severity == "warning"
        ]
        brokers = len(client_of(admin).cluster.brokers())
        alone = find_single_replicas(plan, found, brokers)
        few = []
        if "partitions" in settings.model_fields_set:
            names = [settings.notification_topic(each) for each in settings.priorities]
            few = find_few_partitions(names, found, settings.partitions)
        return await _broker_problems(admin) + lost + problems + alone + few


async def ensure_topics(
    admin: AIOKafkaAdminClient, settings: Settings, *, create: bool, wait_s: float = _WAIT_S
) -> EnsuredTopics:
    """Create what is missing, if ``create``, and wait until the topics' partitions have leaders.

    New topics get the largest partition count of the notification topics that are there, and those that hold
    counts one partition for each slice.

    Args:
        admin: started client.
        settings: what is wanted.
        create: whether missing topics are created.
        wait_s: how long to wait for leaders.

    Raises:
        ConfigurationError: the brokers do not let the topics be created, no leader came in time, or counts
            are lost that a new and empty topic would hide.
    """
    plan, found, slices = await _plan(admin, settings)
    if lost := await find_lost_state(admin, settings):
        raise ConfigurationError(listed(lost))
    created: list[str] = []
    missing = [spec for spec in plan if found[spec.name].error == UNKNOWN_TOPIC]
    refused: set[str] = set()
    if missing and create:
        created, refused = await _create(admin, missing)
    there = [spec.name for spec in plan if found[spec.name].error is None and not spec.optional]
    if create:
        there += [spec.name for spec in missing if spec.name not in refused]
    found |= await _wait_for_leaders(admin, there, wait_s)
    return EnsuredTopics(plan, found, created, slices)


async def _plan(
    admin: AIOKafkaAdminClient, settings: Settings
) -> tuple[list[TopicSpec], dict[str, TopicDescription], int | None]:
    """What is wanted, as topics that are there decide it; these topics; the number of slices, if fixed."""
    plan = planned_topics(settings)
    found = await fetch_topics(admin, [spec.name for spec in plan])
    # Partitions can be added and never taken away, so the largest count is the one to reach.
    partitions = max(existing_partitions(plan, found).values(), default=None)
    slices = await kept_slices(admin, settings, found)
    return planned_topics(settings, partitions, slices or likely_slices(plan, found)), found, slices


async def examine_topics(
    admin: AIOKafkaAdminClient,
    settings: Settings,
    plan: list[TopicSpec],
    found: Mapping[str, TopicDescription],
) -> Examination:
    """Look at the topics that were found, their configuration included."""
    present = [name for name, topic in found.items() if topic.error is None]
    configs = await _fetch_configs(admin, present)
    needed = [
        int(configs.get(spec.name, {}).get("min.insync.replicas", 1))
        for spec in plan
        if spec.writes and not spec.optional
    ]
    return Examination(
        find_problems(plan, found, configs, create_topics=settings.create_topics), max(needed, default=1)
    )


async def _create(admin: AIOKafkaAdminClient, specs: list[TopicSpec]) -> tuple[list[str], set[str]]:
    """Create these; returns those that were created, and optional ones that the brokers refuse to create."""
    response = await admin.create_topics(
        [
            NewTopic(spec.name, spec.partitions, spec.replication_factor, topic_configs=spec.config)
            for spec in specs
        ]
    )
    outcome = {name: (error_name(code), *rest) for name, code, *rest in response.topic_errors}
    optional = {spec.name for spec in specs if spec.optional}
    refused: set[str] = set()
    for name, (error, *message) in outcome.items():
        if error is None or error in _HARMLESS:
            continue
        if name in optional:
            refused.add(name)
            continue
        if error.endswith("AUTHORIZATION_FAILED"):
            raise ConfigurationError(
                f"This user may not create the topic {name}: grant Create on it, or run "
                "`tocsin topics apply` as a user that may and set TOCSIN_CREATE_TOPICS=false."
            )
        advice = (
            "set TOCSIN_REPLICATION_FACTOR to at most the number of brokers"
            if error == "INVALID_REPLICATION_FACTOR"
            else "change the settings it names, or create the topic yourself"
        )
        said = (message and message[0]) or error
        raise ConfigurationError(f"Kafka does not create the topic {name} ({said.rstrip('.')}): {advice}.")
    return [spec.name for spec in specs if outcome[spec.name][0] is None], refused


async def _wait_for_leaders(
    admin: AIOKafkaAdminClient, names: list[str], wait_s: float
) -> dict[str, TopicDescription]:
    retries = Retries(Backoff(_POLL_S), within_s=wait_s)
    while True:
        found = await fetch_topics(admin, names)
        waiting = [
            name
            for name, topic in found.items()
            # A broker that has not heard of a new topic yet says that it is unknown.
            if topic.leaderless or topic.error in {UNKNOWN_TOPIC, "LEADER_NOT_AVAILABLE"}
        ]
        if not waiting:
            return found
        if not await retries.pause():
            raise BrokersAwayError(
                f"Partitions of {', '.join(waiting[:3])} have had no leader for {wait_s:.0f} s: "
                "start the brokers that hold them."
            )


async def _fetch_configs(admin: AIOKafkaAdminClient, names: Iterable[str]) -> dict[str, dict[str, str]]:
    """The checked settings of those topics whose settings this user may see."""
    resources = [
        ConfigResource(ConfigResourceType.TOPIC, name, dict.fromkeys(CHECKED_CONFIG)) for name in names
    ]
    if not resources:
        return {}
    configs = {}
    for response in await _describe_configs(admin, resources):
        for code, _, _, name, entries in response.resources:
            if code == 0:
                configs[name] = {key: value for key, value, *_ in entries if value is not None}
    return configs


async def _describe_configs(admin: AIOKafkaAdminClient, resources: list[ConfigResource]) -> list[Any]:
    # The client asks a broker at random; one that is away must not fail the whole.
    for _ in range(_ATTEMPTS - 1):
        try:
            return list(await admin.describe_configs(resources))
        except (NodeNotReadyError, KafkaConnectionError):
            continue
    return list(await admin.describe_configs(resources))


async def _broker_problems(admin: AIOKafkaAdminClient) -> list[TopicProblem]:
    """Brokers of the cluster that cannot be reached from here: their partitions could not be read."""
    client = client_of(admin)
    brokers = sorted(client.cluster.brokers(), key=lambda broker: broker.nodeId)
    ready = await asyncio.gather(*(client.ready(broker.nodeId) for broker in brokers))
    return [
        TopicProblem(
            "error",
            f"Broker {broker.nodeId}",
            f"cannot be reached at {broker.host}:{broker.port}: start it, or change its advertised.listeners",
        )
        for broker, usable in zip(brokers, ready, strict=True)
        if not usable
    ]
