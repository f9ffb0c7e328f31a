"""Invariants of the scheduler: bounded memory, work conserving, partition order, also through rebalances.

Every invariant comes with its negative control: variants that break it, which the same check must reject.
"""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.scheduling.buffers import ClassBuffer
from streams.scheduling.scheduler import ClassSpec, Scheduler
from tests.property.scheduling_broken import (
    Idler,
    Overtaker,
    Rememberer,
    Repeater,
    RoundRobin,
    Shuffler,
    Skipper,
)
from tests.property.scheduling_simulator import (
    CLASSES,
    COSTS,
    EVEN,
    MODERATE,
    SEEDS,
    Arrival,
    Simulation,
    backlog,
    random_cost,
    real_scheduler,
    simulate,
)

MODES = st.sampled_from(["weighted", "strict-with-floor", "strict"])
#: Few partitions of few classes, so that a chunk often meets a busy one, or one with records left.
PARTITIONS = st.tuples(st.sampled_from(["critical", "debug"]), st.integers(0, 2))
ARRIVALS = st.lists(
    st.builds(
        lambda time, partition, count: Arrival(time, *partition, count),
        st.floats(0, 1),
        PARTITIONS,
        st.integers(1, 8) | st.integers(1, 200),
    ),
    min_size=1,
    max_size=80,
)


def broken_rules(trace, kind):
    return [violation for violation in trace.violations if violation.startswith(kind)]


# --- work conserving, partition order ------------------------------------------------------------


@MODERATE
@given(ARRIVALS, COSTS, SEEDS, st.integers(1, 4), MODES)
def test_work_conserving_and_partition_order(arrivals, costs, seed, slots, mode):
    """No free slot while a record can be served; every record once, in order; in the end nothing is left."""
    scheduler = real_scheduler(slots=slots, mode=mode)
    trace = simulate(scheduler, arrivals, random_cost(seed, costs), slots, dispatches=100_000)
    assert trace.violations == []
    served = Counter()
    for one in trace.served:
        served[one.priority_class, one.partition] += len(one.offsets)
    arrived = Counter()
    for one in arrivals:
        arrived[one.priority_class, one.partition] += one.count
    assert served == arrived
    assert len(scheduler) == scheduler.in_flight == 0


@MODERATE
@given(st.data(), ARRIVALS, COSTS, SEEDS, st.integers(1, 4), MODES)
def test_rebalances_keep_order_and_work(data, arrivals, costs, seed, slots, mode):
    """Partitions are revoked and assigned in mid-stream, batches in service or not; late fetches come, too.

    A new assignment starts after the last record that was done, as a commit would have it.
    """
    times = st.floats(0, 1.2)
    changes = data.draw(
        st.lists(st.tuples(times, PARTITIONS, st.sampled_from(["revoke", "assign"])), max_size=40)
    )
    actions = [
        (
            time,
            lambda simulation, change=change, partition=partition: getattr(simulation, change)(*partition),
        )
        for time, partition, change in changes
    ]
    scheduler = real_scheduler(slots=slots, mode=mode)
    trace = simulate(
        scheduler, arrivals, random_cost(seed, costs), slots, dispatches=100_000, actions=actions
    )
    assert trace.violations == []
    assert len(scheduler) == scheduler.in_flight == 0


def chunks(slots=1):
    """Two partitions of every class, in many small chunks."""
    return [
        Arrival(place / 1000, priority_class, partition, 7)
        for place in range(40)
        for priority_class in CLASSES
        for partition in (0, 1)
    ]


def test_work_conserving_rejects_an_idler():
    trace = simulate(Idler(), chunks(), random_cost(1, EVEN))
    assert broken_rules(trace, "idle")
    assert not simulate(RoundRobin(), chunks(), random_cost(1, EVEN)).violations, "the control's control"


@pytest.mark.parametrize("broken", [Shuffler, Repeater, Skipper])
def test_partition_order_rejects(broken):
    assert broken_rules(simulate(broken(), chunks(), random_cost(1, EVEN)), "order")


def test_partition_order_rejects_two_batches_of_a_partition_at_once():
    for broken, wrong in ((Overtaker, True), (RoundRobin, False)):
        trace = simulate(broken(max_in_flight=2), chunks(), random_cost(1, EVEN), 2)
        assert bool(broken_rules(trace, "order")) is wrong


def test_partition_order_rejects_serving_what_was_revoked():
    for scheduler, wrong in ((Rememberer(), True), (RoundRobin(), False), (real_scheduler(), False)):
        simulation = Simulation(scheduler, random_cost(1, EVEN))
        simulation.assign("debug", 0)
        trace = simulation.run(
            [Arrival(0.0, "debug", 0, 1000)],
            actions=[(0.1, lambda sim: sim.revoke("debug", 0)), (0.2, lambda sim: sim.assign("debug", 0))],
        )
        assert trace.served
        assert bool(broken_rules(trace, "order")) is wrong


# --- bounded memory ------------------------------------------------------------------------------


class Feed:
    """Endless partitions of one class, fetched by the rules: only what is wanted, only while there is room.

    It counts itself what it handed over and what came back, record by record.
    """

    def __init__(self, scheduler, priority_class, partitions, sizes):
        self.scheduler = scheduler
        self.priority_class = priority_class
        self.partitions = list(partitions)
        self.sizes = sizes
        self.offsets = Counter()
        self.outstanding = Counter()
        self.fetched = Counter()
        self.largest = 0
        self.peak = 0
        self.peak_partition = 0
        self.peak_records = 0
        scheduler.assign(priority_class, self.partitions)

    def fetch(self):
        for partition in self.scheduler.wanted(self.priority_class):
            if self.scheduler.buffer(self.priority_class).room_bytes <= 0:
                break
            assert self.scheduler.buffer(self.priority_class).wants(partition)
            count, size = self.sizes(partition, self.offsets[partition])
            first = self.offsets[partition]
            self.scheduler.add(
                self.priority_class, partition, [(first + n, size) for n in range(count)], count * size
            )
            self.offsets[partition] += count
            self.outstanding[partition] += count * size
            self.fetched[partition] += 1
            self.largest = max(self.largest, count * size)
            self.peak = max(self.peak, self.outstanding.total())
            self.peak_partition = max(self.peak_partition, self.outstanding[partition])
            self.peak_records = max(self.peak_records, len(self.scheduler.buffer(self.priority_class)))
            buffer = self.scheduler.buffer(self.priority_class)
            assert buffer.buffered_bytes >= self.outstanding.total(), (
                "what is counted is no less than what is held"
            )

    def came_back(self, dispatch):
        self.outstanding[dispatch.partition] -= sum(size for _, size in dispatch.records)


def feed_through(scheduler, feeds, steps, seconds=0.001):
    by_class = {feed.priority_class: feed for feed in feeds}
    for step in range(steps):
        # A fetch is slower than a batch, so that the buffers run low and full.
        if step % 3 == 0:
            for feed in feeds:
                feed.fetch()
        dispatch = scheduler.next()
        if dispatch is not None:
            by_class[dispatch.priority_class].came_back(dispatch)
            scheduler.done(dispatch, seconds)


def check_bound(feed, bound, partitions):
    violations = []
    if feed.peak >= bound + feed.largest:
        violations.append(f"memory: {feed.peak} bytes, bound {bound}")
    if feed.peak_partition >= bound / partitions + feed.largest:
        violations.append(f"memory: {feed.peak_partition} bytes in a partition")
    return violations


def seeded_sizes(seed, most_records, most_bytes):
    def sizes(partition, offset):
        mixed = hash((seed, partition, offset))
        return 1 + mixed % most_records, 1 + (mixed >> 16) % most_bytes

    return sizes


@MODERATE
@given(
    st.integers(1, 100),
    st.integers(1, 10**6),
    st.integers(1, 50),
    st.integers(1, 10**5),
    SEEDS,
)
def test_bounded_memory(partitions, bound, most_records, most_bytes, seed):
    """Endless lag, any record size and number of partitions: less than the bound plus one chunk."""
    specs = [ClassSpec("critical", 16, 0, bound), ClassSpec("debug", 1, 1, bound)]
    scheduler = Scheduler(specs)
    sizes = seeded_sizes(seed, most_records, most_bytes)
    feeds = [Feed(scheduler, spec.name, range(partitions), sizes) for spec in specs]
    feed_through(scheduler, feeds, 150)
    for feed in feeds:
        assert check_bound(feed, bound, partitions) == []
        assert feed.peak > 0


@MODERATE
@given(st.integers(1, 20), st.integers(1, 500), st.integers(1, 50), SEEDS)
def test_bounded_records(partitions, bound, most_records, seed):
    """Tiny records are bounded by their number."""
    scheduler = Scheduler([ClassSpec("debug", 1, 0, 1 << 40, bound)])
    feed = Feed(scheduler, "debug", range(partitions), seeded_sizes(seed, most_records, 1))
    feed_through(scheduler, [feed], 100)
    assert 0 < feed.peak_records < bound + most_records


class Unbounded(ClassBuffer):
    """Always has room and always wants more."""

    __slots__ = ()

    @property
    def room_bytes(self):
        return 1

    def wants(self, partition):
        return True

    def wanted(self):
        return list(self.partitions)


class Greedy(ClassBuffer):
    """Keeps the bound, but lets one partition have all of it."""

    __slots__ = ()

    def wants(self, partition):
        return True

    def wanted(self):
        return list(self.partitions) * 100 if self.room_bytes > 0 else []


@pytest.mark.parametrize("broken", [Unbounded, Greedy])
def test_bounded_memory_rejects(broken, monkeypatch):
    def peak(buffer_class):
        monkeypatch.setattr("streams.scheduling.scheduler.ClassBuffer", buffer_class)
        scheduler = Scheduler([ClassSpec("debug", 1, 0, 10_000)])
        one_hundred = 100
        feed = Feed(scheduler, "debug", range(10), lambda partition, offset: (1, one_hundred))
        feed_through(scheduler, [feed], 1000, seconds=1.0)
        return check_bound(feed, 10_000, 10)

    assert peak(ClassBuffer) == []
    assert peak(broken) != []


@MODERATE
@given(st.integers(1, 8), st.integers(1, 30), st.integers(1000, 100_000), SEEDS)
def test_partitions_assigned_to_a_full_class_are_fetched(old, new, bound, seed):
    """They want data at once, and get it as the others are served: none is left out."""
    scheduler = Scheduler([ClassSpec("debug", 1, 0, bound)])
    feed = Feed(scheduler, "debug", range(old), seeded_sizes(seed, 20, 200))
    while scheduler.buffer("debug").room_bytes > 0 and scheduler.wanted("debug"):
        feed.fetch()
    newcomers = range(old, old + new)
    scheduler.assign("debug", newcomers)
    assert all(scheduler.buffer("debug").wants(partition) for partition in newcomers)
    feed_through(scheduler, [feed], 200 * (old + new))
    assert all(feed.fetched[partition] for partition in newcomers)
    assert check_bound(feed, bound, old) == []


def test_fetching_in_fixed_order_is_what_leaves_partitions_out(monkeypatch):
    """The negative control of the one above."""

    class FirstComeFirst(ClassBuffer):
        __slots__ = ()

        def wanted(self):
            return sorted(super().wanted())

    monkeypatch.setattr("streams.scheduling.scheduler.ClassBuffer", FirstComeFirst)
    scheduler = Scheduler([ClassSpec("debug", 1, 0, 1000)])
    feed = Feed(scheduler, "debug", range(50), lambda partition, offset: (1, 500))
    feed_through(scheduler, [feed], 500)
    assert not all(feed.fetched[partition] for partition in range(50))


# --- fairness over partitions, and independence of their number ------------------------------------


def test_partitions_of_a_class_are_served_evenly():
    trace = simulate(real_scheduler(), backlog(["debug"], partitions=7), random_cost(1, EVEN), dispatches=700)
    assert set(Counter(one.partition for one in trace.served).values()) == {100}


class CountingDict(dict):
    """Counts the look-ups, so that the work of a step can be compared without a clock."""

    touched = 0

    def __getitem__(self, key):
        CountingDict.touched += 1
        return super().__getitem__(key)

    def items(self):
        CountingDict.touched += len(self)
        return super().items()

    def values(self):
        CountingDict.touched += len(self)
        return super().values()


@pytest.mark.parametrize("count", [100, 10**9])
def test_work_of_a_batch_does_not_grow_with_partitions_or_backlog(count):
    """Partitions looked at per batch: the same for 1 and 64 partitions, whatever waits in them."""
    looked_at = []
    for partitions in (1, 64):
        buffer = ClassBuffer(1 << 60)
        buffer.assign(range(partitions))
        buffer._partitions = CountingDict(buffer._partitions)
        for partition in range(partitions):
            buffer.add(partition, range(count), count)
        CountingDict.touched = 0
        for _ in range(50):
            partition, _, _ = buffer.take(1, hold=True)
            buffer.release(partition)
        looked_at.append(CountingDict.touched)
    assert looked_at[0] == looked_at[1] == 50
