"""Random lives of a small cluster: inputs, and what happens to workers while they count them.

A scenario is a function of its seed alone, and prints as it can be built and played again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from tables.reserved_types import PROBES
from tests.property.counting_model import ALL, START_S, Cluster
from tests.property.counting_truth import NO_CAP, Input, Record

#: What happened, and its arguments.
Event = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Scenario:
    inputs: list[Input]
    cap: int
    rising: bool
    events: list[Event]

    def play(self, cluster: type[Cluster] = Cluster) -> list[str]:
        return play(cluster(self.inputs, self.cap, rising=self.rising), self.events)


def play(cluster: Cluster, events: Sequence[Event]) -> list[str]:
    """Let ``events`` happen, then finish; returns what is wrong."""
    for kind, *arguments in events:
        if kind == "clock":
            cluster.now_s += arguments[0]
        elif kind in ("read", "flush"):
            role, count = arguments
            getattr(cluster.workers[role], kind)(count)
        elif kind in ("die", "pause"):
            role, store = arguments
            cluster.replace(role, paused=kind == "pause", kept_store=store)
        else:  # commit, turn, wake, rejoin, compact
            getattr(cluster, kind)(*arguments)
    return cluster.finish()


def source_scenario(seed: int, *, capped: bool) -> Scenario:
    """One source, and what happens to its worker."""
    random = Random(seed)
    cap = random.randint(1, 3) if capped else NO_CAP
    inputs = [_input(random, random.choice([3, 8, 16])), []]
    return Scenario(inputs, cap, random.random() < 0.5, _events(random, [0]))


def cluster_scenario(seed: int) -> Scenario:
    """Two sources and two slices, and what happens to any of their workers."""
    random = Random(seed)
    cap = random.choice([1, 2, NO_CAP, NO_CAP])
    inputs = [_input(random, random.choice([3, 8, 16])), _input(random, random.choice([0, 3]))]
    roles = random.choice([[0, 2], [0, 2, 2, 2], [0, 1, 2, 3]])
    return Scenario(inputs, cap, random.random() < 0.5, _events(random, roles))


def _input(random: Random, records: int) -> Input:
    """Records: few buckets that are hit again and again, or times that move on with stragglers."""
    types = [*"abc", PROBES][: random.choice([1, 2, 4])]
    if random.random() < 0.6:
        starts = random.choice([[0, 10], [0, 10, 300], [0, 60, 300, 960], [0, 3600, 4000], [0, 300, 9000]])
        buckets = [START_S + random.choice(starts) for _ in range(records)]
        if random.random() < 0.3:
            buckets.sort()
        brokers = [max(buckets[: index + 1]) for index in range(records)]
    else:
        gaps = random.choice([[0, 0, 1], [0, 10, 40], [0, 1, 70], [0, 10, 1200], [1, 4000, 10_000]])
        late = random.choice([[0], [0, 10], [0, 60, 300], [0, 3000, -500], [0, 0, 12_000]])
        time_s = START_S - random.choice([0, 3600])
        brokers = [time_s := time_s + random.choice(gaps) for _ in range(records)]
        buckets = [(broker - random.choice(late)) // 10 * 10 for broker in brokers]
    offset = -1
    offsets = [offset := offset + random.choice([1, 1, 1, 3]) for _ in range(records)]
    return [
        (o, Record(random.choice(types), b, s)) for o, b, s in zip(offsets, buckets, brokers, strict=True)
    ]


def _events(random: Random, roles: Sequence[int]) -> list[Event]:
    clocks = random.choice([[1, 10], [1, 31, 61], [31, 61, 200], [200, 4000], [1, 61, 4000], [61, 40_000]])
    kinds = ["read"] * 3 + ["flush"] * 3 + ["clock"] * 2 + ["commit", "turn", "die", "compact"]
    if random.random() < 0.6:
        kinds += ["pause", "wake", "wake", "rejoin"]
    events: list[Event] = []
    for _ in range(random.choice([6, 12, 25])):
        kind, role = random.choice(kinds), random.choice(roles)
        steps = random.choice([0, 1, 2, 3, 4, ALL, ALL, ALL])
        if kind == "read":
            events.append((kind, role, random.randint(1, 4)))
        elif kind == "flush":
            events.append((kind, role, steps))
        elif kind == "clock":
            events.append((kind, random.choice(clocks)))
        elif kind in ("die", "pause"):
            events.append((kind, role, random.choice([None, 0, 1])))
        elif kind == "wake":
            events.append((kind, random.randint(0, 2), random.randint(0, 3), steps))
        elif kind == "rejoin":
            events.append((kind, random.randint(0, 2)))
        else:
            events.append((kind,) if kind == "compact" else (kind, role))
    return events
