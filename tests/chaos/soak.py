"""``make soak``: three workers under a steady load, and whether their memory, descriptors or tables grow.

Rows of 10 s buckets are kept for an hour and more, so that a worker grows until the first ones expire. Here
they are kept for two minutes, which leaves a steady state that a soak of minutes can see. Rows of minutes are
kept for a day as always: how much of the tables they are is measured at the end, and left out of the slope.

For the same reason each store gets 64 KiB for rows that are in no file yet, and as much for blocks that were
read, in place of a megabyte or two: at 1,000 notifications a second those take 10 minutes to fill, in which
memory rises up to their bound, and files are added that are merged much later.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Any

import psutil
import rocksdict

from tables.buckets import FINE
from tests.chaos import truth
from tests.chaos.checker import Verdict, check
from tests.chaos.damage import sst_files, stores
from tests.chaos.history import read
from tests.chaos.members import ChaosError, Member
from tests.chaos.world import TOCSIN, World, cleaned
from tests.scratch import scratch_folder
from tocsin.local_kafka.cluster import LocalKafka

RETENTION_S = 120
STORE_BYTES = 64 * 1024
_SAMPLE_S = 2.0
_WARM_UP = 0.3  # part of the time that is left out
_LEAST_WARM_UP_S = 150.0  # in which nothing expires yet
_BLOCKS = 20
#: Quantile of Student's t for 95 %, two-sided, with ``_BLOCKS - 2`` degrees of freedom.
_T = 2.101
#: Growth over the measured time, as a part of the mean, below which a slope is nothing to speak of.
_NEGLIGIBLE = 0.02
#: The same for the tables in MB, over all stores: they take few, in files that come and go as a whole.
_NEGLIGIBLE_TABLES_MB = 1.0


@dataclass(frozen=True)
class Slope:
    """A straight line through what was measured.

    ``per_hour`` is the slope, ``low`` and ``high`` bound it with 95 % confidence; ``mean`` is the mean value.
    A rise by up to ``least`` over ``hours`` is nothing to speak of.
    """

    mean: float
    per_hour: float
    low: float
    high: float
    hours: float
    least: float = 0.0

    @property
    def found(self) -> bool:
        """Whether it rises: surely, and by more than is nothing to speak of."""
        return self.low > 0 and self.per_hour * self.hours > max(_NEGLIGIBLE * self.mean, self.least)


def slope_of(times_s: Sequence[float], values: Sequence[float]) -> Slope:
    """Ordinary least squares over the means of blocks, since neighbouring samples depend on each other.

    Raises:
        ValueError: there are fewer samples than blocks.
    """
    if len(times_s) < _BLOCKS:
        raise ValueError(f"{len(times_s)} samples are too few; {_BLOCKS} are needed")
    edges = [round(index * len(times_s) / _BLOCKS) for index in range(_BLOCKS + 1)]
    x = [fmean(times_s[a:b]) / 3600 for a, b in pairwise(edges)]
    y = [fmean(values[a:b]) for a, b in pairwise(edges)]
    mean_x, mean_y = fmean(x), fmean(y)
    spread = sum((each - mean_x) ** 2 for each in x)
    slope = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / spread
    errors = sum((b - mean_y - slope * (a - mean_x)) ** 2 for a, b in zip(x, y, strict=True))
    bound = _T * math.sqrt(errors / (_BLOCKS - 2) / spread)
    return Slope(mean_y, slope, slope - bound, slope + bound, (times_s[-1] - times_s[0]) / 3600)


@dataclass(frozen=True)
class Sample:
    """All workers together, at a time."""

    at_s: float
    rss_mb: float
    descriptors: float
    tables_mb: float


def sample(members: Sequence[Member], at_s: float) -> Sample:
    """Measure the workers.

    Raises:
        ChaosError: one has ended.
    """
    rss = descriptors = size = 0
    for member in members:
        if member.process is None or not member.runs:
            raise ChaosError(f"{member.name} has ended:\n{member.tail()}")
        process = psutil.Process(member.process.pid)
        rss += process.memory_info().rss
        descriptors += process.num_fds()
        size += _size(member.data_dir)
    return Sample(at_s, rss / 2**20, descriptors, size / 2**20)


FIGURES = {"rss_mb": "resident memory, MB", "descriptors": "file descriptors", "tables_mb": "RocksDB, MB"}


def kept_mb(members: Sequence[Member]) -> float:
    """Megabytes on disk of the rows of minutes and hours, by which stores get smaller without them.

    Args:
        members: that have been stopped.
    """
    saved = 0
    for member in members:
        for store in stores(member.data_dir):
            saved += _compacted(store) - _compacted(store, without=_is_kept)
    return saved / 2**20


def _is_kept(key: bytes) -> bool:
    return key.startswith(b"r/") and b"/%04d/" % FINE not in key


def _compacted(store: Path, without: Callable[[bytes], bool] | None = None) -> int:
    """Bytes of the sorted tables once some rows have been deleted."""
    database = rocksdict.Rdict(str(store), rocksdict.Options(raw_mode=True))
    for key in list(database.keys()) if without is not None else ():
        if without is not None and without(key):
            del database[key]
    database.flush()
    database.compact_range(None, None)
    database.close()
    return sum(path.stat().st_size for path in sst_files(store))


def _size(folder: Path) -> int:
    size = 0
    for path in folder.rglob("*"):
        try:
            size += path.stat().st_size
        except FileNotFoundError:
            continue  # RocksDB has just deleted it
    return size


def verdict_of(samples: Sequence[Sample], kept: float = 0.0) -> dict[str, Slope]:
    """The slope of each figure after the warm-up.

    Args:
        samples: in the order of time.
        kept: megabytes of the tables at the end that came evenly and are meant to stay.
    """
    end = samples[-1].at_s
    samples = [replace(each, tables_mb=each.tables_mb - kept * each.at_s / end) for each in samples]
    warm_up = max(_LEAST_WARM_UP_S, samples[-1].at_s * _WARM_UP)
    warm = [each for each in samples if each.at_s >= warm_up] or list(samples)
    times = [each.at_s for each in warm]
    slopes = {name: slope_of(times, [getattr(each, name) for each in warm]) for name in FIGURES}
    return slopes | {"tables_mb": replace(slopes["tables_mb"], least=_NEGLIGIBLE_TABLES_MB)}


async def soak(folder: Path, seconds: float, seed: int, rate: int) -> tuple[list[Sample], float, Verdict]:
    """Run the workers under load and measure them.

    Returns:
        What was measured, the megabytes of rows that are kept for a day, and whether they counted right.
    """
    kafka = LocalKafka(folder / "kafka", die_with_parent=True, jvm_options=["-XX:TieredStopAtLevel=1"])
    await asyncio.to_thread(kafka.start)
    try:
        world = World(kafka, folder, TOCSIN, seed=seed, rate=rate, lateness_s="0", flush_interval_s="1")
        world.load.once = False
        for _ in range(3):
            member = world.member()
            # Nothing is recorded: what is measured is the product.
            del member.environment["CHAOS_HISTORY"]
            member.environment["CHAOS_RETENTION_S"] = str(RETENTION_S)
            member.environment["CHAOS_STORE_BYTES"] = str(STORE_BYTES)
        async with cleaned(world):
            await world.start()
            begun = time.monotonic()
            samples: list[Sample] = []
            while (at_s := time.monotonic() - begun) < seconds:
                samples.append(await asyncio.to_thread(sample, world.members, at_s))
                await asyncio.sleep(_SAMPLE_S)
            await world.settle()
            await world.stop()
            await truth.write_log(world.settings, world.history)
            await truth.write_effects(world.settings, world.history)
            await truth.write_public_counts(world.settings, world.history)
            priorities = truth.priorities_of(world.settings)
            lines = read(world.history.path)
            kept = await asyncio.to_thread(kept_mb, world.members)
            return samples, kept, check(lines, priorities, windows=False, recorded=False)
    finally:
        await asyncio.to_thread(kafka.stop)


def _plot(samples: Sequence[Sample], path: Path) -> bool:
    try:
        from matplotlib import pyplot
    except ImportError:
        return False
    figure, axes = pyplot.subplots(len(FIGURES), sharex=True, figsize=(8, 8))
    for axis, (name, label) in zip(axes, FIGURES.items(), strict=True):
        axis.plot([each.at_s / 60 for each in samples], [getattr(each, name) for each in samples])
        axis.set_ylabel(label)
        axis.set_ylim(bottom=0)
    axes[-1].set_xlabel("minutes")
    figure.suptitle("Three workers under a steady load")
    figure.savefig(path)
    return True


def main() -> None:
    """Run it; the exit code is 1 when something grows, or counts are wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=float(os.environ.get("SOAK_SECONDS") or 1200))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rate", type=int, default=1000, help="notifications a second")
    parser.add_argument("--out", type=Path, default=Path("bench-results"))
    options = parser.parse_args()
    with scratch_folder("tocsin-soak-") as folder:
        samples, kept, verdict = asyncio.run(soak(folder, options.seconds, options.seed, options.rate))
    slopes = verdict_of(samples, kept)
    options.out.mkdir(parents=True, exist_ok=True)
    result: dict[str, Any] = {
        "seconds": options.seconds,
        "rate": options.rate,
        "line": verdict.line(),
        "kept_for_a_day_mb": kept,
        "slopes": {name: asdict(slope) | {"found": slope.found} for name, slope in slopes.items()},
        "samples": [asdict(each) for each in samples],
    }
    (options.out / "soak.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    plotted = _plot(samples, options.out / "soak.svg")
    for name, slope in slopes.items():
        print(
            f"{FIGURES[name]}: mean {slope.mean:.1f}, slope {slope.per_hour:+.2f} an hour "
            f"(95 %: {slope.low:+.2f} to {slope.high:+.2f}): {'GROWS' if slope.found else 'no slope'}"
        )
    print(
        f"Left out of the slope of RocksDB: rows of minutes that are kept for a day, {kept:.1f} MB at the end"
    )
    print(f"{options.seconds:.0f} s: {verdict.line()}")
    print(f"Written: {options.out / 'soak.json'}{', soak.svg' if plotted else ''}")
    sys.exit(0 if verdict.good and not any(slope.found for slope in slopes.values()) else 1)


if __name__ == "__main__":
    main()
