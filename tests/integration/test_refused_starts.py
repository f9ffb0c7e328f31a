"""A worker that must not start ends with 78 and one sentence; once what is wrong is put right, it starts."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
from aiokafka.admin import NewTopic
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    ResourcePatternType,
    ResourceType,
)
from faust.types import TP

from streams.broker.self_check import self_check
from streams.broker.topic_plan import planned_topics
from streams.broker.topics import check_topics
from streams.dead_letters.latest import LatestDeadLetters
from streams.dead_letters.letters import dead_letter
from streams.dead_letters.reading import LettersUnavailableError, Wanted
from streams.notifications import Priority, Reason, Rejection
from streams.records import UnreadableRecord
from streams.settings import EXIT_CONFIG, ConfigurationError, Settings
from streams.upstream.topic_ids import UNKNOWN_TOPIC, fetch_topics
from tests.admin import admin_of, apply_topics, create_topics, raise_partitions
from tests.configured_kafka import AUTHORIZER, configured_kafka
from tests.integration.acls import add_rules, deny, remove_rules, rule
from tests.integration.reading import all_committed, counts_at_rest, difference, public_counts
from tests.integration.worker_process import BOUND_S, PARTITIONS, Deployment, Worker, eventually
from tests.integration.writing import Published, made_load, writer
from tests.long_form import in_the_long_form
from tocsin.local_kafka.cluster import LocalKafka

pytestmark = pytest.mark.kafka

_LOST = "is {} while the group"


async def delete(settings: Settings, topic: str) -> None:
    """Delete a topic, and wait until it is gone."""
    async with admin_of(settings.brokers) as admin:
        await admin.delete_topics([topic])

        async def gone() -> bool:
            return (await fetch_topics(admin, [topic]))[topic].error == UNKNOWN_TOPIC

        await eventually(f"{topic} is gone", gone)


async def create(settings: Settings, topic: str, partitions: int) -> None:
    """Create a topic as it is planned, but for its number of partitions."""
    (config,) = (spec.config for spec in planned_topics(settings) if spec.name == topic)
    await create_topics(settings.brokers, NewTopic(topic, partitions, 1, topic_configs=config))


async def refused(worker: Worker, *words: str) -> None:
    """It ends with 78 and one line that has these words."""
    worker.start()
    assert await worker.ended() == EXIT_CONFIG
    said = [line for line in worker.log().splitlines() if line.startswith("tocsin: ")]
    assert len(said) == 1, worker.log()
    assert [word for word in words if word not in said[0]] == []
    assert "Traceback" not in worker.log()


async def counted(deployment: Deployment) -> Published:
    """What a worker has counted and committed before it was stopped."""
    settings = deployment.settings
    worker = await deployment.worker("first").start().ready()
    async with writer(settings) as out, public_counts(settings) as counts:
        await out.made(made_load(seed=5, count=1000))
        await counts.reach(out.published.counts)
        await eventually("the ends are committed", lambda: all_committed(settings))
    await worker.stop()
    return out.published


async def works(deployment: Deployment, worker: Worker) -> None:
    """It starts and counts."""
    settings = deployment.settings
    await worker.start().ready()
    async with writer(settings) as out, public_counts(settings) as counts:
        await out.made(made_load(seed=6, count=200))
        await counts.reach(out.published.counts)
    await worker.stop()


# --- Counts that are gone ------------------------------------------------------------------------


async def test_a_lost_changelog_is_not_created_anew(deployment: Deployment) -> None:
    """Else the worker would go on from the committed offsets, and count from zero."""
    settings = deployment.settings
    published = await counted(deployment)
    changelog = settings.internal_topic("partial-counts-changelog")
    await delete(settings, changelog)
    # Neither with its folder, whose rows the changelog would no longer have, nor without.
    for name in ("first", "fresh"):
        await refused(deployment.worker(name), changelog, _LOST.format("missing"), "TOCSIN_APP_ID")
    with pytest.raises(ConfigurationError, match="TOCSIN_APP_ID"):
        await apply_topics(settings)
    async with admin_of(settings.brokers) as admin:
        assert (await fetch_topics(admin, [changelog]))[changelog].error == UNKNOWN_TOPIC

    # The one who follows the sentence gets all that is still there counted, once.
    deployment.configure(app_id=f"{deployment.unique}-2", event_counts_topic=f"{deployment.unique}.counts2")
    again = await deployment.worker("again").start().ready()
    async with public_counts(deployment.settings) as counts:
        await counts.reach(published.counts)
    await again.stop()
    at_rest = await counts_at_rest(deployment.settings)
    assert at_rest.now() == published.counts, difference(at_rest.now(), published.counts)


async def test_every_topic_with_counts_is_missed_and_so_is_what_it_held(deployment: Deployment) -> None:
    settings = deployment.settings
    await counted(deployment)
    assert await check_topics(settings) == []
    held = [settings.internal_topic(n) for n in ("partial-counts-changelog", "combined-counts-changelog")]
    held += [settings.event_counts_topic, settings.internal_topic("partials")]

    async def said() -> dict[str, str]:
        return {each.topic: each.sentence for each in await check_topics(settings)}

    for topic in held:
        await delete(settings, topic)
        assert _LOST.format("missing") in (await said())[topic]
        # Somebody who thinks that an empty one will do is told otherwise.
        await create(settings, topic, PARTITIONS)
        if topic != held[-1]:
            assert _LOST.format("empty") in (await said())[topic]
    await refused(deployment.worker("first"), "TOCSIN_APP_ID")


async def test_missing_topics_are_created_where_nothing_was_committed(deployment: Deployment) -> None:
    """The control: the same topic missing, before anything was counted."""
    settings = deployment.settings
    await apply_topics(settings)
    await delete(settings, settings.internal_topic("partial-counts-changelog"))
    await works(deployment, deployment.worker())


# --- Partitions that do not fit ------------------------------------------------------------------


async def test_a_changelog_with_fewer_partitions_than_slices_is_refused(deployment: Deployment) -> None:
    settings = deployment.settings
    changelog = settings.internal_topic("partial-counts-changelog")
    assert (await self_check(settings, timeout_s=BOUND_S)).slices == PARTITIONS
    await delete(settings, changelog)
    await create(settings, changelog, PARTITIONS - 1)
    worker = deployment.worker()
    await refused(
        worker,
        f"{changelog} has {PARTITIONS - 1} partitions and counts are kept in {PARTITIONS} slices",
        f"--partitions {PARTITIONS}",
    )
    async with admin_of(settings.brokers) as admin:
        await raise_partitions(admin, [changelog], PARTITIONS)
    await works(deployment, worker)


async def test_notification_topics_with_unequal_partitions_are_no_reason(deployment: Deployment) -> None:
    settings = deployment.settings
    await apply_topics(settings)
    odd = settings.notification_topic(Priority.WARN)
    await delete(settings, odd)
    await create(settings, odd, PARTITIONS + 1)
    await works(deployment, deployment.worker())


# --- Topics that may not be used -----------------------------------------------------------------


@pytest.fixture(scope="module")
def guarded_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalKafka]:
    """A broker that asks who may do what."""
    with configured_kafka(tmp_path_factory.mktemp("guarded") / "data", lambda _: AUTHORIZER) as kafka:
        yield kafka


@pytest.fixture
def guarded(guarded_kafka: LocalKafka, unique: str, tmp_path: Path) -> Iterator[Deployment]:
    made = Deployment(guarded_kafka.bootstrap, unique, tmp_path)
    yield made
    for worker in made.workers:
        worker.cleanup()
        print(f"---------------- end of the log of {worker.name}\n{worker.tail()}")


async def told(settings: Settings, topic: str, *, usable: bool) -> None:
    """Wait until the broker acts by its rules: it learns of them a moment after they are made."""
    async with admin_of(settings.brokers) as admin:

        async def acts() -> bool:
            found = (await fetch_topics(admin, [topic]))[topic]
            return (found.error is None and found.may_read and found.may_write) == usable

        await eventually(f"the rules of {topic} hold", acts)


# They share a broker of their own, which takes longer to start than they do.
@pytest.mark.xdist_group("guarded")
@pytest.mark.parametrize(
    ("kind", "operation", "words"),
    [
        ("changelog", AclOperation.WRITE, "may not be written by this user: grant Write on it"),
        ("notifications", AclOperation.ALL, "may not be seen by this user: grant Read on it"),
        *in_the_long_form(
            ("changelog", AclOperation.READ, "may not be read by this user: grant Read on it"),
            ("changelog", AclOperation.ALL, "may not be seen by this user: grant Read and Write on it"),
            ("notifications", AclOperation.READ, "may not be read by this user: grant Read on it"),
        ),
    ],
)
async def test_topics_that_may_not_be_used_are_refused(
    guarded: Deployment, kind: str, operation: AclOperation, words: str
) -> None:
    settings = guarded.settings
    await apply_topics(settings)
    topic = (
        settings.internal_topic("partial-counts-changelog")
        if kind == "changelog"
        else settings.notification_topic(Priority.INFO)
    )
    await deny(settings.brokers, topic, operation)
    await told(settings, topic, usable=False)
    worker = guarded.worker()
    await refused(worker, f"{topic} {words}")
    await allowed_again(settings, topic)
    await works(guarded, worker)


async def allowed_again(settings: Settings, topic: str) -> None:
    """Remove all rules of a topic."""
    await remove_rules(settings.brokers, topic)
    await told(settings, topic, usable=True)


# --- tocsin web, which reads one topic and needs no other right ---------------------------------------


@pytest.mark.xdist_group("guarded")
async def test_tocsin_web_needs_no_right_but_to_read_the_counts(guarded: Deployment) -> None:
    settings = guarded.settings
    worker = await guarded.worker().start().ready()
    async with writer(settings) as out, public_counts(settings) as counts:
        await out.made(made_load(seed=1, count=50))
        await counts.reach(out.published.counts)
    await worker.stop()
    topic = settings.event_counts_topic
    others = [spec.name for spec in planned_topics(settings, PARTITIONS, PARTITIONS) if spec.name != topic]
    group = AclBinding(
        ResourceType.GROUP,
        "*",
        ResourcePatternType.LITERAL,
        "User:ANONYMOUS",
        "*",
        AclOperation.ALL,
        AclPermissionType.DENY,
    )
    rules = [rule(other, AclOperation.ALL, AclPermissionType.DENY) for other in others]
    # With a rule on a topic, whatever no rule allows is denied.
    rules += [group, rule(topic, AclOperation.READ, AclPermissionType.ALLOW)]
    try:
        await add_rules(settings.brokers, *rules)
        await told(settings, topic, usable=False)
        web = await guarded.worker("web", command=["tocsin", "web"]).start().ready()
        answer = orjson.loads(web.get("/api/v1/counts?window=total&limit=1000")[1])
        found = {(item["priority"], item["event_type"]): item["count"] for item in answer["items"]}
        assert found == out.published.counts
        await web.stop()
        await add_rules(settings.brokers, rule(topic, AclOperation.READ, AclPermissionType.DENY))
        web = guarded.worker("web", command=["tocsin", "web"]).start()
        assert await web.ended() == EXIT_CONFIG
        assert f"The topic {topic} may not be read by this user: grant Read on it." in web.log()
    finally:
        await remove_rules(settings.brokers)


@pytest.mark.xdist_group("guarded")
async def test_alerts_that_may_not_be_read_are_missing_in_feeds_alone(guarded: Deployment) -> None:
    settings = guarded.settings
    await apply_topics(settings)
    topic = settings.alert_topic(Priority.CRITICAL)
    await deny(settings.brokers, topic, AclOperation.READ)
    await told(settings, topic, usable=False)
    worker = await guarded.worker().start().ready()
    words = f"This worker may not read {topic}: grant Read on it."

    async def feed_is(status: int, part: str) -> bool:
        found, body = await asyncio.to_thread(worker.get, "/feeds/alerts.atom")
        return found == status and part in body.decode()

    await eventually("the feed says what is missing", lambda: feed_is(503, words))
    await worker.ready()
    await allowed_again(settings, topic)
    await eventually("the feed is there", lambda: feed_is(200, "</feed>"))
    await worker.stop()


@pytest.mark.xdist_group("guarded")
@pytest.mark.parametrize(
    ("topic_of", "operation", "words"),
    [
        ("dead letters", AclOperation.READ, "may not be read by this user: grant Read on it"),
        ("dead letters", AclOperation.WRITE, "is noted there: grant Write on it"),
        ("notifications", AclOperation.WRITE, "may not be written by this user: grant Write on it"),
    ],
)
async def test_dead_letters_say_which_right_is_missing(
    guarded: Deployment, topic_of: str, operation: AclOperation, words: str
) -> None:
    settings = guarded.settings
    await apply_topics(settings)
    source_topic = settings.notification_topic(Priority.INFO)
    bad = UnreadableRecord(source_topic, 0, 7, "", found=b"bad")
    letter = dead_letter(
        settings.dead_letter_topic, TP(source_topic, 0), bad, "source", Rejection(Reason.NOT_JSON, "why")
    )
    async with writer(settings) as out:
        await out.raw(letter.topic, letter.value, letter.headers or ())
    topic = settings.dead_letter_topic if topic_of == "dead letters" else source_topic
    await deny(settings.brokers, topic, operation)
    await told(settings, topic, usable=False)
    source = LatestDeadLetters(settings)
    if operation == AclOperation.READ:
        with pytest.raises(LettersUnavailableError, match=words):
            await source.look()
    else:
        assert len((await source.look()).letters) == 1
    if topic_of == "dead letters":
        with pytest.raises(LettersUnavailableError, match=words):
            await source.replay(Wanted())
    else:
        replayed = await source.replay(Wanted())
        assert (replayed.done, replayed.failed) == (0, 1)
        assert words in replayed.sentences[0]
    await allowed_again(settings, topic)
    replayed = await source.replay(Wanted())
    assert (replayed.done, replayed.failed, replayed.left_out) == (1, 0, 0)
    await source.stop()
