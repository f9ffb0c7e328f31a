"""Pools of workers: each has priorities and a consumer group of its own; all share every other topic.

Faust wants equal subscriptions within a group, so workers that serve other priorities are another group. The
changelogs are shared, too: a row belongs to a source, wherever that is counted, so a priority may move from
one pool to another and its counts go on. The main pool, whose group is the plain app id, combines the counts;
there is one such group, so one combines.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import (
    GroupAuthorizationFailedError,
    GroupCoordinatorNotAvailableError,
    GroupLoadInProgressError,
    KafkaError,
    NotCoordinatorForGroupError,
)

from streams.broker.admin import admin_client
from streams.cancellation import end
from streams.log_lines import BOUNDED
from streams.notifications.priority import Priority
from streams.retries import Backoff, Retries
from streams.settings import BrokersAwayError, ConfigurationError, Settings
from streams.upstream.group_members import Member, describe_groups
from streams.upstream.topic_ids import is_committed_of

_log = logging.getLogger(__name__)

#: Members say nothing of themselves while their group rebalances, and brokers nothing of groups while they
#: load what they know. Seconds to wait, and between looks.
_PATIENCE_S = 5.0
_POLL_S = 0.2
#: Length of the random part of a member's id: a dash and a UUID.
_SUFFIX = 37
#: Seconds between two looks at the other pools while a worker runs.
_LOOK_INTERVAL_S = 15.0


@dataclass(frozen=True, slots=True)
class Conflict:
    """Why a worker must not run beside another one.

    Attributes:
        sentence: says what to change.
        yields: whether it is this worker that ends, where both run already.
    """

    sentence: str
    yields: bool


def find_conflict(settings: Settings, groups: Mapping[str, Iterable[Member]]) -> Conflict | None:
    """Why a worker with these settings must not run beside the live members of ``groups``. Pure.

    A member of the own group with the own instance id is this worker before its restart.

    Of two that run already the one whose group's name, or else whose list of priorities, comes later in the
    alphabet yields, so never the main pool to another.

    Returns:
        None when it may run.
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
                    return Conflict(
                        f"Workers of the group {group} serve {shown} and this one would serve "
                        f"{_listed(settings.priorities)}: give it a TOCSIN_POOL of its own, or stop them and "
                        f"wait {settings.session_timeout_s:g} s.",
                        yields=sorted(mine) > sorted(served),
                    )
            elif served & mine:
                both = _listed(named[topic] for topic in served & mine)
                return Conflict(
                    f"Workers of the group {group} serve {both}, as this one would in the group "
                    f"{settings.group_id}: take it out of TOCSIN_PRIORITIES of one of the pools, or stop "
                    f"them and wait {settings.session_timeout_s:g} s.",
                    yields=settings.group_id > group,
                )
    return None


def _listed(priorities: Iterable[Priority]) -> str:
    return ",".join(priority.lower() for priority in sorted(priorities, key=lambda each: each.rank))


async def check_pools(admin: AIOKafkaAdminClient, settings: Settings) -> None:
    """Refuse to run beside workers with which this one would share priorities the wrong way.

    Two that start at the same moment may both pass; ``PoolWatch`` finds them later. That does no harm to
    counts, since rows of one source are a function of its offsets whoever writes them; what is forwarded
    twice has one ``ce_id``.

    Raises:
        ConfigurationError: with one sentence that says what to change.
    """
    try:
        groups = await live_groups(admin, settings)
    except GroupAuthorizationFailedError as error:
        _log.warning(
            "The group %s may not be looked at by this user, so it is not known whether its workers serve "
            "the same priorities: grant Describe on it.",
            error,
        )
        return
    except KafkaError as error:
        raise (BrokersAwayError if error.retriable else ConfigurationError)(
            f"The brokers do not say whether other pools of workers serve the same priorities ({error!r}), "
            "which would forward each alert twice: look at the brokers' logs, and start again."
        ) from error
    if (conflict := find_conflict(settings, groups)) is not None:
        raise ConfigurationError(conflict.sentence)
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


async def live_groups(admin: AIOKafkaAdminClient, settings: Settings) -> dict[str, list[Member]]:
    """The live members of all pools that this user may see.

    Raises:
        GroupAuthorizationFailedError: a group may be listed by this user, and not looked at.
        KafkaError: the brokers do not tell.
    """
    retries = Retries(Backoff(_POLL_S), within_s=_PATIENCE_S)
    while True:
        names = await group_names(admin, settings)
        found: dict[str, list[Member]] = await _once_loaded(partial(describe_groups, admin, names))
        silent = [name for name, members in found.items() if any(not member.topics for member in members)]
        if not silent:
            return found
        if not await retries.pause():
            _log.warning("Rebalancing, and so not looked at: the groups %s.", ", ".join(silent))
            return found


class PoolWatch:
    """Looks now and then whether other workers serve the same priorities, while this one runs.

    Args:
        settings: of the worker.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._task: asyncio.Task[None] | None = None

    def start(self, refused: Callable[[ConfigurationError], None]) -> None:
        """Watch in the background; ``refused`` is told when this worker is to end."""
        self._task = asyncio.create_task(self._watch(refused), name="pool-watch")

    async def stop(self) -> None:
        """Watch no longer."""
        await end(self._task)

    async def _watch(self, refused: Callable[[ConfigurationError], None]) -> None:
        while True:
            await asyncio.sleep(_LOOK_INTERVAL_S)
            # Whoever watches the brokers says that they are away.
            with contextlib.suppress(ConfigurationError, KafkaError, TimeoutError):
                async with admin_client(self._settings) as admin:
                    groups = await live_groups(admin, self._settings)
                if self.look(groups, refused):
                    return

    def look(
        self, groups: Mapping[str, Iterable[Member]], refused: Callable[[ConfigurationError], None]
    ) -> bool:
        """Look at the live members of all groups; whether this worker is to end."""
        conflict = find_conflict(self._settings, groups)
        if conflict is None:
            return False
        if conflict.yields:
            refused(ConfigurationError(conflict.sentence))
        else:
            _log.warning("%s", conflict.sentence, extra=BOUNDED)
        return conflict.yields
