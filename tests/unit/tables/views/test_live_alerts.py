"""How long what was found of the alerts serves, and what other pages ask for."""

from __future__ import annotations

from streams.notifications.priority import Priority
from streams.settings import load_settings
from tables.views.live_alerts import LiveAlerts
from tables.views.reader_lane import ReaderLane
from tables.views.sources import Sources
from tests.unit.tables.views.alerts_kit import alert_record, forward
from tests.unit.tables.views.views_kit import NOW_S, FakeSources


class _Live:
    """Live alerts on a clock of the test's."""

    def __init__(self) -> None:
        self.fake = FakeSources()
        fake = self.fake
        sources = Sources(
            load_settings(), fake, fake, fake, fake, fake.stalls, fake.alerts, fake, fake.letters
        )
        self.now_s = 100.0
        self.alerts = LiveAlerts(sources, ReaderLane(), lambda: self.now_s)


async def test_without_other_alerts_a_result_serves_a_second() -> None:
    live = _Live()
    first = await live.alerts.snapshot()
    live.now_s += 0.9
    assert await live.alerts.snapshot() is first
    live.now_s += 0.2
    assert await live.alerts.snapshot() is not first


async def test_with_other_alerts_it_serves_a_quarter_of_a_second() -> None:
    live = _Live()
    first = await live.alerts.snapshot()
    forward(live.fake, alert_record(1))
    live.now_s += 0.2
    assert await live.alerts.snapshot() is first
    live.now_s += 0.1
    second = await live.alerts.snapshot()
    assert [each.offset for each in second.alerts] == [1]


async def test_with_another_state_it_serves_no_longer_either() -> None:
    live = _Live()
    first = live.alerts.moment()
    live.fake.alerts.missing = [("alerts.error", 1)]
    live.now_s += 0.3
    assert live.alerts.moment() is not first
    assert (await live.alerts.snapshot()).missing == [("alerts.error", 1)]


async def test_the_latest_of_some_priorities_come_newest_first() -> None:
    live = _Live()
    forward(live.fake, *(alert_record(number, time_s=NOW_S - 100 + number) for number in range(10)))
    forward(live.fake, alert_record(3, priority=Priority.CRITICAL, time_s=NOW_S - 95))
    assert [(each.priority.value, each.offset) for each in await live.alerts.latest(6)] == [
        ("ERROR", 9),
        ("ERROR", 8),
        ("ERROR", 7),
        ("ERROR", 6),
        ("ERROR", 5),
        ("CRITICAL", 3),
    ]
    assert [each.offset for each in await live.alerts.latest(6, [Priority.CRITICAL])] == [3]
