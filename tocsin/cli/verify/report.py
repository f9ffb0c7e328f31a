"""What `tocsin verify` says about what it found. Pure."""

from __future__ import annotations

import math
from typing import Any, Final

from streams.notifications.priority import Priority
from streams.notifications.visible import visible
from streams.quantities import either, quantity, thousands
from tables.verification import TOTAL
from tocsin.cli.common.text import utc
from tocsin.cli.verify.findings import Findings

_SHOWN_DIFFERENCES: Final = 20
_SHOWN_NAMES: Final = 5
#: Settings without which a record is counted as another worker would not count it.
_COUNTED_BY: Final = ", ".join(
    f"TOCSIN_{name}"
    for name in (
        "MAX_NOTIFICATION_BYTES",
        "MAX_EVENT_TYPE_LENGTH",
        "MAX_DEPTH",
        "LATENESS_S",
        "ISOLATION_LEVEL",
    )
)


def agrees(found: Findings) -> bool:
    """Whether everything was compared that could be, and nothing differs."""
    unreadable = found.unreadable or found.unreadable_rows
    incomparable = found.waiting or found.strange or unreadable or _nothing_covered(found)
    return not found.number_of_differences and not incomparable


def _nothing_covered(found: Findings) -> bool:
    return found.partitions > 0 and sum(map(math.isinf, found.trimmed.values())) == found.partitions


def sentences(found: Findings) -> list[str]:
    """The result, and what it holds for."""
    return [_result(found), *_hint(found), *_coverage(found)]


def _hint(found: Findings) -> list[str]:
    """What may be the reason that nobody thinks of."""
    if not found.number_of_differences:
        return []
    said = (
        f"Were these the settings of the workers? What is counted, and as what, goes by {_COUNTED_BY}: run "
        "it with the environment or the settings file of a worker before you look for what is lost."
    )
    return [said]


def _result(found: Findings) -> str:
    if found.number_of_differences:
        parts = []
        if found.lost:
            parts.append(f"{_are(found.lost, 'record')} not counted")
        if found.excess:
            parts.append(f"{_are(found.excess, 'more record')} counted than published")
        if found.public_differences:
            number = found.public_differences
            parts.append(quantity(number, "public count differs", "public counts differ", show=thousands))
        return f"The counts do not agree with the records: {', '.join(parts)}."
    if found.waiting:
        return (
            f"The public counts cannot be compared: {_are(found.waiting, 'message')} not combined yet; "
            "start workers, or give more --wait. The counts of the partitions agree."
        )
    if found.strange:
        sources = quantity(len(found.strange), "source", show=thousands)
        return (
            f"The counts cannot be compared in full: in this time they hold records of {sources} "
            "whose topic is gone or belongs to another cluster. "
            "Those of today's topics are all counted; shorten --since to what came after."
        )
    if found.unreadable:
        number = found.unreadable.total()
        return (
            f"The counts cannot be compared in full: {_are(number, 'record')} corrupt on a "
            f"broker's disk, and no dead letters account for them ({_some(sorted(found.unreadable))}). "
            "Whether they were counted before that is not known; all others are counted."
        )
    if found.unreadable_rows:
        return (
            "The counts cannot be compared in full: rows of them are corrupt on a broker's disk "
            f"({_some(found.unreadable_rows)})."
        )
    if _nothing_covered(found):
        return "Nothing can be compared: retention has deleted records of every partition in this time."
    if found.records == 1:
        return f"The counts agree: the record is counted once{', as a dead letter' * found.dead_letters}."
    letters = quantity(
        found.dead_letters, "of them as a dead letter", "of them as dead letters", show=thousands
    )
    return f"The counts agree: each of {found.records:,} records is counted once" + (
        f", {letters}." if found.dead_letters else "."
    )


def _coverage(found: Findings) -> list[str]:
    span = found.span
    until = "" if span.end_s > 2**40 else f" to before {utc(span.end_s * 1000)}"
    begin = utc(span.start_s * 1000)
    rows, partitions = quantity(found.buckets, "row", show=thousands), quantity(found.partitions, "partition")
    said = [f"Compared {rows} of 10 s of {partitions}, from {begin}{until}."]
    if found.trimmed:
        said.append(_trimmed(found))
    if number := found.never_read.total():
        shown = ", ".join(
            f"{count:,} {priority.value}" for priority, count in found.never_read.items() if count
        )
        said.append(
            f"Records that retention deleted before a worker had read them, and no count holds: {number:,} "
            f"({shown})."
        )
    if number := found.with_dead_letters:
        said.append(
            f"{_are(number, 'record')} corrupt on a broker's disk, and compared as the dead "
            "letters that stand for them."
        )
    if found.unreadable and found.number_of_differences:
        number = found.unreadable.total()
        said.append(
            f"Besides, {_are(number, 'record')} corrupt on a broker's disk without dead letters "
            f"({_some(sorted(found.unreadable))}): how they were counted is not known."
        )
    if found.unreadable_rows and found.number_of_differences:
        said.append(
            f"Rows of counts are corrupt on a broker's disk ({_some(found.unreadable_rows)}): differences "
            "may come of that alone."
        )
    if found.behind:
        said.append(
            f"Besides, {_are(found.behind, 'record')} not counted yet, or published "
            "meanwhile: no worker had committed them when this began."
        )
    if found.uncommitted:
        said.append(
            f"Of {quantity(len(found.uncommitted), 'partition')} with records nothing is committed "
            f"({_some(found.uncommitted)}): look at the workers."
        )
    if found.strange:
        said.append(
            f"The counts hold {quantity(len(found.strange), 'source')} of topics that are gone or belong to "
            f"another cluster ({_some(sorted(found.strange))}), so that public counts may be higher."
        )
    if found.ended:
        said.append(
            f"Logs lost their end {quantity(len(found.ended), 'time')} after it had been counted "
            f"({_some(sorted(found.ended))}): those counts stay, and nobody can count them again, so that "
            "public counts may be higher."
        )
    return said + _of_totals(found) + found.notes


def _of_totals(found: Findings) -> list[str]:
    said = []
    if found.totals:
        said.append(f"The totals of {_priorities(found.totals)} were compared with every record.")
    if found.totals_at_least:
        said.append(
            f"Not every record of {_priorities(found.totals_at_least)} could be counted again: whether their "
            "totals are too high is not known, nor whether they hold all that came before the records that "
            "were read."
        )
    if found.gone:
        said.append(
            f"The totals hold {quantity(len(found.gone), 'source')} of topics that are gone or belong to "
            f"another cluster ({_some(sorted(found.gone))}), which nobody can count again."
        )
    if found.foreign:
        rows = quantity(found.foreign.total(), "row", show=thousands)
        said.append(
            f"The public topic holds {rows} of other apps ({_some(sorted(found.foreign))}), left out "
            "here: set TOCSIN_EVENT_COUNTS_TOPIC of each app to a topic of its own."
        )
    return said


def _priorities(some: list[Priority]) -> str:
    return ", ".join(priority.value for priority in some)


def _are(number: int, noun: str) -> str:
    return quantity(number, f"{noun} is", f"{noun}s are", show=thousands)


def _trimmed(found: Findings) -> str:
    number, known = len(found.trimmed), [s for s in found.trimmed.values() if math.isfinite(s)]
    share = 100 * number / max(1, found.partitions)
    parts = []
    if known:
        parts.append(f"compared in full from {utc(math.ceil(max(known)) * 1000)} on")
    if len(known) < number:
        parts.append(f"{number - len(known)} of them not in full at all")
    return (
        f"{number} of {quantity(found.partitions, 'partition')} ({share:.0f} %) "
        f"{either(number, 'has', 'have')} lost records of this time to retention "
        f"({_some(sorted(found.trimmed))}): {', '.join(parts)}; "
        "every record that is left was looked for."
    )


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN_NAMES} more" if len(names) > _SHOWN_NAMES else ""
    return ", ".join(map(visible, names[:_SHOWN_NAMES])) + more


def table(found: Findings) -> list[str]:
    """The first differences."""
    if not found.differences:
        return []
    rows = [("PRIORITY", "WHERE", "BUCKET", "PUBLISHED", "COUNTED", "DIFFERENCE", "EVENT TYPE")]
    for each in found.differences[:_SHOWN_DIFFERENCES]:
        what = f"{each.lost} lost" if each.lost else f"{each.excess} too many"
        rows.append(
            (
                each.priority,
                visible(each.where),
                "total" if each.bucket == TOTAL else utc(each.bucket * 1000),
                str(each.published),
                str(each.counted),
                what,
                visible(each.event_type),
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(6)]
    lines = ["  ".join([*(c.ljust(w) for c, w in zip(row, widths, strict=False)), row[6]]) for row in rows]
    if found.number_of_differences > _SHOWN_DIFFERENCES:
        lines.append(f"and {found.number_of_differences - _SHOWN_DIFFERENCES:,} more")
    return lines


def as_json(found: Findings) -> dict[str, Any]:
    """All of it, for programs."""
    return {
        "agree": agrees(found),
        "from": utc(found.span.start_s * 1000),
        "to": None if found.span.end_s > 2**40 else utc(found.span.end_s * 1000),
        "partitions": found.partitions,
        "records": found.records,
        "not_committed": found.behind,
        "dead_letters": found.dead_letters,
        "rows": found.buckets,
        "lost": found.lost,
        "too_many": found.excess,
        "public_differences": found.public_differences,
        "waiting_to_be_combined": found.waiting,
        "unreadable": dict(sorted(found.unreadable.items())),
        "unreadable_with_dead_letters": found.with_dead_letters,
        "unreadable_rows": found.unreadable_rows,
        "never_read": {priority.value: number for priority, number in found.never_read.items() if number},
        "covered_from": {
            name: None if math.isinf(second) else utc(math.ceil(second) * 1000)
            for name, second in sorted(found.trimmed.items())
        },
        "totals_compared": [priority.value for priority in found.totals],
        "gone_sources": sorted(found.strange | found.gone),
        "ended_sources": sorted(found.ended),
        "foreign_rows": dict(sorted(found.foreign.items())),
        "differences": [
            {
                "priority": each.priority,
                "where": each.where,
                "bucket": None if each.bucket == TOTAL else utc(each.bucket * 1000),
                "event_type": each.event_type,
                "published": each.published,
                "counted": each.counted,
            }
            for each in found.differences
        ],
        "sentences": sentences(found),
    }
