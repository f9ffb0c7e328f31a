"""What probes measured, and what to say about it. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from aiokafka.partitioner import murmur2

from streams.quantities import either, quantity

#: Quantiles that are reported, by name.
_QUANTILES: Final = {"p50": 0.50, "p90": 0.90, "p99": 0.99}
_SHOWN_PARTITIONS: Final = 10


@dataclass(slots=True)
class Probe:
    """One probe; times in seconds of one clock.

    Attributes:
        number: its place in the order of publishing.
        partition: of the notification topic.
        published_s: when it was handed to the publishing driver.
        answered_s: when its answer was read; None before.
        counted_s: when a public count that includes it was read; None before.
        measured: False for one that only opened connections.
    """

    number: int
    partition: int
    published_s: float
    answered_s: float | None = None
    counted_s: float | None = None
    measured: bool = True


class Probes:
    """The probes of one run, and what was read of them."""

    def __init__(self) -> None:
        self._by_id: dict[str, Probe] = {}
        self._in_order: list[Probe] = []
        self._counted = 0
        self._total_before: int | None = None
        #: Answers to probes of others, which are counted under the same name.
        self.others = 0

    @property
    def measured(self) -> list[Probe]:
        """Those that count, in the order of publishing."""
        return [probe for probe in self._in_order if probe.measured]

    @property
    def missing(self) -> int:
        """Probes that are not both answered and counted yet."""
        return sum(probe.answered_s is None or probe.counted_s is None for probe in self._in_order)

    def published(self, message_id: str, partition: int, now_s: float, *, measured: bool) -> None:
        """A probe was handed to the driver."""
        probe = Probe(len(self._in_order), partition, now_s, measured=measured)
        self._in_order.append(probe)
        self._by_id[message_id] = probe

    def answered(self, message_id: str | None, now_s: float) -> None:
        """An answer was read; one that is repeated after a crash changes nothing."""
        probe = self._by_id.get(message_id) if message_id is not None else None
        if probe is None:
            self.others += 1
        elif probe.answered_s is None:
            probe.answered_s = now_s

    def counted(self, total: int, now_s: float) -> None:
        """A public total of probes was read; the first one is what there was before.

        It tells how many are counted and not which: the earliest published are taken. Probes of others are
        taken to be counted first, so that they make our times longer and never shorter.
        """
        if self._total_before is None:
            self._total_before = total
            return
        ours = min(total - self._total_before - self.others, len(self._in_order))
        while self._counted < ours:
            self._in_order[self._counted].counted_s = now_s
            self._counted += 1


@dataclass(slots=True, frozen=True)
class Figures:
    """Latencies of one way, in seconds; those that never ended are infinite."""

    quantiles: dict[str, float]
    most: float
    number: int
    undelivered: int

    @classmethod
    def of(cls, latencies: Iterable[float]) -> Figures:
        """Nearest-rank quantiles: each is one of the latencies."""
        ordered = sorted(latencies)
        number = len(ordered)
        quantiles = {
            name: ordered[max(0, math.ceil(share * number) - 1)] if ordered else math.inf
            for name, share in _QUANTILES.items()
        }
        most = ordered[-1] if ordered else math.inf
        return cls(quantiles, most, number, sum(math.isinf(each) for each in ordered))

    def as_json(self) -> dict[str, Any]:
        """Milliseconds by name; null for never."""
        named = self.quantiles | {"max": self.most}
        shown = {f"{name}_ms": None if math.isinf(s) else round(s * 1000, 3) for name, s in named.items()}
        return shown | {"undelivered": self.undelivered}


def shown_time(seconds: float) -> str:
    """A latency for people."""
    if math.isinf(seconds):
        return "never"
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"


@dataclass(slots=True, frozen=True)
class Report:
    """The end of a run.

    Attributes:
        alert: from publishing to a consumer of the answers.
        counted: from publishing to a reader of the public counts.
        partitions: of the notification topic that were probed, of so many.
        of_partitions: partitions of the notification topic.
        silent: partition -> probes that were not answered.
        others: probes of others at the same time.
        wait_s: seconds that were waited after the last probe.
        max_p99_ms: bound of the p99 to the alert topic; None for no bound.
        alert_topic: of the alerts whose way is measured, for the sentences.
        answer_topic: that probes are forwarded to, the same.
        counts_topic: the same.
    """

    alert: Figures
    counted: Figures
    partitions: int
    of_partitions: int
    silent: dict[int, int]
    others: int
    wait_s: float
    max_p99_ms: float | None
    alert_topic: str
    answer_topic: str
    counts_topic: str

    @property
    def ok(self) -> bool:
        """Whether every probe arrived, in time."""
        return not (self.alert.undelivered or self.counted.undelivered or self.too_slow)

    @property
    def too_slow(self) -> bool:
        """Whether the p99 is above its bound."""
        return self.max_p99_ms is not None and self.alert.quantiles["p99"] * 1000 > self.max_p99_ms

    def table(self) -> list[str]:
        """The figures, a line for each way."""
        head = ["", "p50", "p90", "p99", "max", "undelivered"]
        rows = [head]
        for name, figures in (("to the alert topic", self.alert), ("counted", self.counted)):
            times = [*figures.quantiles.values(), figures.most]
            of = f"{figures.undelivered} of {figures.number}"
            rows.append([name, *(shown_time(each) for each in times), of])
        widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
        return [
            "  ".join(
                [row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))]
            )
            for row in rows
        ]

    def sentences(self) -> list[str]:
        """What it comes to; the first is the result."""
        number, p99, counted = (
            self.alert.number,
            self.alert.quantiles["p99"],
            self.counted.quantiles["p99"],
        )
        found = []
        of_all = f"of {quantity(number, 'probe')}"
        if self.alert.undelivered == number:
            found.append(
                f"CRITICAL is not forwarded: none {of_all} was answered within "
                f"{self.wait_s:g} s; start workers, or look at `/readyz` of those that run."
            )
        elif math.isinf(p99):
            found.append(
                f"CRITICAL is not always forwarded: {self.alert.undelivered} {of_all} "
                f"{_were(self.alert.undelivered)} not answered within {self.wait_s:g} s{self._where()}; "
                "look at the lag of the workers."
            )
        else:
            found.append(
                f"CRITICAL is forwarded within {shown_time(p99)} (p99 {of_all} on {self.partitions} of "
                f"{quantity(self.of_partitions, 'partition')}, to {self.answer_topic} in the place of "
                f"{self.alert_topic})"
                + (
                    f"; it is counted in {self.counts_topic} within {shown_time(counted)} (p99)."
                    if math.isfinite(counted)
                    else "."
                )
            )
            if self.alert.undelivered:
                found.append(
                    f"{self.alert.undelivered} {of_all} {_were(self.alert.undelivered)} not "
                    f"answered within {self.wait_s:g} s{self._where()}."
                )
        if self.counted.undelivered and self.alert.undelivered < number:
            found.append(
                f"{self.counted.undelivered} {of_all} {_were(self.counted.undelivered)} not "
                f"in {self.counts_topic} within {self.wait_s:g} s: look at the flushes of the workers."
            )
        if self.too_slow and math.isfinite(p99):
            found.append(f"The p99 of {shown_time(p99)} is above the {self.max_p99_ms:g} ms allowed.")
        if self.others:
            found.append(
                f"Others published {quantity(self.others, 'probe')} at the same time, so that the times to "
                "the counts are upper bounds."
            )
        return found

    def _where(self) -> str:
        names = [str(partition) for partition in sorted(self.silent)]
        more = f" and {len(names) - _SHOWN_PARTITIONS} more" if len(names) > _SHOWN_PARTITIONS else ""
        word = either(len(names), "partition", "partitions")
        return f" ({word} {', '.join(names[:_SHOWN_PARTITIONS])}{more})" if names else ""

    def as_json(self) -> dict[str, Any]:
        """All of it, for programs."""
        return {
            "ok": self.ok,
            "probes": self.alert.number,
            "partitions": self.partitions,
            "of_partitions": self.of_partitions,
            "alert": self.alert.as_json(),
            "counted": self.counted.as_json(),
            "silent_partitions": {str(partition): n for partition, n in sorted(self.silent.items())},
            "others": self.others,
            "max_p99_ms": self.max_p99_ms,
            "sentences": self.sentences(),
        }


def make_report(
    probes: Sequence[Probe],
    *,
    of_partitions: int,
    others: int,
    wait_s: float,
    max_p99_ms: float | None,
    alert_topic: str,
    answer_topic: str,
    counts_topic: str,
) -> Report:
    """Sum up a run; see ``Report`` for the arguments."""

    def latency(probe: Probe, ended_s: float | None) -> float:
        return math.inf if ended_s is None else ended_s - probe.published_s

    return Report(
        alert=Figures.of(latency(probe, probe.answered_s) for probe in probes),
        counted=Figures.of(latency(probe, probe.counted_s) for probe in probes),
        partitions=len({probe.partition for probe in probes}),
        of_partitions=of_partitions,
        silent=dict(Counter(probe.partition for probe in probes if probe.answered_s is None)),
        others=others,
        wait_s=wait_s,
        max_p99_ms=max_p99_ms,
        alert_topic=alert_topic,
        answer_topic=answer_topic,
        counts_topic=counts_topic,
    )


def keys_of(partitions: int, most: int) -> list[bytes]:
    """Keys that publishers send to partitions 0, 1, 2 and so on: one for each of ``most`` at most."""
    wanted = min(partitions, most)
    found: dict[int, bytes] = {}
    number = 0
    while len(found) < wanted:
        key = f"probe-{number}".encode()
        partition = (murmur2(key) & 0x7FFF_FFFF) % partitions
        if partition < wanted:
            found.setdefault(partition, key)
        number += 1
    return [found[partition] for partition in range(wanted)]


def _were(number: int) -> str:
    return either(number, "was", "were")
