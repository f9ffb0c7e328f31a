"""What is made of a topic that is gone, is another one, or may not be used; and when it is said."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import replace

import pytest

from streams.broker.topic_plan import TopicSpec
from streams.broker.topic_watch import Findings, TopicLostError, TopicStates, TopicWatch, partitions_in
from streams.upstream.topic_ids import NOT_AUTHORISED, UNKNOWN_TOPIC, TopicDescription

SOURCE, PARTIALS, ALERTS = "notifications.critical", "tocsin-partials", "alerts.critical"
PLAN = [
    TopicSpec(SOURCE, 4, 1, {}, "", reads=True, notifications=True),
    TopicSpec(PARTIALS, 4, 1, {}, "", reads=True, writes=True, state=True),
    TopicSpec(ALERTS, 4, 1, {}, "", writes=True),
]
IDS = {SOURCE: "old-source", PARTIALS: "old-partials", ALERTS: "old-alerts"}
THERE = {name: TopicDescription(name, topic_id, 4, 1) for name, topic_id in IDS.items()}


def found(name: str = SOURCE, **changes: object) -> dict[str, TopicDescription]:
    """All as it was at start, but for one topic."""
    return THERE | {name: replace(THERE[name], **changes)}  # type: ignore[arg-type]


def gone(name: str = SOURCE, error: str = UNKNOWN_TOPIC) -> dict[str, TopicDescription]:
    return found(name, topic_id="", partitions=0, error=error)


def states() -> TopicStates:
    return TopicStates(PLAN, IDS)


def looks(
    *seen: Mapping[str, TopicDescription],
    working: Mapping[str, str] | None = IDS,
    unassigned: Collection[str] = (),
) -> Findings:
    """What the last of several looks has shown."""
    made, findings = states(), Findings()
    for each in seen:
        findings = made.looked(each, working, unassigned)
    return findings


def test_topics_that_are_as_they_were_are_left_alone() -> None:
    assert states().names() == [SOURCE, PARTIALS, ALERTS]
    assert looks(THERE, THERE, THERE) == Findings()


def test_a_topic_with_another_id_is_taken_up_anew_once_it_was_seen_twice() -> None:
    """Brokers learn of a topic one after the other: what one says once may be older than what is known."""
    new = found(topic_id="new")
    assert looks(new) == Findings()
    assert looks(new, THERE, new) == Findings()
    assert looks(new, new) == Findings(reopen=[SOURCE])
    assert looks(new, new, working=IDS | {SOURCE: "new"}) == Findings()
    # While partitions are being assigned there is nothing to let go.
    assert looks(new, new, working=None) == Findings()


@pytest.mark.parametrize("name", [SOURCE, PARTIALS])
def test_a_topic_of_which_a_partition_is_nobodys_is_taken_up_anew(name: str) -> None:
    assert looks(THERE, unassigned=[name]) == Findings()
    assert looks(THERE, THERE, unassigned=[name]) == Findings(reopen=[name])
    assert looks(THERE, THERE, unassigned=[name], working=None) == Findings()


@pytest.mark.parametrize("name", [SOURCE, PARTIALS, ALERTS])
def test_more_partitions_are_no_trouble(name: str) -> None:
    """They are nobody's until the group has a new assignment: that is what `unassigned` says."""
    more = found(name, partitions=8)
    assert looks(more, more) == Findings()


def test_how_many_partitions_there_are_is_told_by_what_can_be_seen() -> None:
    assert partitions_in(found(partitions=8)) == {SOURCE: 8, PARTIALS: 4, ALERTS: 4}
    assert partitions_in(gone()) == {PARTIALS: 4, ALERTS: 4}


def test_a_topic_that_is_gone_is_said_and_let_go_and_taken_up_when_it_is_back() -> None:
    sentence = f"The topic {SOURCE} is gone: make it again with `tocsin topics apply`."
    without = {name: topic_id for name, topic_id in IDS.items() if name != SOURCE}
    assert looks(gone()) == Findings()
    assert looks(gone(), gone()) == Findings({SOURCE: sentence}, [SOURCE])
    assert looks(gone(), gone(), working=without) == Findings({SOURCE: sentence})
    back = found(topic_id="new")
    assert looks(gone(), gone(), back, working=without) == Findings()
    assert looks(gone(), gone(), back, back, working=without) == Findings(reopen=[SOURCE])


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        (gone(error=NOT_AUTHORISED), f"The topic {SOURCE} may not be seen by this user: grant Read on it."),
        (found(may_read=False), f"The topic {SOURCE} may not be read by this user: grant Read on it."),
        (
            found(ALERTS, may_write=False),
            f"The topic {ALERTS} may not be written by this user: grant Write on it.",
        ),
    ],
)
def test_each_trouble_is_one_sentence(seen: dict[str, TopicDescription], words: str) -> None:
    assert list(looks(seen, seen).troubles.values()) == [words]


def test_rights_on_one_way_are_enough_where_the_other_is_not_used() -> None:
    assert looks(*2 * [found(may_write=False)]) == Findings()
    assert looks(*2 * [found(ALERTS, may_read=False)]) == Findings()


def test_a_topic_without_a_leader_is_a_matter_of_brokers() -> None:
    seen = gone(error="LEADER_NOT_AVAILABLE")
    assert looks(seen, seen, seen) == Findings()


def test_a_topic_that_held_counts_and_is_another_one_is_lost() -> None:
    new = found(PARTIALS, topic_id="new")
    assert looks(new) == Findings()
    assert looks(new, new) == Findings(lost=[PARTIALS])
    # The control: what only is written may be made anew.
    alerts = found(ALERTS, topic_id="new")
    assert looks(alerts, alerts) == Findings()


class FakeWorker:
    def __init__(self) -> None:
        self.taken_up: list[bool] = []
        self.failed: list[BaseException] = []

    def working_ids(self) -> Mapping[str, str] | None:
        return IDS

    def unassigned(self) -> list[str]:
        return []

    async def take_up(self, *, anew: bool) -> None:
        self.taken_up.append(anew)

    def fail(self, error: BaseException) -> None:
        self.failed.append(error)


async def test_the_watch_says_what_is_wrong_at_intervals_and_when_it_is_over(
    caplog: pytest.LogCaptureFixture,
) -> None:
    now = [100.0]
    watch, worker = TopicWatch({}, lambda: now[0]), FakeWorker()
    caplog.set_level(logging.WARNING)
    trouble = Findings({SOURCE: "The topic is gone."})
    for now[0] in (100.0, 102.0, 130.0, 161.0):
        await watch._act(trouble, worker)
    assert watch.troubles == trouble.troubles
    assert caplog.messages == ["The topic is gone."] * 2
    await watch._act(Findings(), worker)
    assert watch.troubles == {}
    assert caplog.messages[2:] == [f"The topic {SOURCE} can be used again."]
    assert (worker.taken_up, worker.failed) == ([], [])


async def test_the_watch_takes_up_again_after_a_while_and_not_at_each_look() -> None:
    now = [100.0]
    watch, worker = TopicWatch({}, lambda: now[0]), FakeWorker()
    for now[0] in (100.0, 102.0, 109.0, 110.0, 112.0):
        await watch._act(Findings(reopen=[SOURCE]), worker)
    assert worker.taken_up == [True, True]


async def test_a_lost_topic_ends_the_worker_with_a_sentence() -> None:
    watch, worker = TopicWatch({}), FakeWorker()
    await watch._act(Findings(lost=[PARTIALS, "event-counts"]), worker)
    (error,) = worker.failed
    assert isinstance(error, TopicLostError)
    assert str(error) == (
        f"The topics {PARTIALS}, event-counts were deleted and made again while this worker ran, and what "
        "was counted there is lost: stop all workers and give them a new TOCSIN_APP_ID and a new "
        "TOCSIN_EVENT_COUNTS_TOPIC, which counts again what retention still holds."
    )


def test_a_topic_that_workers_can_do_without_is_not_looked_at() -> None:
    beside = TopicSpec("tocsin-status", 1, 1, {}, "", reads=True, writes=True, optional=True)
    assert TopicStates([*PLAN, beside], IDS).names() == [SOURCE, PARTIALS, ALERTS]
