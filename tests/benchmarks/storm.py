"""``python -m tests.benchmarks.storm``: records a second when a share of them is forwarded as alerts.

Every arm consumes the same topics, filled before: a share of the records is CRITICAL, and each of those is
forwarded; the rest is DEBUG. The clock starts with the first record that an arm handles, and stops when all
are counted and all alerts lie in the alert topic, confirmed by the broker; for Tocsin also all offsets must
be committed, so that the counts are durable. ``only counting`` is the bare loop without forwarding.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from tests.benchmarks import plots, report
from tests.benchmarks.arms.registry import Arm, arms
from tests.benchmarks.cluster import (
    CommittedOffsets,
    bench_cluster,
    create_topics,
    delete_topics,
    notification_topics,
)
from tests.benchmarks.load import Load
from tests.benchmarks.measure import median_and_spread, paired_ratios
from tests.benchmarks.processes import BenchmarkError, running, wait_until
from tests.benchmarks.produce_requests import produce_requests
from tests.benchmarks.profiling import Profile
from tests.benchmarks.progress import Progress
from tests.benchmarks.spec import RunSpec
from tests.benchmarks.targets import Target, all_met
from tests.benchmarks.usage import Usage, broker_pid

_POLL_S = 0.02
_DONE_S = 600.0
#: Bytes of a notification.
_SIZE = 350
#: Below this share, in per cent, there are so many times as many records: else a run would be over at once.
_MANY, _MORE = 25, 2
#: What takes part unless told otherwise, so that it is over in some minutes; and all shares.
_ARMS, _SHARES, _ALL_SHARES = "tocsin,bare,counting", "0,10,50,100", "0,5,10,25,50,100"
#: How an arm forwards: as a storm wants it, by waiting a little for more. No record has a number to note.
_FORWARDING = {"forward": True, "linger_ms": 5, "acks": "all", "unnumbered": True}

#: Of a repeat at one share: what each arm reached, by its name; None for one that failed.
Runs = Mapping[str, Sequence[Mapping[str, float] | None]]


def storm_arms() -> dict[str, Arm]:
    """The arms by name, as they take part in a storm."""
    known = arms()
    found = {
        "tocsin": replace(known["tocsin"], title="Tocsin", options={"forward": True, "unnumbered": True}),
        "bare": replace(
            known["aiokafka"], name="bare", title="bare aiokafka loop that forwards", options=_FORWARDING
        ),
        "counting": replace(
            known["aiokafka"], name="counting", title="bare aiokafka loop, only counting", options={}
        ),
    }
    for name, title in (
        ("confluent", "confluent-kafka loop that forwards"),
        ("faust", "stock Faust, an agent that forwards"),
        ("quix", "Quix Streams that forwards"),
        ("kafka-streams", "Kafka Streams (Java) that forwards"),
    ):
        if name in known:
            found[name] = replace(known[name], title=title, options=_FORWARDING)
    return found


class TopicEnds:
    """Watches how many records lie in one topic, over one connection."""

    def __init__(self, brokers: str, topic: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._brokers = brokers
        self._topic = topic
        self._consumer: AIOKafkaConsumer | None = None

    def total(self) -> int:
        """Sum of the end offsets; 0 while the topic is not there."""
        return self._loop.run_until_complete(self._total())

    async def _total(self) -> int:
        if self._consumer is None:
            self._consumer = AIOKafkaConsumer(bootstrap_servers=self._brokers, metadata_max_age_ms=500)
            await self._consumer.start()
        partitions = (await self._consumer._client.fetch_all_metadata()).partitions_for_topic(self._topic)
        if not partitions:
            return 0
        ends = await self._consumer.end_offsets([TopicPartition(self._topic, p) for p in partitions])
        return sum(ends.values())

    def close(self) -> None:
        """Disconnect."""
        if self._consumer is not None:
            self._loop.run_until_complete(self._consumer.stop())
        self._loop.close()


def run_arm(
    arm: Arm, brokers: str, folder: Path, prefix: str, messages: int, alerts: int, number: int, options: Any
) -> dict[str, float]:
    """Let one arm consume and forward everything once."""
    name = f"storm-{arm.name}-{number}"
    path = folder / name
    path.mkdir()
    spec = RunSpec(
        brokers=brokers,
        group=name,
        prefix=prefix,
        alerts=f"{name}.alerts.",
        partitions=options.partitions,
        work_us=0,
        target=messages,
        progress=str(path / "progress"),
        folder=str(path),
        options={"tune": json.loads(options.tune or "null")} | arm.options,
    )
    forwards = bool(spec.option("forward"))
    topic = spec.alerts + "critical"
    if forwards and arm.module != "tocsin":  # which makes its own
        create_topics(brokers, [topic], options.partitions)
    progress = Progress(spec.progress)
    committed = CommittedOffsets(brokers, name, list(notification_topics(prefix).values()))
    ends = TopicEnds(brokers, topic)
    try:
        module = f"tests.benchmarks.arms.{arm.module}"
        with running(module, spec.to_json(), log=path / "log", python=arm.python, env=arm.env) as child:
            wait_until(lambda: progress.read().first_ns > 0, 90, "the first record", child)
            usage = Usage(child.pid, broker_pid(folder))
            profile = Profile(child.pid, 10, report.RESULTS / f"{name}.raw") if options.profile else None
            wait_until(
                lambda: progress.read().reached_ns > 0, _DONE_S, "the last record", child, poll_s=_POLL_S
            )
            done_ns = progress.reached_ns
            if forwards and alerts:
                wait_until(lambda: ends.total() >= alerts, _DONE_S, "the last alert", child, poll_s=_POLL_S)
                done_ns = time.monotonic_ns()
            used = usage.since_start()
            passed_s = (time.monotonic_ns() - progress.first_ns) / 1e9
            if arm.module == "tocsin":
                wait_until(
                    lambda: committed.total() >= messages, _DONE_S, "the last commit", child, poll_s=_POLL_S
                )
                done_ns = time.monotonic_ns()
            if profile is not None:
                profile.print_hottest()
    finally:
        committed.close()
        ends.close()
    requests = produce_requests(path) if forwards else None
    delete_topics(brokers, spec.alerts)
    seconds = (done_ns - progress.first_ns) / 1e9
    return {
        "rate": messages / seconds,
        "counted": messages / ((progress.reached_ns - progress.first_ns) / 1e9),
        "broker_us": used["broker_cpu"] * passed_s / alerts * 1e6 if alerts and forwards else math.nan,
        "own_us": used["cpu"] * passed_s / messages * 1e6,
        "requests": math.nan if requests is None else requests / passed_s,
        "records_a_request": alerts / requests if requests else math.nan,
        **used,
    }


def ratios(runs: Runs, peer: str, what: str = "rate", ours: str = "tocsin") -> list[float]:
    """Of each repeat: Tocsin's figure over that of a peer."""

    def figures(name: str) -> list[float]:
        return [math.nan if run is None else run[what] for run in runs.get(name, ())]

    return [ratio for ratio in paired_ratios(figures(ours), figures(peer)) if ratio == ratio]


#: Share in per cent, peer, and how many times as fast Tocsin is to be.
TARGETS = (
    *((share, "bare", 1.5) for share in (50, 100)),
    (10, "counting", 0.9),
    *((share, "faust", 5.0) for share in (10, 50, 100)),
)


def targets(results: Mapping[int, Runs], known: Mapping[str, Arm]) -> list[Target]:
    """The targets of the shares and peers that ran."""
    found = []
    for share, peer, limit in TARGETS:
        if not (runs := results.get(share)) or peer not in runs:
            continue
        what = f"{share} % forwarded, to {known[peer].title}"
        found.append(Target("storm", what, limit, median_and_spread(ratios(runs, peer))[0], "x", False))
    for share in (50, 100):
        if (runs := results.get(share)) and "bare" in runs:
            what = f"{share} % forwarded, the broker's CPU an alert, to that of the bare loop"
            ratio = median_and_spread(ratios(runs, "bare", "broker_us"))[0]
            found.append(Target("storm", what, 2.0, ratio, "x", True))
    return found


def main(arguments: list[str] | None = None) -> int:
    """Run all arms at every share, in turn; 0 when Tocsin met its targets."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    known = storm_arms()
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--messages", type=int, default=1_000_000, help="records, for the fast arms")
    parser.add_argument("--few", type=int, default=40_000, help="records, for the slow arms")
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--event-types", type=int, default=200)
    parser.add_argument("--shares", default=_SHARES, help="per cent that is forwarded")
    parser.add_argument("--arms", default=_ARMS, help=f"some of {','.join(known)}")
    parser.add_argument("--all", action="store_true", help=f"all arms, and the shares {_ALL_SHARES}")
    parser.add_argument("--quick", action="store_true", help="a fifth of the records, once, three shares")
    parser.add_argument("--tune", default="", help="trial changes of Tocsin")
    parser.add_argument("--profile", action="store_true", help="record where the time goes, with py-spy")
    options = parser.parse_args(arguments)
    if options.all:
        options.arms, options.shares = ",".join(known), _ALL_SHARES
    if options.quick:
        options.repeats, options.messages, options.few = 1, options.messages // 5, options.few // 5
        options.shares = "0,10,50"
    if unknown := [name for name in options.arms.split(",") if name not in known]:
        parser.error(f"there is no arm {unknown[0]}; use some of {', '.join(known)}")
    chosen = report.available([known[name] for name in options.arms.split(",")])
    before = report.machine()
    results: dict[int, dict[str, list[dict[str, float] | None]]] = {}
    with bench_cluster() as (brokers, folder):
        number = 0
        for share in map(int, options.shares.split(",")):
            results[share] = runs = defaultdict(list)
            more = _MORE if share < _MANY else 1
            sets = {
                True: (f"large-{share}.", more * options.messages),
                False: (f"small-{share}.", options.few),
            }
            for large, (prefix, messages) in sets.items():
                if any(arm.large is large for arm in chosen.values()):
                    fill(brokers, folder, prefix, messages, share, options)
            for repeat in range(options.repeats):
                # There and back again, so that no arm is always the first.
                for arm in list(chosen.values())[:: -1 if repeat % 2 else 1]:
                    number += 1
                    prefix, messages = sets[arm.large]
                    alerts = alerts_of(messages, share)
                    label = f"{share} % forwarded, {repeat + 1}/{options.repeats} {arm.title}"
                    try:
                        run = run_arm(arm, brokers, folder, prefix, messages, alerts, number, options)
                    except BenchmarkError as error:
                        if arm.module == "tocsin":
                            raise
                        runs[arm.name].append(None)
                        print(f"{label} failed: {error}", flush=True)
                        continue
                    runs[arm.name].append(run)
                    print(f"{label}: {in_words(run)}", flush=True)
            for prefix, _ in sets.values():
                delete_topics(brokers, prefix)
    return _report(options, before, results, chosen)


def alerts_of(messages: int, share: int) -> int:
    """How many of ``messages`` are to be forwarded: every block of 100 has ``share`` of them."""
    return messages * share // 100


def in_words(run: Mapping[str, float]) -> str:
    """One run."""
    requests = (
        ""
        if math.isnan(run["requests"])
        else (f", {run['requests']:,.0f} produce requests/s of {run['records_a_request']:,.0f} alerts")
    )
    alert = "" if math.isnan(run["broker_us"]) else f", the broker {run['broker_us']:.1f} us an alert"
    return (
        f"{run['rate']:,.0f}/s ({run['counted']:,.0f}/s counted), {run['own_us']:.1f} us of CPU a record"
        f"{alert}{requests}; {run['rss_mb']:.0f} MB; "
        f"cores: itself {run['cpu']:.2f}, broker {run['broker_cpu']:.2f}"
    )


def fill(brokers: str, folder: Path, prefix: str, messages: int, share: int, options: Any) -> None:
    """Publish a set of notifications, of which a share is CRITICAL."""
    create_topics(brokers, list(notification_topics(prefix).values()), options.partitions)
    parts = {"critical": alerts_of(messages, share), "debug": messages - alerts_of(messages, share)}
    for priority, count in parts.items():
        if count:
            Load(
                "fill",
                brokers,
                prefix,
                count,
                str(folder / f"{prefix}{priority}-progress"),
                size=_SIZE,
                event_types=options.event_types,
                mix={priority: 1.0},
            ).run(folder / "load.log")


def _report(
    options: Any, before: dict[str, Any], results: Mapping[int, Runs], chosen: Mapping[str, Arm]
) -> int:
    rows = []
    for share, runs in results.items():
        for name, arm in chosen.items():
            good = [run for run in runs.get(name, ()) if run is not None]
            if not good:
                rows.append([f"{share} %", arm.title, "failed", *[""] * 5])
                continue

            def median(what: str, form: str, good: Sequence[Mapping[str, float]] = good) -> str:
                value = median_and_spread(run[what] for run in good)[0]
                return "" if math.isnan(value) else f"{value:{form}}"

            middle, least, greatest = median_and_spread(run["rate"] for run in good)
            ratio, low, high = median_and_spread(ratios(runs, name))
            rows.append(
                [
                    f"{share} %",
                    arm.title,
                    f"{middle:,.0f} ({least:,.0f} to {greatest:,.0f})",
                    "" if name == "tocsin" or math.isnan(ratio) else f"{ratio:.2f} ({low:.2f} to {high:.2f})",
                    median("own_us", ".1f"),
                    median("broker_us", ".1f"),
                    median("requests", ",.0f"),
                    f"{median('rss_mb', '.0f')} MB",
                ]
            )
    report.show(
        f"A storm of alerts: median (least to greatest) of {options.repeats}",
        [
            *("forwarded", "", "records a second", "Tocsin to it", "own CPU us a record"),
            *("broker's CPU us an alert", "requests a second", "memory"),
        ],
        rows,
    )
    print(
        f"{options.messages:,} records of {_SIZE} bytes, {_MORE} times as many below {_MANY} % "
        f"({options.few:,} for slow arms), the forwarded ones CRITICAL and the others DEBUG, "
        f"{options.partitions} partitions a topic, {options.event_types} event types. Until counted and all "
        "alerts confirmed; Tocsin's also until all offsets are committed."
    )
    reached = targets(results, chosen)
    report.finish(
        "storm",
        before,
        reached,
        {"options": vars(options), "runs": results, "plots": draw(results, chosen)},
    )
    return 0 if all_met(reached) else 1


def draw(results: Mapping[int, Runs], chosen: Mapping[str, Arm]) -> list[str]:
    """Records a second over the share that is forwarded; names of the files."""
    series = {
        arm.title: [
            (float(share), median_and_spread(run["rate"] for run in runs.get(name, ()) if run is not None)[0])
            for share, runs in results.items()
        ]
        for name, arm in chosen.items()
    }
    path = plots.lines(
        report.plot_path("storm"),
        "Records a second, until counted and every alert confirmed",
        "per cent of the records that are forwarded",
        "records a second",
        series,
        log_y=True,
    )
    return [path.name]


if __name__ == "__main__":
    raise SystemExit(main())
