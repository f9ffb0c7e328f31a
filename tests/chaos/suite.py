"""The lines of the suite, the clusters that they run on, and the table of their results."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from streams.broker.local_kafka import LocalKafka
from tests.chaos import cluster_faults, faults
from tests.chaos.variants import VARIANTS
from tests.chaos.world import ARMS, STOCK_FAUST, TOCSIN, Arm, Fault, Result, World, run

_JVM = ("-XX:TieredStopAtLevel=1",)


@dataclass(frozen=True)
class Line:
    """One line: a fault, and what it needs."""

    fault: Fault
    title: str
    brokers: int = 1
    stock: bool = True
    variant: str | None = None
    settings: dict[str, str] = field(default_factory=dict)


LINES: dict[str, Line] = {
    "kill": Line(faults.kill_nine, "`kill -9` again and again"),
    "kill-flush": Line(faults.kill_flush, "`kill -9` during a flush", stock=False),
    "kill-recovery": Line(faults.kill_recovery, "`kill -9` during recovery", stock=False),
    "rolling": Line(faults.rolling_restart, "SIGTERM, rolling restart"),
    "hung-handler": Line(faults.hung_handler, "SIGTERM with a hung handler", stock=False, variant="hang"),
    "sigstop": Line(faults.sigstop, "SIGSTOP past the session, SIGCONT"),
    "broker-kill": Line(faults.broker_kill, "broker `kill -9` and restart"),
    "broker-pause": Line(faults.broker_pause, "broker frozen past the session"),
    "joins": Line(faults.joins_and_leaves, "ten joins and leaves"),
    "cluster": Line(
        cluster_faults.leader_and_two_lost,
        "three brokers: leader lost, then two",
        brokers=3,
        stock=False,
        settings={"replication_factor": "3"},
    ),
    "mixed": Line(faults.mixed, "all mixed"),
}
#: Its lines on one broker that take little time.
SHORT = ["kill-flush", "sigstop"]


class Suite:
    """Runs lines one after the other, and remembers what they said.

    Args:
        folder: of everything that is written.
        seed: of all choices.
        rate: notifications a second.
    """

    def __init__(self, folder: Path, seed: int, rate: int) -> None:
        self._folder = folder
        self._seed = seed
        self._rate = rate
        self._clusters: dict[int, LocalKafka] = {}
        self.results: list[tuple[str, Result]] = []
        self.missed: list[str] = []

    async def __aenter__(self) -> Suite:
        return self

    async def __aexit__(self, *_: object) -> None:
        for number in list(self._clusters):
            await self._end(number)

    async def _kafka(self, brokers: int) -> LocalKafka:
        if brokers not in self._clusters:
            # One cluster at a time: three brokers and three workers are enough for two cores.
            for other in list(self._clusters):
                await self._end(other)
            kafka = LocalKafka(
                self._folder / f"kafka-{brokers}-{len(self.results)}",
                brokers=brokers,
                die_with_parent=True,
                jvm_options=_JVM,
            )
            self._clusters[brokers] = kafka
            await asyncio.to_thread(kafka.start)
        return self._clusters[brokers]

    async def _end(self, number: int) -> None:
        kafka = self._clusters.pop(number)
        await asyncio.to_thread(kafka.stop)
        await asyncio.to_thread(kafka.reset)

    async def line(self, name: str, arm: Arm, variant: str | None = None, seed: int | None = None) -> Result:
        """Carry out one line, and print it."""
        line = LINES[name]
        kafka = await self._kafka(line.brokers)
        seed = self._seed if seed is None else seed
        folder = self._folder / f"{name}-{variant or arm.name}-{seed}-{len(self.results)}"
        folder.mkdir()
        world = World(
            kafka,
            folder,
            arm,
            seed=seed,
            rate=self._rate,
            variant=variant or line.variant,
            **line.settings,
        )
        result = await run(world, name, line.fault)
        self.results.append((name, result))
        return result

    async def lines(self, names: Iterable[str], arm: Arm, variant: str | None = None) -> None:
        """Carry out some lines with an arm."""
        # Those of one cluster next to each other.
        for name in sorted(names, key=lambda each: LINES[each].brokers):
            if arm is STOCK_FAUST and not LINES[name].stock:
                continue
            result = await self.line(name, arm, variant)
            label = variant or arm.name
            print(f"[{label}] {result.line()}", flush=True)
            if not result.good and arm is TOCSIN:
                for broken in result.broken:
                    print("    " + broken.replace("\n", "\n    "), flush=True)
                for found, finding in result.verdict.findings().items():
                    for example in finding.examples[:5]:
                        print(f"    {found}: {example}", flush=True)

    async def variants(self, names: Iterable[str]) -> None:
        """Show that the suite notices what each safeguard is for."""
        for name in names:
            variant = VARIANTS[name]
            result = await self.line(variant.fault, TOCSIN, name)
            shown = result.verdict.findings()[variant.shows].number
            said = "shows it" if shown else "DOES NOT SHOW IT"
            print(f"[without {variant.without}: {said}] {result.line()}", flush=True)
            if not shown:
                self.missed.append(f"{name} shows no {variant.shows}")

    @property
    def good(self) -> bool:
        """Whether Tocsin held every line, and every variant failed."""
        return not self.missed and all(result.good for _, result in self.results if result.arm == TOCSIN.name)

    def table(self) -> str:
        """The results in Markdown, Tocsin's beside those of stock Faust."""
        head = " | ".join(f"{name}: published / lost / twice / recovered" for name in ARMS)
        rows = [f"| fault | {head} |"]
        rows.append("|---|" + "---|" * len(ARMS))
        for name, line in LINES.items():
            cells = [_cell([r for n, r in self.results if n == name and r.arm == arm]) for arm in ARMS]
            if any(cells):
                rows.append(f"| {line.title} | " + " | ".join(cell or "-" for cell in cells) + " |")
        for name, variant in VARIANTS.items():
            found = [r for _, r in self.results if r.arm == f"without {name}"]
            if found:
                title = f"without {variant.without}, {LINES[variant.fault].title}"
                rows.append(f"| {title} | {_cell(found)} | - |")
        return "\n".join(rows)


def _cell(results: list[Any]) -> str:
    shown = []
    for result in results:
        v = result.verdict
        recovery = "never" if result.recovery_s is None else f"{result.recovery_s:.1f} s"
        shown.append(f"{v.published:,} / {v.lost.number:,} / {v.twice.number:,} / {recovery}")
    return "; ".join(shown)
