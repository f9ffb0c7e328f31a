"""The most urgent priority sends by a producer of its own: nothing that others send holds it up."""

from __future__ import annotations

import asyncio

from faust.types import TP

from agents.effects import Effects
from agents.effects_by_priority import EffectsByPriority
from streams.transport.committable import CommittableOffsets
from tests.unit.agents.test_effects import ALERT, ERROR, Producer, packed_alerts, smaller

CRITICAL = TP("notifications.critical", 0)


def made(offsets: CommittableOffsets | None = None) -> tuple[EffectsByPriority, Producer, Producer]:
    offsets = offsets or CommittableOffsets()
    urgent, others = Producer(in_batch=10), Producer(in_batch=10)
    ways = (Effects(producer, offsets) for producer in (urgent, others))  # type: ignore[arg-type]
    return EffectsByPriority(CRITICAL.topic, *ways), urgent, others


def with_one_way() -> tuple[EffectsByPriority, Producer, Producer]:
    """A broken variant: all priorities share one producer, and one bound of what is under way."""
    producer = Producer(in_batch=10)
    shared = Effects(producer, CommittableOffsets())  # type: ignore[arg-type]
    return EffectsByPriority(CRITICAL.topic, shared, shared), producer, producer


async def leaves_in_a_storm(effects: EffectsByPriority) -> bool:
    """Whether an alert of CRITICAL leaves while as much of ERROR waits to be confirmed as may."""
    storm = asyncio.create_task(
        effects.of(ERROR).send_all(ERROR, range(20), packed_alerts([bytes(300_000)] * 20), smaller)
    )
    for _ in range(5):
        await asyncio.sleep(0)
    assert effects.blocked
    left = effects.of(CRITICAL).send_now(CRITICAL, 0, ALERT, smaller)
    storm.cancel()
    return left


async def test_an_alert_of_critical_leaves_in_a_storm_of_error() -> None:
    effects, urgent, _ = made()
    assert await leaves_in_a_storm(effects)
    assert len(urgent.futures) == 1
    assert not await leaves_in_a_storm(with_one_way()[0])


async def test_each_input_topic_has_its_way_whatever_is_sent() -> None:
    effects, urgent, others = made()
    await effects.of(CRITICAL).send(CRITICAL, 0, ALERT, smaller)
    await effects.of(CRITICAL).send_all(CRITICAL, range(1, 3), packed_alerts([b"1", b"2"]), smaller)
    assert (urgent._taken, others._taken, len(others.futures)) == (3, 0, 0)
    await effects.of(ERROR).send(ERROR, 0, ALERT, smaller)
    await effects.of(ERROR).send_all(ERROR, range(1, 3), packed_alerts([b"1", b"2"]), smaller)
    assert effects.of(ERROR).send_now(ERROR, 3, ALERT, smaller)
    assert (urgent._taken, others._taken) == (3, 4)


async def test_both_are_waited_for_and_closed() -> None:
    offsets = CommittableOffsets()
    offsets.counted(CRITICAL, 10)
    offsets.counted(ERROR, 10)
    effects, urgent, others = made(offsets)
    assert effects.unconfirmed_s() == 0
    assert effects.of(CRITICAL).send_now(CRITICAL, 3, ALERT, smaller)
    assert effects.of(ERROR).send_now(ERROR, 4, ALERT, smaller)
    assert effects.unconfirmed_s() > 0
    assert offsets.committable() == {CRITICAL: 3, ERROR: 4}
    assert not await effects.wait(0)
    urgent.futures[0].set_result(None)
    assert not await effects.wait(0)
    assert effects.unconfirmed_s() > 0
    others.futures[0].set_result(None)
    assert await effects.wait(5)
    assert (effects.unconfirmed_s(), effects.blocked) == (0, False)
    assert offsets.committable() == {CRITICAL: 10, ERROR: 10}
    assert effects.of(ERROR).send_now(ERROR, 5, ALERT, smaller)
    effects.close()
    assert await effects.wait(0)
