"""The made load is the same for a seed, plausible, and well formed except where asked."""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import islice

import orjson
import pytest

from streams.notifications.decoding import Decoder, Limits
from streams.notifications.encoding import encode
from streams.notifications.notification import Notification, Rejection
from streams.notifications.priority import Priority
from streams.publishing import generator as module
from streams.publishing.generator import MIX, Made, generate

decode = Decoder(Limits()).decode


def value_of(made: Made) -> bytes:
    if made.raw is not None:
        return made.raw
    return encode(made.publisher_id, made.event_type, made.priority, made.payload, made.offset_ms, "id")


def test_same_seed_makes_the_same_load():
    first = list(generate(7, 5000, 1_000, bad_share=0.01))
    assert first == list(generate(7, 5000, 1_000, bad_share=0.01))
    assert first == list(islice(generate(7, None, 1_000, bad_share=0.01), 5000))


def test_other_seed_makes_another_load():
    assert list(generate(7, 100)) != list(generate(8, 100))


@pytest.mark.parametrize("count", [0, 1, 17])
def test_count_is_exact(count: int):
    assert len(list(generate(1, count))) == count


def test_mix_of_priorities_is_as_stated():
    counts = Counter(made.priority for made in generate(3, 50_000))
    assert set(counts) == set(MIX)
    assert sum(MIX.values()) == pytest.approx(1)
    for priority, share in MIX.items():
        # Five standard deviations of a binomial count.
        assert abs(counts[priority] - 50_000 * share) < 5 * (50_000 * share * (1 - share)) ** 0.5


def test_many_event_types_on_many_hosts_and_no_other_than_listed():
    load = list(generate(3, 100_000))
    listed = {f"{name}.{stage}" for name in module._OPERATIONS for stage in ("start", "end", "error")}
    listed |= {f"{name}.progress" for name, (_, _, steps) in module._OPERATIONS.items() if steps}
    listed |= {name for name, _, _ in (*module._DEBUG, *module._WARN, *module._CRITICAL)}
    listed |= set(module._SINGLE)
    assert {made.event_type for made in load} == listed
    assert 40 <= len(listed) <= 80
    assert len({made.publisher_id.partition(".")[2] for made in load}) == 40


def test_priority_of_an_event_type_is_always_the_same():
    seen = defaultdict(set)
    for made in generate(4, 50_000):
        seen[made.event_type].add(made.priority)
    assert all(len(priorities) == 1 for priorities in seen.values())
    assert seen["compute.instance.create.error"] == {Priority.ERROR}
    assert seen["host.down"] == {Priority.CRITICAL}


def test_operations_start_before_they_end_and_do_so_on_one_host():
    started: dict[str, str] = {}
    ended = 0
    for made in generate(5, 30_000):
        name, _, stage = made.event_type.rpartition(".")
        if stage == "start" and made.priority is Priority.INFO:
            assert made.payload["request_id"] not in started
            started[made.payload["request_id"]] = made.publisher_id
        elif stage in ("progress", "end") and "request_id" in made.payload:
            assert started[made.payload["request_id"]] == made.publisher_id, name
            ended += stage == "end"
    assert ended > 1000


def test_offsets_never_fall_and_come_in_bursts_at_the_stated_mean_rate():
    offsets = [made.offset_ms for made in generate(6, 200_000, rate=1000)]
    assert offsets == sorted(offsets)
    assert offsets[-1] == pytest.approx(200_000, rel=0.25)
    a_second = Counter(offset // 1000 for offset in offsets)
    # Without bursts it would be a Poisson count: never past 1,000 + 10 standard deviations.
    assert max(a_second.values()) > 1000 + 10 * 1000**0.5


def test_every_message_reads_without_a_repair():
    for made in generate(9, 5000, 1_700_000_000_000):
        found = decode(value_of(made), made.priority)
        assert isinstance(found, Notification)
        assert (found.repairs, found.event_type, found.publisher_id) == (
            (),
            made.event_type,
            made.publisher_id,
        )


def test_malformed_share_is_rejected_in_several_ways_and_nothing_else_is():
    reasons = Counter()
    for made in generate(9, 20_000, bad_share=0.05):
        found = decode(value_of(made), made.priority)
        assert isinstance(found, Rejection) == (made.raw is not None), made
        if isinstance(found, Rejection):
            reasons[found.reason] += 1
    assert len(reasons) >= 6
    assert reasons.total() == pytest.approx(1000, rel=0.2)


def test_payload_dates_follow_the_start():
    (made,) = [made for made in generate(1, 500, 1_306_000_000_000) if "since" in made.payload][:1]
    assert made.payload["since"].startswith("2011-05-21T")
    assert orjson.loads(orjson.dumps(made.payload)) == made.payload
