"""Checks of what a scheduler did in a simulation; each returns the violations it found, as sentences."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence

from tests.property.scheduling_simulator import Served, Trace


def _longest(trace: Trace) -> dict[str, float]:
    longest: dict[str, float] = defaultdict(float)
    for one in trace.served:
        longest[one.priority_class] = max(longest[one.priority_class], one.cost)
    return longest


def check_fair_share(trace: Trace, weights: Mapping[str, float], slots: int = 1) -> list[str]:
    """|T_f/w_f - T_m/w_m| <= l_f/w_f + l_m/w_m over every interval in which both are backlogged.

    Times K with K batches in flight, since that many can be chosen before the cost of the first is known. A
    change of weights starts a new interval.
    """
    longest = _longest(trace)
    segments = [(0, dict(weights))]
    for index, change in trace.weight_changes:
        segments.append((index, segments[-1][1] | change))
    ends = [index for index, _ in segments[1:]] + [len(trace.served)]
    violations = []
    classes = list(weights)
    for (begin, now), end in zip(segments, ends, strict=True):
        for place, f in enumerate(classes):
            for m in classes[place + 1 :]:
                bound = slots * (longest[f] / now[f] + longest[m] / now[m])
                spread = _widest_gap(trace.served[begin:end], f, m, now)
                if spread > bound * (1 + 1e-9) + 1e-12:
                    violations.append(f"fair share: {f} and {m} are {spread:.4f} apart, bound {bound:.4f}")
    return violations


def check_no_gain_by_blinking(trace: Trace, weights: Mapping[str, float], slots: int = 1) -> list[str]:
    """While m is backlogged, no class f gets ahead of it, however often f goes idle and comes back.

    T_f/w_f - T_m/w_m <= l_f/w_f + l_m/w_m over every interval in which m is backlogged.
    """
    longest = _longest(trace)
    violations = []
    for f in weights:
        for m in weights:
            bound = slots * (longest[f] / weights[f] + longest[m] / weights[m])
            gap = ahead = 0.0
            for one in trace.served:
                if one.priority_class == f:
                    gap = max(0.0, gap) + one.cost / weights[f]
                elif one.priority_class == m:
                    gap = max(0.0, gap) - one.cost / weights[m]
                gap = gap if m in one.waiting else 0.0
                ahead = max(ahead, gap)
            if f != m and ahead > bound * (1 + 1e-9) + 1e-12:
                violations.append(f"blinking: {f} got {ahead:.4f} ahead of {m}, bound {bound:.4f}")
    return violations


def _widest_gap(served: Sequence[Served], f: str, m: str, weights: Mapping[str, float]) -> float:
    """Largest change of T_f/w_f - T_m/w_m within any run of dispatches before which both waited."""
    widest = gap = low = high = 0.0
    for one in served:
        if f not in one.waiting or m not in one.waiting:
            gap = low = high = 0.0
            continue
        if one.priority_class == f:
            gap += one.cost / weights[f]
        elif one.priority_class == m:
            gap -= one.cost / weights[m]
        low = min(low, gap)
        high = max(high, gap)
        widest = max(widest, high - low)
    return widest


def check_no_starvation(trace: Trace, weights: Mapping[str, float]) -> list[str]:
    """With batches of equal cost, a backlogged class waits at most sum of ceil(w_j/w_i) plus N dispatches."""
    violations = []
    for priority_class in weights:
        others = sum(
            math.ceil(weights[other] / weights[priority_class])
            for other in weights
            if other != priority_class
        )
        bound = others + len(weights)
        worst = _longest_wait(trace, priority_class, lambda one: 1.0)
        if worst > bound:
            violations.append(
                f"starvation: {priority_class} waited for {worst:.0f} dispatches, bound {bound}"
            )
    return violations


def check_no_starvation_in_time(trace: Trace, weights: Mapping[str, float]) -> list[str]:
    """With any costs, a backlogged class waits at most sum of (w_j l_i/w_i + l_j) of service time."""
    longest = _longest(trace)
    violations = []
    for priority_class, weight in weights.items():
        bound = sum(
            weights[other] * longest[priority_class] / weight + longest[other]
            for other in weights
            if other != priority_class
        )
        worst = _longest_wait(trace, priority_class, lambda one: one.cost)
        if worst > bound * (1 + 1e-9):
            violations.append(
                f"starvation: {priority_class} waited for {worst:.4f} s of service, bound {bound:.4f}"
            )
    return violations


def _longest_wait(trace: Trace, priority_class: str, measure: Callable[[Served], float]) -> float:
    worst = wait = 0.0
    for one in trace.served:
        if one.priority_class == priority_class or priority_class not in one.waiting:
            wait = 0.0
        else:
            wait += measure(one)
            worst = max(worst, wait)
    return worst


def prompt_cases(trace: Trace, weights: Mapping[str, float], top: str = "critical") -> list[Served]:
    """Batches of ``top`` that found their class idle and under its share.

    Idle: nothing of the class waited or was in service at the arrival. Under its share: since its last
    service began, some class that waited all the time received more than its proportion, by at
    least a longest batch; so virtual time has surely passed what ``top`` has used.
    """
    longest = _longest(trace)
    cases = []
    last: Served | None = None
    for one in trace.served:
        if one.priority_class != top:
            continue
        if last is None:
            cases.append(one)
        elif one.since >= last.end and one.since > last.start:
            got: dict[str, float] = defaultdict(float)
            constant = set(weights) - {top}
            for other in trace.served[last.index + 1 : one.index]:
                if other.start < one.since:
                    constant &= other.waiting
                    if other.end <= one.since and not other.guarded:
                        got[other.priority_class] += other.cost
            used = last.cost / weights[top]
            if any(
                got[priority_class] / weights[priority_class]
                > used + longest[priority_class] / weights[priority_class]
                for priority_class in constant
            ):
                cases.append(one)
        last = one
    return cases


def check_prompt(
    trace: Trace, weights: Mapping[str, float], top: str = "critical", creditors: Collection[str] = ()
) -> list[str]:
    """``top``, when it finds its class idle and under its share, waits for the batches in service only.

    Except for ``creditors``: classes that may be behind their share, so that ``top`` is not under its own
    as compared with them.
    """
    violations = []
    for one in prompt_cases(trace, weights, top):
        between = [
            other
            for other in trace.served[: one.index]
            if one.since < other.start
            and other.priority_class != top
            and other.priority_class not in creditors
        ]
        if between:
            violations.append(
                f"prompt: {top} came at {one.since:.6f}, {len(between)} other batches were chosen before it"
            )
    return violations


def check_shares(trace: Trace, weights: Mapping[str, float], tolerance: float) -> list[str]:
    """The service time is shared by weight, to ``tolerance`` of the whole."""
    seconds = trace.service_seconds()
    total = sum(seconds.values())
    whole = sum(weights.values())
    return [
        f"share: {priority_class} got {seconds[priority_class] / total:.4f} instead of {weight / whole:.4f}"
        for priority_class, weight in weights.items()
        if abs(seconds[priority_class] / total - weight / whole) > tolerance
    ]
