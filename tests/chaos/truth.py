"""What a cluster holds at the end of a run, written into its history for the checker."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import orjson

from streams.dead_letters import letters as dead_letters
from streams.settings import Settings
from streams.upstream.slice_assignor import slice_of
from tables.buckets import FINE, bucket_of
from tables.row_bodies import read_fine
from tables.rows import VersionedRows, bucket_name
from tables.source_counter import SourceCounter
from tests.chaos.history import History, content_of, read
from tests.chaos.load import HEADER
from tests.integration.reading import counts_at_rest, notification_topics, read_all

_CHUNK = 500


async def write_log(settings: Settings, history: History) -> None:
    """What lies in the notification topics."""
    await _write_log(settings, history, {topic: topic for topic in notification_topics(settings)})


async def write_remade(settings: Settings, history: History, topic: str, old: str) -> None:
    """What lies in a topic that is about to be deleted and made again, under the name ``old``."""
    history.write("remade", **{"t": topic, "as": old})
    await _write_log(settings, history, {topic: old})


async def write_log_so_far(settings: Settings, history: History, topic: str) -> None:
    """What lies in a topic of which some is about to be deleted."""
    await _write_log(settings, history, {topic: topic})


async def _write_log(settings: Settings, history: History, names: Mapping[str, str]) -> None:
    by_place: dict[tuple[str, int], list[Any]] = defaultdict(list)
    for record in await read_all(settings.brokers, *names):
        said = dict(record.headers).get(HEADER, b"||").decode()
        identity, second, event_type = said.split("|", 2)
        moment = int(second) * 1000 if second else record.timestamp
        by_place[record.topic, record.partition].append(
            [record.offset, identity, event_type or None, bucket_of(moment, FINE)]
        )
    for (topic, partition), entries in sorted(by_place.items()):
        for start in range(0, len(entries), _CHUNK):
            history.write("log", t=names[topic], p=partition, e=entries[start : start + _CHUNK])


async def write_effects(settings: Settings, history: History) -> None:
    """What lies in the alert topics and in the dead letters."""
    topics = [settings.alert_topic(priority.value) for priority in settings.forward_priorities]
    for record in await read_all(settings.brokers, *topics):
        value = orjson.loads(record.value)
        identity = dict(record.headers).get("ce_id")
        place = [value["examples"][0][name] for name in ("topic", "partition", "offset")]
        history.write(
            "received",
            t=record.topic,
            p=record.partition,
            o=record.offset,
            id=None if identity is None else identity.decode(),
            h=content_of(record.key, record.value, record.headers),
            of=place,
        )
    for record in await read_all(settings.brokers, settings.dead_letter_topic):
        letter = dead_letters.parse(record.key, record.value, record.headers)
        if letter is not None:
            history.write("letter", of=[letter.topic, letter.partition, letter.offset], id=letter.id)


async def write_public_counts(settings: Settings, history: History) -> None:
    """What a subscriber of the public topic knows: totals, and the counts of 10 s buckets."""
    counts = await counts_at_rest(settings)
    totals = [[*name, number] for name, number in sorted(counts.now().items())]
    first, last = _buckets_of(history.path)
    # Where there are more event types than totals name, those of a row may be others.
    names = list(counts.now() | counts.now("1h"))
    buckets = [[*name, n] for name, n in sorted(counts.by_bucket(names, first, last + FINE).items())]
    history.write("counts", of="public", c=totals, b=buckets)


async def write_rows(settings: Settings, history: History) -> None:
    """What the rows of the sources say, as a worker that has lost all its state would rebuild them."""
    sources: dict[str, tuple[str, int]] = {}
    for line in read(history.path):
        if line["k"] == "reset":
            sources = {}
        elif line["k"] == "ready":
            sources |= {name: (place[0], place[1]) for name, place in line["sources"].items()}
        elif line["k"] == "remade":
            old = {name: place for name, place in sources.items() if place[0] == line["t"]}
            sources |= {name: (line["as"], partition) for name, (_, partition) in old.items()}
    stores: dict[int, dict[bytes, bytes]] = defaultdict(dict)
    for record in await read_all(settings.brokers, settings.internal_topic("partial-counts-changelog")):
        if record.value is None:
            stores[record.partition].pop(record.key, None)
        else:
            stores[record.partition][record.key] = record.value
    first, last = _buckets_of(history.path)
    for source, (topic, partition) in sources.items():
        # As many slices as there were partitions at the start.
        rows = VersionedRows(_Store(stores[slice_of(partition, settings.partitions)]), "reader")
        counter = SourceCounter(
            source, rows, max_event_types=settings.max_event_types, lateness_s=settings.lateness_s
        )
        buckets = []
        for bucket in range(first, last + FINE, FINE):
            if (loaded := rows.load(bucket_name(source, FINE, bucket), read_fine)) is not None:
                buckets += [[event_type, bucket, entry.count] for event_type, entry in loaded.body.items()]
        history.write("source", t=topic, p=partition, c=list(counter.totals.counts.items()), b=buckets)


async def write_stock_counts(settings: Settings, history: History) -> None:
    """What the stock app's table holds, by its changelog: a count per partition and event type."""
    found: dict[tuple[int, bytes], int] = {}
    for record in await read_all(settings.brokers, settings.internal_topic("counts-changelog")):
        found[record.partition, record.key] = 0 if record.value is None else orjson.loads(record.value)
    totals: Counter[tuple[str, str]] = Counter()
    for (_, key), number in found.items():
        priority, event_type = orjson.loads(key).split("/", 1)
        totals[priority, event_type] += number
    history.write("counts", of="stock table", c=[[*name, number] for name, number in sorted(totals.items())])


class _Store:
    """A table partition in memory."""

    def __init__(self, rows: Mapping[bytes, bytes]) -> None:
        self._rows = rows
        self._keys = sorted(rows)

    def scan(self, start: bytes, end: bytes) -> Iterable[tuple[bytes, bytes]]:
        found = self._keys[bisect_left(self._keys, start) : bisect_left(self._keys, end)]
        return [(key, self._rows[key]) for key in found]


def _buckets_of(path: Path) -> tuple[int, int]:
    """The first and the last bucket that the log in the history names."""
    buckets = {entry[3] for line in read(path) if line["k"] == "log" for entry in line["e"]}
    return min(buckets, default=0), max(buckets, default=0)


def priorities_of(settings: Settings) -> dict[str, str]:
    """Notification topic -> priority."""
    return {settings.notification_topic(priority): priority.value for priority in settings.priorities}
