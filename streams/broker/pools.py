"""Pools of workers: each has priorities and a consumer group of its own; all share every other topic.

Faust wants equal subscriptions within a group, so workers that serve other priorities are another group. The
changelogs are shared, too: a row belongs to a source, wherever that is counted, so a priority may move from
one pool to another and its counts go on. The main pool, whose group is the plain app id, combines the counts;
there is one such group, so one combines.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import (
    GroupCoordinatorNotAvailableError,
    GroupLoadInProgressError,
    KafkaError,
    NotCoordinatorForGroupError,
)

from streams.broker.admin import admin_client
from streams.notifications.priority import Priority
from streams.retries import Backoff, Retries
from streams.settings import ConfigurationError, Settings
from streams.upstream.group_members import subscribed_topics
from streams.upstream.topic_ids import is_committed_of

_log = logging.getLogger(__name__)

#: Members say nothing of themselves while their group rebalances, and brokers nothing of groups while they
#: load what they know. Seconds to wait, and between looks.
_PATIENCE_S = 5.0
_POLL_S = 0.2
#: Length of the random part of a member's id: a dash and a UUID.
_SUFFIX = 37


@dataclass(frozen=True, slots=True)
class Member:
    """A live member of a consumer group: its id, and the topics that it subscribed to."""

    id: str
    topics: frozenset[str]


def find_conflict(settings: Settings, groups: Mapping[str, Iterable[Member]]) -> str | None:
    """Why a worker with these settings must not run beside the live members of ``groups``. Pure.

    A member of the own group with the own instance id is this worker before its restart.

    Returns:
        One sentence that says what to change; None when it may run.
    """
    named = {settings.notification_topic(priority): priority for priority in Priority}
    mine = {settings.notification_topic(priority) for priority in settings.priorities}
    for group, members in groups.items():
        for member in members:
            served = member.topics & named.keys()
            if not served:
                continue
            shown = _listed(named[topic] for topic in served)
            if group == settings.group_id:
                if settings.instance_id is not None and member.id[:-_SUFFIX] == settings.instance_id:
                    continue
                if served != mine:
                    return (
                        f"Workers of the group {group} serve {shown} and this one would serve "
                        f"{_listed(settings.priorities)}: give it a TOCSIN_POOL of its own, or stop them and "
                        f"wait {settings.session_timeout_s:g} s."
                    )
            elif served & mine:
                both = _listed(named[topic] for topic in served & mine)
                return (
                    f"Workers of the group {group} serve {both}, as this one would in the group "
                    f"{settings.group_id}: take it out of TOCSIN_PRIORITIES of one of the pools, or stop "
                    f"them and wait {settings.session_timeout_s:g} s."
                )
    return None


def _listed(priorities: Iterable[Priority]) -> str:
    return ",".join(priority.lower() for priority in sorted(priorities, key=lambda each: each.rank))


async def check_pools(admin: AIOKafkaAdminClient, settings: Settings) -> None:
    """Refuse to run beside workers with which this one would share priorities the wrong way.

    Two that start at the same moment may both pass. That does no harm to counts, since rows of one source are
    a function of its offsets whoever writes them; what is forwarded twice has one ``ce_id``.

    Raises:
        ConfigurationError: with one sentence that says what to change.
    """
    try:
        groups = await _live_groups(admin, settings)
    except KafkaError as error:
        _log.warning("Could not look for other pools of workers (%s): grant Describe on their groups.", error)
        return
    if (conflict := find_conflict(settings, groups)) is not None:
        raise ConfigurationError(conflict)
    if not settings.combines and not groups.get(settings.app_id):
        _log.warning(
            "The main pool, the group %s, has no worker: counts are kept, and show once it has one.",
            settings.app_id,
        )


async def inherited_offsets(settings: Settings, topic_ids: Mapping[str, str]) -> dict[TopicPartition, int]:
    """What other pools have committed of topics with these ids, so that this one may go on from there.

    To be asked before tables are recovered: what a commit covers is durable in changelogs that all pools
    share, and so is part of what is recovered later. Asked afterwards, a pool that still works could have
    committed more than was recovered, and those counts would be missing here.

    Returns:
        The furthest offset by partition; nothing where no other pool has one, or where the brokers do not
        tell, in which case records are read again, and change no count.
    """
    found: dict[TopicPartition, int] = {}
    try:
        async with admin_client(settings) as admin:
            for group in await group_names(admin, settings):
                if group == settings.group_id:
                    continue
                for place, committed in (await group_offsets(admin, group)).items():
                    topic_id = topic_ids.get(place.topic)
                    if topic_id is None or committed.offset <= 0:
                        continue
                    if is_committed_of(committed.metadata, topic_id):
                        found[place] = max(found.get(place, 0), committed.offset)
    except (ConfigurationError, KafkaError) as error:
        _log.warning("Could not look for what other pools have committed: %s", error)
    return found


async def group_names(admin: AIOKafkaAdminClient, settings: Settings) -> list[str]:
    """The consumer groups of all pools that there are or were, as far as this user may see them."""
    listed = await _once_loaded(admin.list_consumer_groups)
    return sorted(
        name for name, *_ in listed if name == settings.app_id or name.startswith(settings.pool_group_prefix)
    )


async def group_offsets(admin: AIOKafkaAdminClient, group: str) -> Mapping[TopicPartition, Any]:
    """What ``group`` has committed, with ``offset`` in each value."""
    offsets: Mapping[TopicPartition, Any] = await _once_loaded(
        lambda: admin.list_consumer_group_offsets(group)
    )
    return offsets


async def _once_loaded(ask: Callable[[], Awaitable[Any]]) -> Any:
    """Ask again while a broker that has just become coordinator is still loading what it knows of groups."""
    retries = Retries(Backoff(_POLL_S), within_s=_PATIENCE_S)
    while True:
        try:
            return await ask()
        except (GroupLoadInProgressError, GroupCoordinatorNotAvailableError, NotCoordinatorForGroupError):
            if not await retries.pause():
                raise


async def _live_groups(admin: AIOKafkaAdminClient, settings: Settings) -> dict[str, list[Member]]:
    retries = Retries(Backoff(_POLL_S), within_s=_PATIENCE_S)
    while True:
        names = await group_names(admin, settings)
        found: dict[str, list[Member]] = {}
        silent = []
        for response in await admin.describe_consumer_groups(names) if names else []:
            for _, name, _, _, _, members, *_ in response.groups:
                found[name] = [_member(member) for member in members]
                if any(not member.topics for member in found[name]):
                    silent.append(name)
        if not silent:
            return found
        if not await retries.pause():
            _log.warning("Rebalancing, and so not looked at: the groups %s.", ", ".join(silent))
            return found


def _member(described: tuple[Any, ...]) -> Member:
    metadata = described[-2]
    if not metadata:
        return Member(described[0], frozenset())
    return Member(described[0], subscribed_topics(metadata))
