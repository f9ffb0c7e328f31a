"""The lines of the suite, the clusters that they run on, and the table of their results."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiokafka.errors import KafkaError

from tests.breakable_kafka import BreakableKafka
from tests.chaos import (
    clock_faults,
    cluster_faults,
    disk_faults,
    faults,
    identity_faults,
    membership_faults,
    poison_faults,
    size_faults,
    storm_faults,
    topic_faults,
)
from tests.chaos.checker import Verdict
from tests.chaos.members import ChaosError
from tests.chaos.relay import Relay
from tests.chaos.variants import SAFEGUARDS, VARIANTS
from tests.chaos.world import ARMS, STOCK_FAUST, TOCSIN, Arm, Fault, Result, World, run

_JVM = ("-XX:TieredStopAtLevel=1",)


#: What a line said, as it is kept in a file.
Figures = dict[str, Any]


@dataclass(frozen=True)
class Line:
    """One line: a fault, and what it needs."""

    fault: Fault
    title: str
    brokers: int = 1
    stock: bool = True
    #: Whether it hits the brokers, so that nothing else can run beside it.
    alone: bool = False
    variant: str | None = None
    #: Whether something lies between the workers and the broker.
    relayed: bool = False
    #: Whether workers know the brokers by a bootstrap address that is none of theirs.
    named: bool = False
    settings: dict[str, str] = field(default_factory=dict)


LINES: dict[str, Line] = {
    "kill": Line(faults.kill_nine, "`kill -9` again and again"),
    "kill-flush": Line(faults.kill_flush, "`kill -9` during a flush", stock=False),
    "kill-recovery": Line(faults.kill_recovery, "`kill -9` during recovery", stock=False),
    "rolling": Line(faults.rolling_restart, "SIGTERM, rolling restart"),
    "hung-handler": Line(faults.hung_handler, "SIGTERM with a hung handler", stock=False, variant="hang"),
    "sigstop": Line(faults.sigstop, "SIGSTOP past the session, SIGCONT"),
    "broker-kill": Line(faults.broker_kill, "broker `kill -9` and restart", alone=True),
    "broker-pause": Line(faults.broker_pause, "broker frozen past the session", alone=True),
    "connections": Line(faults.connections, "connections cut, sliced, slow, held", relayed=True),
    "damage": Line(
        cluster_faults.damaged_folders, "RocksDB damaged: bytes flipped, files cut or gone", stock=False
    ),
    "damage-read": Line(disk_faults.bad_when_read, "RocksDB damaged: met when rows are read", stock=False),
    "held-lock": Line(disk_faults.held_lock, "RocksDB held by another process", stock=False),
    "disk-full": Line(disk_faults.disk_full, "disk full at work and at start", stock=False),
    "read-only": Line(disk_faults.read_only, "read-only disk at start", stock=False),
    "twins": Line(membership_faults.twins, "two workers with one instance id", stock=False),
    "poison": Line(
        poison_faults.poison,
        "poison: malformed, oversized, bombs, event types without end, wrong clocks",
        stock=False,
        settings=poison_faults.SETTINGS,
    ),
    "size": Line(
        size_faults.poison_by_size,
        "poison by size: event types of 1 kB without end, publishers of 900 kB",
        stock=False,
        settings=size_faults.SETTINGS,
    ),
    "topic-remade": Line(
        topic_faults.topic_remade,
        "a topic deleted and made again",
        stock=False,
        settings=topic_faults.SETTINGS,
    ),
    "topic-gone": Line(
        topic_faults.topic_gone, "a topic gone for a while", stock=False, settings=topic_faults.SETTINGS
    ),
    "clock-wrong": Line(clock_faults.clock_wrong, "a worker's clock days ahead, or behind", stock=False),
    "retention": Line(
        topic_faults.retention_overtakes,
        "retention overtakes the workers",
        stock=False,
        settings=topic_faults.SETTINGS,
    ),
    "partitions": Line(
        topic_faults.partitions_raised, "partitions added, also to topics that hold counts", stock=False
    ),
    "moved": Line(
        cluster_faults.brokers_moved,
        "all brokers at new addresses behind the same bootstrap name",
        stock=False,
        alone=True,
        named=True,
    ),
    "logs-back": Line(
        identity_faults.logs_go_back,
        "a broker loses power and the end of a topic",
        stock=False,
        alone=True,
        settings=identity_faults.SETTINGS,
    ),
    "cluster-reset": Line(
        identity_faults.cluster_reset,
        "a cluster that begins anew under old data folders",
        stock=False,
        alone=True,
    ),
    "joins": Line(faults.joins_and_leaves, "ten joins and leaves"),
    "cluster": Line(
        cluster_faults.leader_and_two_lost,
        "three brokers: leader lost, then two",
        brokers=3,
        stock=False,
        alone=True,
        settings={"replication_factor": "3"},
    ),
    "storm": Line(
        storm_faults.storm,
        "a storm of alerts, workers and broker lost in it, and frozen",
        stock=False,
        alone=True,
    ),
    "mixed": Line(faults.mixed, "all mixed", alone=True),
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
        self._clusters: dict[int, BreakableKafka] = {}
        self.results: list[tuple[str, Result]] = []
        self.missed: list[str] = []

    async def __aenter__(self) -> Suite:
        return self

    async def __aexit__(self, *_: object) -> None:
        for number in list(self._clusters):
            await self._end(number)

    async def _kafka(self, brokers: int) -> BreakableKafka:
        if brokers not in self._clusters:
            # One cluster at a time: three brokers and three workers are enough for two cores.
            for other in list(self._clusters):
                await self._end(other)
            kafka = BreakableKafka(
                Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="kafka-", dir=self._folder)) / "data",
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
        prefix = f"{name}-{variant or arm.name}-{seed}-"
        folder = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix=prefix, dir=self._folder))
        relay = Relay(int(kafka.bootstrap.rpartition(":")[2]), seed)
        if line.named:
            await relay.start()
        world = World(
            kafka,
            folder,
            arm,
            seed=seed,
            rate=self._rate,
            variant=variant or line.variant,
            relayed=line.relayed,
            bootstrap=relay if line.named else None,
            **line.settings,
            **(VARIANTS[variant].settings if variant else {}),
        )
        try:
            result = await run(world, name, line.fault)
        except (ChaosError, KafkaError) as error:
            result = Result(name, variant or arm.name, seed, Verdict(), broken=[f"{error}"])
        finally:
            if line.named:
                await relay.stop()
        self.results.append((name, result))
        return result

    async def lines(self, names: Iterable[str], arm: Arm, variant: str | None = None) -> None:
        """Carry out some lines with an arm."""
        # Those of one cluster next to each other.
        for name in sorted(names, key=lambda each: LINES[each].brokers):
            if arm is STOCK_FAUST and not LINES[name].stock:
                continue
            result = await self.line(name, arm, variant)
            print(f"[{variant or arm.name}] {result.line()}", flush=True)
            if not result.good and arm is TOCSIN:
                for broken in result.broken:
                    print("    " + broken.replace("\n", "\n    "), flush=True)
                for found, finding in result.verdict.findings().items():
                    for example in finding.examples[:5]:
                        print(f"    {found}: {example}", flush=True)

    async def everything(self, *, stock: bool = True) -> None:
        """All lines with both arms, or with Tocsin alone, and the variants.

        Tocsin's lines have the machine to themselves, since they are timed. The stock app's run beside the
        variants, except where brokers are hit.
        """
        one = [name for name, line in LINES.items() if line.brokers == 1]
        await self.lines(one, TOCSIN)
        theirs = one if stock else []
        await asyncio.gather(
            self.variants(SAFEGUARDS),
            self.lines([name for name in theirs if not LINES[name].alone], STOCK_FAUST),
        )
        await self.lines([name for name in theirs if LINES[name].alone], STOCK_FAUST)
        await self.lines([name for name in LINES if name not in one], TOCSIN)

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

    def figures(self) -> list[Figures]:
        """What every line said, to be kept."""
        return [figures_of(name, result) for name, result in self.results]


def figures_of(name: str, result: Result) -> Figures:
    """The figures of one line."""
    return {
        "line": name,
        "arm": result.arm,
        "seed": result.seed,
        "published": result.verdict.published,
        "counted": result.verdict.counted,
        "fault_s": round(result.fault_s, 1),
        "recovery_s": None if result.recovery_s is None else round(result.recovery_s, 1),
        "alerts": result.verdict.alerts,
        "repeated alerts": result.verdict.repeated_alerts,
        **{found: finding.number for found, finding in result.verdict.findings().items()},
        "broken": result.broken,
        "notes": result.notes,
    }


def table(figures: Sequence[Figures]) -> str:
    """The figures of one or several seeds in Markdown, Tocsin's beside those of stock Faust."""
    rows = [
        "| fault | Tocsin: published | lost | twice | recovered | stock Faust: published | lost | twice |"
    ]
    rows.append("|---|---|---|---|---|---|---|---|")
    for name, line in LINES.items():
        ours, theirs = _pick(figures, name, line.variant), _pick(figures, name, STOCK_FAUST.name)
        if ours or theirs:
            mine = _cells(ours, recovery=True) or "- | - | - | -"
            rows.append(f"| {line.title} | {mine} | {_cells(theirs) or '- | - | -'} |")
    for name, variant in VARIANTS.items():
        found = _pick(figures, variant.fault, name) if name in SAFEGUARDS else []
        if found:
            title = f"*without {variant.without}*, {LINES[variant.fault].title}"
            rows.append(f"| {title} | {_cells(found, recovery=True)} | - | - | - |")
    return "\n".join(rows)


def _pick(figures: Sequence[Figures], line: str, arm: str | None) -> list[Figures]:
    arms = {TOCSIN.name} if arm is None else {arm} if arm in ARMS else {f"without {arm}"}
    return [each for each in figures if each["line"] == line and each["arm"] in arms]


def _cells(found: Sequence[Figures], *, recovery: bool = False) -> str:
    if not found:
        return ""
    cells = [f"{sum(each[name] for each in found):,}" for name in ("published", "lost", "twice")]
    if recovery:
        times = [each["recovery_s"] for each in found]
        known = [time for time in times if time is not None]
        cells.append("never" if len(known) < len(times) else f"{max(known):.1f} s")
    return " | ".join(cells)
