"""Which workers may run beside which, and whose changelogs they share."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from aiokafka.errors import GroupAuthorizationFailedError, GroupLoadInProgressError, KafkaConnectionError

from streams.broker import pools
from streams.broker.pools import PoolWatch, find_conflict, group_names
from streams.notifications.priority import Priority
from streams.settings import ConfigurationError, load_settings
from streams.transport.traffic import Traffic
from streams.upstream.group_members import Member
from tocsin.app import make_app

ALL = ("critical", "error", "warn", "info", "debug")


def member(*priorities: str, name: str = "faust-0.11.3") -> Member:
    return Member(
        f"{name}-{uuid4()}", frozenset([*(f"notifications.{p}" for p in priorities), "tocsin-partials"])
    )


def conflict(groups: dict[str, list[Member]], **settings: str) -> str | None:
    found = find_conflict(load_settings(**settings), groups)
    return None if found is None else found.sentence


@pytest.mark.parametrize(
    ("groups", "settings"),
    [
        ({}, {}),
        ({"tocsin": [member(*ALL), member(*ALL)]}, {}),
        ({"tocsin": [member("warn", "info", "debug")]}, {"pool": "urgent", "priorities": "critical,error"}),
        ({"tocsin-pool-urgent": [member("critical", "error")]}, {"priorities": "warn,info,debug"}),
        ({"tocsin": []}, {"pool": "urgent"}),
        # This worker before its restart, whose session has not ended yet.
        ({"tocsin": [member(*ALL, name="pod-0")]}, {"instance_id": "pod-0", "priorities": "warn"}),
        # Somebody else's consumers with such a group's name.
        ({"tocsin-pool-x": [Member("x", frozenset({"elsewhere"}))]}, {}),
    ],
)
def test_disjoint_pools_and_equal_workers_may_run(
    groups: dict[str, list[Member]], settings: dict[str, str]
) -> None:
    assert conflict(groups, **settings) is None


@pytest.mark.parametrize(
    ("groups", "settings", "says"),
    [
        ({"tocsin": [member(*ALL)]}, {"pool": "urgent", "priorities": "critical"}, "serve critical, as"),
        ({"tocsin-pool-urgent": [member("critical", "error")]}, {}, "serve critical,error, as"),
        ({"tocsin": [member(*ALL)]}, {"priorities": "critical"}, "give it a TOCSIN_POOL of its own"),
        (
            {"tocsin": [member(*ALL, name="pod-1")]},
            {"instance_id": "pod", "priorities": "warn"},
            "give it a TOCSIN_POOL",
        ),
    ],
)
def test_others_are_refused_with_one_sentence(
    groups: dict[str, list[Member]], settings: dict[str, str], says: str
) -> None:
    sentence = conflict(groups, **settings)
    assert sentence is not None
    assert says in sentence
    assert sentence.endswith(".")


def test_groups_and_who_combines() -> None:
    main, urgent = load_settings(app_id="shop"), load_settings(app_id="shop", pool="urgent")
    assert (main.group_id, main.combines) == ("shop", True)
    assert (urgent.group_id, urgent.combines) == ("shop-pool-urgent", False)


@pytest.mark.parametrize("name", ["Urgent", "a b", "-a", "a/b", "ü"])
def test_a_pool_has_a_plain_name(name: str) -> None:
    with pytest.raises(ConfigurationError, match="TOCSIN_POOL"):
        load_settings(pool=name)


@pytest.mark.parametrize("pool", ["", "urgent"])
def test_all_pools_share_the_changelogs_and_only_the_main_one_combines(tmp_path: Path, pool: str) -> None:
    """Faust names a changelog by ``_changelog_topic_name``; this fails when it no longer does."""
    app = make_app(load_settings(app_id="shop", pool=pool, data_dir=str(tmp_path)))
    assert app.conf.id == ("shop-pool-urgent" if pool else "shop")
    names = {table.changelog_topic.get_topic_name() for table in app.tables.values()}
    assert names == set(app.tables.changelog_topics)
    assert app.faust_tables.partial_counts.changelog_topic.get_topic_name() == "shop-partial-counts-changelog"
    combined = {"shop-combined-counts-changelog"} if not pool else set()
    assert names == {"shop-partial-counts-changelog"} | combined
    assert ("combine" in {agent.name.rpartition(".")[2] for agent in app.agents.values()}) is not bool(pool)


def test_a_pool_has_the_age_limits_of_its_own_priorities_only() -> None:
    for priorities, limits in (("critical,error", None), ("info,debug", {Priority.DEBUG: 300.0})):
        settings = load_settings(priorities=priorities, age_limits="debug=300,warn=60")
        guard = Traffic(None, settings, None, {}).scheduler.guard  # type: ignore[arg-type]
        assert (guard.limits if guard is not None else None) == limits


class LoadingAdmin:
    """Answers as a broker does that has just become coordinator of some groups: three times with an error."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.asked = 0

    async def list_consumer_groups(self) -> list[tuple[Any, ...]]:
        self.asked += 1
        if self.asked <= 3:
            raise self.error
        return [("tocsin", "consumer"), ("other", "consumer")]


async def test_groups_are_asked_for_again_while_a_broker_loads_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is no wrong configuration: workers that started beside a new coordinator used to end with 78."""
    monkeypatch.setattr("streams.broker.pools._POLL_S", 0.0)
    admin: Any = LoadingAdmin(GroupLoadInProgressError())
    assert await group_names(admin, load_settings()) == ["tocsin"]
    assert admin.asked == 4


async def test_what_waiting_cannot_change_is_raised_at_once() -> None:
    admin: Any = LoadingAdmin(GroupAuthorizationFailedError())
    with pytest.raises(GroupAuthorizationFailedError):
        await group_names(admin, load_settings())
    assert admin.asked == 1


@pytest.mark.parametrize(
    ("error", "outcome"),
    [(GroupAuthorizationFailedError("tocsin-pool-x"), "grants"), (KafkaConnectionError("cut"), "refuses")],
)
async def test_what_is_not_told_of_other_pools_is_no_permission(
    error: Exception, outcome: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def live_groups(*_: Any) -> Any:
        raise error

    monkeypatch.setattr(pools, "live_groups", live_groups)
    admin: Any = None
    if outcome == "grants":
        await pools.check_pools(admin, load_settings())
        assert "The group" in caplog.text
        assert "tocsin-pool-x may not be looked at by this user" in caplog.text
        assert "grant Describe on it" in caplog.text
    else:
        with pytest.raises(ConfigurationError, match="The brokers do not say whether other pools") as caught:
            await pools.check_pools(admin, load_settings())
        assert "grant" not in str(caught.value)


@pytest.mark.parametrize(
    ("mine", "other", "theirs"),
    [
        ({"pool": "urgent", "priorities": "error"}, "tocsin", ALL),
        ({"pool": "b", "priorities": "error"}, "tocsin-pool-a", ("error",)),
        ({"priorities": "warn"}, "tocsin", ("error",)),
    ],
)
def test_of_two_that_run_one_yields_and_the_other_does_not(
    mine: dict[str, str], other: str, theirs: tuple[str, ...]
) -> None:
    settings = load_settings(**mine)
    refused: list[ConfigurationError] = []
    assert PoolWatch(settings).look({other: [member(*theirs)]}, refused.append)
    assert len(refused) == 1
    pool = other.removeprefix("tocsin").removeprefix("-pool-")
    there = load_settings(priorities=",".join(theirs), pool=pool)
    me = member(*(priority.lower() for priority in settings.priorities))
    assert not PoolWatch(there).look({settings.group_id: [me]}, refused.append)
    assert len(refused) == 1
    # The control: beside others there is nothing to refuse.
    assert not PoolWatch(settings).look({other: [member("debug") if settings.pool else me]}, refused.append)
    assert len(refused) == 1
