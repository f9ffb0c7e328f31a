"""What a worker checks before it starts, so that none says ready and does nothing."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, TypeVar

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from streams.broker.admin import admin_client
from streams.broker.pools import check_pools
from streams.broker.slices import keep_slices
from streams.broker.topic_plan import planned_topics, slices_topic
from streams.broker.topic_problems import likely_slices, listed
from streams.broker.topics import EnsuredTopics, ensure_topics, examine_topics
from streams.cancellation import end
from streams.log_lines import BOUNDED
from streams.quantities import quantity
from streams.retries import Backoff, Retries
from streams.settings import BrokersAwayError, ConfigurationError, Settings

_log = logging.getLogger(__name__)
_Found = TypeVar("_Found")

#: Seconds for which a worker at a terminal waits for brokers, unless told: who started it sits before it.
TERMINAL_PATIENCE_S: Final = 7.0
#: The same for any other worker.
UNATTENDED_PATIENCE_S: Final = 600.0
#: Between two checks, when brokers were away.
_BETWEEN_CHECKS: Final = Backoff(0.5, factor=1.5, most_s=5.0)
#: Seconds of waiting after which it is said again.
_SAY_AGAIN_S: Final = (10.0, 30.0, 60.0)
#: Seconds within which a check ends that is no longer wanted.
_LOOK_S: Final = 0.1


def patience_with_brokers_s(settings: Settings, *, terminal: bool) -> float:
    """Seconds for which a worker that starts waits for brokers.

    Args:
        settings: of the worker.
        terminal: whether its standard error is a terminal.
    """
    if settings.wait_for_brokers_s is not None:
        return settings.wait_for_brokers_s
    return TERMINAL_PATIENCE_S if terminal else UNATTENDED_PATIENCE_S


@dataclass(frozen=True, slots=True)
class CheckedCluster:
    """What the self-check found.

    Attributes:
        partitions: the largest number of partitions that a notification topic has.
        slices: into how many the event types are cut; the topics that hold counts have a partition for each.
        topic_ids: id of each planned topic, 22 characters of base64url, by name.
        partition_counts: number of partitions of each planned topic, by name.
        writes_need: brokers that must be there for everything that a worker writes.
    """

    partitions: int
    slices: int
    topic_ids: Mapping[str, str]
    partition_counts: Mapping[str, int]
    writes_need: int = 1


async def check_once_there(
    settings: Settings, within_s: float, wanted: Callable[[], bool]
) -> CheckedCluster | None:
    """Do the self-check, as `wait_for_brokers` does."""
    return await wait_for_brokers(lambda: self_check(settings, patience_s=0.0), within_s, wanted)


async def wait_for_brokers(
    look: Callable[[], Coroutine[Any, Any, _Found]], within_s: float, wanted: Callable[[], bool]
) -> _Found | None:
    """Look for something on the brokers, again and again while they are away.

    Args:
        look: what is done; raises BrokersAwayError for as long as it is to be done again.
        within_s: how long to wait for brokers.
        wanted: whether to go on.

    Returns:
        None when it was no longer wanted.

    Raises:
        BrokersAwayError: they were away for ``within_s``.
        ConfigurationError: something else is wrong, with one sentence that says what to change.
    """
    loop = asyncio.get_running_loop()
    began = loop.time()
    say_at = 0.0
    retries = Retries(_BETWEEN_CHECKS, within_s=within_s, wanted=wanted)
    while True:
        check = asyncio.create_task(look())
        try:
            while not check.done():
                if not wanted():
                    return None
                await asyncio.wait([check], timeout=_LOOK_S)
            return check.result()
        except BrokersAwayError as error:
            waited = loop.time() - began
            if error.unclear and waited >= TERMINAL_PATIENCE_S:
                raise
            if waited >= say_at:
                say_at = next((each for each in _SAY_AGAIN_S if each > waited), waited + _SAY_AGAIN_S[-1])
                _log.warning(
                    "Waiting for Kafka, for %.0f of %.0f s (TOCSIN_WAIT_FOR_BROKERS_S). %s",
                    waited,
                    within_s,
                    error,
                    extra=BOUNDED,
                )
            if not await retries.pause():
                if not wanted():
                    return None
                raise
        finally:
            await end(check)


async def self_check(
    settings: Settings, timeout_s: float = 15.0, patience_s: float | None = None
) -> CheckedCluster:
    """Check that brokers are reachable and the topics there, fit and allowed to be used.

    Missing topics are created when ``settings.create_topics``. Brokers that do not answer yet are tried
    again for a while; warnings are logged.

    Args:
        settings: of the worker.
        timeout_s: limit of the whole check.
        patience_s: how long brokers that do not answer yet are tried again; half of the limit when None.

    Raises:
        BrokersAwayError: no broker can be used at present.
        ConfigurationError: with one sentence that says what to change.
    """
    try:
        async with asyncio.timeout(timeout_s):
            return await _checked(settings, timeout_s, timeout_s / 2 if patience_s is None else patience_s)
    except TimeoutError:
        raise BrokersAwayError(
            f"Kafka at {settings.brokers} did not answer within {timeout_s:g} s: "
            "look at the brokers, or set TOCSIN_BROKERS."
        ) from None


async def _checked(settings: Settings, timeout_s: float, patience_s: float) -> CheckedCluster:
    loop = asyncio.get_running_loop()
    until = loop.time() + timeout_s * 0.9  # the reason comes before the limit of the whole
    async with admin_client(settings, timeout_s=timeout_s / 3, patience_s=patience_s) as admin:
        with contextlib.suppress(KafkaError):
            # On a new cluster the first question makes Kafka create its topic of offsets, which takes a
            # second; asked now, the worker does not have to wait for it, and to report an error, later.
            await admin.find_coordinator(settings.group_id)
        ensured = await ensure_topics(
            admin, settings, create=settings.create_topics, wait_s=max(0.0, until - loop.time())
        )
        partitions = ensured.plan[0].partitions
        slices = ensured.slices or await _fixed_slices(admin, settings, ensured)
        plan = planned_topics(settings, partitions, slices)
        examined = await examine_topics(admin, settings, plan, ensured.found)
        await check_pools(admin, settings)
    errors = [problem for problem in examined.problems if problem.severity == "error"]
    if errors:
        raise ConfigurationError(listed(errors))
    for problem in examined.problems:
        _log.warning("The topic %s.", problem)
    if ensured.created:
        _log.info("Created the topics %s.", ", ".join(ensured.created))
    if partitions != settings.partitions:
        _log.info(
            "The notification topics have %s, so TOCSIN_PARTITIONS=%d is not used.",
            quantity(partitions, "partition"),
            settings.partitions,
        )
    return CheckedCluster(
        partitions=partitions,
        slices=slices,
        topic_ids=MappingProxyType({name: topic.topic_id for name, topic in ensured.found.items()}),
        partition_counts=MappingProxyType({name: topic.partitions for name, topic in ensured.found.items()}),
        writes_need=examined.writes_need,
    )


async def _fixed_slices(admin: AIOKafkaAdminClient, settings: Settings, ensured: EnsuredTopics) -> int:
    """Fix the number of slices, unless some topic is missing for it: then the check fails anyway."""
    likely = likely_slices(ensured.plan, ensured.found) or ensured.plan[0].partitions
    topic = ensured.found[slices_topic(settings)]
    if topic.error is not None or topic.leaderless or not (topic.may_read and topic.may_write):
        return likely
    return await keep_slices(admin, settings, likely)
