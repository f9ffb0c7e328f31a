"""Bad input on a real Kafka: each record is repaired and counted, or lies in dead-letters as it was."""

from __future__ import annotations

import asyncio
import re
import sys
from collections import Counter
from dataclasses import dataclass
from typing import Any

import orjson
import pytest

from streams.notifications import Priority, Reason, Repair
from tests import children
from tests.integration.forwards import read_forwards
from tests.integration.reading import (
    Counts,
    counts_at_rest,
    dead_letters_in,
    public_counts,
    read_all,
    without_dead_letters,
)
from tests.integration.worker_process import BOUND_S, Deployment, eventually
from tests.integration.writing import Place, writer
from tests.paths import ROOT

pytestmark = pytest.mark.kafka

#: As publishers' libraries send them: binary, with one name twice, and with a name like one of Tocsin's own.
HEADERS = [("trace", b"\x00\xff"), ("twice", b"1"), ("twice", b"2"), ("tocsinlike", b"")]
KEY = b"key \xff"
#: Bytes of a notification that the worker of the test reads at most; topics take more.
LARGEST = 950_000


@dataclass
class Case:
    """A record, and what must become of it: the event type it is counted under, or the reason why not."""

    name: str
    value: bytes | None
    priority: Priority = Priority.INFO
    event_type: str = "case"
    repair: Repair | None = None
    reason: Reason | None = None


def message(**changes: Any) -> bytes:
    plain = {
        "message_id": "m-1",
        "publisher_id": "compute.host1",
        "event_type": "case",
        "payload": {"a": 1},
    }
    return orjson.dumps({name: value for name, value in (plain | changes).items() if value is not ...})


def cloud_event(**attributes: Any) -> bytes:
    return orjson.dumps({"specversion": "1.0", "type": "a", "source": "b", "id": "c"} | attributes)


CASES = [
    Case("not JSON", b"Traceback (most recent call last):", reason=Reason.NOT_JSON),
    Case("cut off", message()[:-7], reason=Reason.NOT_JSON),
    Case("bad UTF-8", b'{"event_type": "case", "payload": "\xff\xfe"}', reason=Reason.BAD_UTF8),
    Case("NaN", message(payload="?").replace(b'"?"', b"NaN"), repair=Repair.NOT_A_NUMBER),
    Case("lone surrogate", message(payload="?").replace(b"?", rb"\ud800"), repair=Repair.LONE_SURROGATE),
    Case("a list", b'["case"]', reason=Reason.NOT_AN_OBJECT),
    Case("a number", b"17", reason=Reason.NOT_AN_OBJECT),
    Case("event_type a number", message(event_type=7), reason=Reason.EVENT_TYPE_NOT_TEXT),
    Case("event_type an object", message(event_type={}), reason=Reason.EVENT_TYPE_NOT_TEXT),
    Case("event_type missing", message(event_type=...), reason=Reason.EVENT_TYPE_MISSING),
    Case("event_type null", message(event_type=None), reason=Reason.EVENT_TYPE_MISSING),
    Case("event_type blank", message(event_type=" "), reason=Reason.EVENT_TYPE_BLANK),
    Case("event_type of 100 KB", message(event_type="x" * 100_000), reason=Reason.EVENT_TYPE_TOO_LONG),
    Case(
        "event_type with controls",
        message(event_type="a\nb"),
        reason=Reason.EVENT_TYPE_CONTROL_CHARACTERS,
    ),
    Case("envelope of nothing", b'{"oslo.message": 1}', reason=Reason.BAD_ENVELOPE),
    Case("null value", None, reason=Reason.NULL_VALUE),
    Case("empty value", b"", reason=Reason.EMPTY_VALUE),
    Case(
        "300 levels",
        b'{"event_type": "case", "payload": ' + b"[" * 300 + b"]" * 300 + b"}",
        reason=Reason.TOO_DEEP,
    ),
    Case("5,000 levels", b"[" * 5000 + b"]" * 5000, reason=Reason.TOO_DEEP),
    Case("900 KB of garbage", b"\x00" * 900_000, reason=Reason.NOT_JSON),
    Case("garbage as CRITICAL", b"garbage", Priority.CRITICAL, reason=Reason.NOT_JSON),
    Case("cut off as CRITICAL", message()[:-3], Priority.CRITICAL, reason=Reason.NOT_JSON),
    Case(
        "UTF-16 as CRITICAL", message().decode().encode("utf-16"), Priority.CRITICAL, reason=Reason.BAD_UTF8
    ),
    Case("null value as CRITICAL", None, Priority.CRITICAL, reason=Reason.NULL_VALUE),
    Case("no event type as ERROR", message(event_type=...), Priority.ERROR, reason=Reason.EVENT_TYPE_MISSING),
    Case(
        "a secret as ERROR",
        message(payload={"password": "geheim"})[:-1],
        Priority.ERROR,
        reason=Reason.NOT_JSON,
    ),
    Case(
        "300 levels as ERROR",
        message(payload="?").replace(b'"?"', b"[" * 300 + b"]" * 300),
        Priority.ERROR,
        reason=Reason.TOO_DEEP,
    ),
    Case(
        "too large as CRITICAL",
        message(payload=" " * LARGEST),
        Priority.CRITICAL,
        reason=Reason.TOO_LARGE,
    ),
    Case("900 KB payload", message(payload="y" * 900_000), event_type="case"),
    Case("900 KB payload as ERROR", message(payload="y" * 900_000, priority="ERROR"), Priority.ERROR),
    Case("publisher_id a number", message(publisher_id=7), repair=Repair.PUBLISHER_ID_NOT_TEXT),
    Case("publisher_id missing", message(publisher_id=...), repair=Repair.PUBLISHER_ID_MISSING),
    Case("payload missing", message(payload=...), repair=Repair.PAYLOAD_MISSING),
    Case("payload null", message(payload=None)),
    Case("message_id a list", message(message_id=[]), repair=Repair.MESSAGE_ID_NOT_TEXT),
    Case("timestamp an object", message(timestamp={}), repair=Repair.TIMESTAMP_BROKEN),
    Case("CloudEvent", cloud_event(data=orjson.loads(message())), repair=Repair.CLOUD_EVENT),
    Case("CloudEvent, base64", cloud_event(data_base64="e30="), reason=Reason.BAD_CLOUD_EVENT),
    Case("CloudEvents", b"[" + cloud_event(data={}) + b"]", reason=Reason.BAD_CLOUD_EVENT),
    Case("priority missing", message(), repair=Repair.PRIORITY_MISSING),
    Case("priority unknown", message(priority="URGENT"), repair=Repair.PRIORITY_UNKNOWN),
    Case("priority a number", message(priority=3), repair=Repair.PRIORITY_UNKNOWN),
    Case(
        "priority disagrees",
        message(priority="debug", event_type="disagrees"),
        Priority.CRITICAL,
        event_type="disagrees",
        repair=Repair.PRIORITY_DISAGREES,
    ),
    Case("time of 1970", message(timestamp="1970-01-01 00:00:00", event_type="old"), event_type="old"),
    Case("time of 2100", message(timestamp="2100-01-01T00:00:00Z", event_type="new"), event_type="new"),
    Case("blanks around event_type", message(event_type=" case\t"), repair=Repair.EVENT_TYPE_STRIPPED),
    Case("byte order mark", b"\xef\xbb\xbf" + message(), repair=Repair.BYTE_ORDER_MARK),
    Case(
        "like a dead letter's type",
        message(event_type="(dead letters)"),
        event_type="(dead letters) as published",
    ),
]


async def test_bad_input(deployment: Deployment) -> None:
    settings = deployment.settings
    worker = await deployment.worker(max_notification_bytes=str(LARGEST)).start().ready()
    places: dict[Place, Case] = {}
    expected: Counts = Counter()
    published = 0
    async with writer(settings) as out, public_counts(settings) as counts:
        for case in CASES:
            topic = settings.notification_topic(case.priority)
            places[await out.raw(topic, case.value, HEADERS, key=KEY)] = case
            if case.reason is None:
                expected[case.priority.value, case.event_type] += 1
            # The worker goes on, on every partition that had something bad.
            for _ in range(4):
                await out.raw(topic, message(event_type="fine", priority=case.priority))
                expected[case.priority.value, "fine"] += 1
            published += 5

        async def all_counted() -> bool:
            return (await counts.refresh()).total() >= published

        await eventually("all is counted", all_counted)
        status, metrics = worker.get("/metrics")
        assert status == 200
    await worker.stop()

    at_rest = await counts_at_rest(settings)
    for window in ("total", "1h"):  # what is from 1970 and 2100 is counted under the broker's time
        found = at_rest.now(window)
        assert without_dead_letters(found) == expected
        assert found.total() == published

    dead = await read_all(settings.brokers, settings.dead_letter_topic)
    assert dead_letters_in(at_rest.now()) == len(dead)
    assert expected.total() + len(dead) == published
    wanted = {place: case for place, case in places.items() if case.reason is not None}
    assert len(dead) == len(wanted)
    for letter in dead:
        said = dict(letter.headers)
        place = said["tocsin-topic"].decode(), int(said["tocsin-partition"]), int(said["tocsin-offset"])
        case = wanted.pop(place)
        assert letter.value == case.value, case.name
        assert letter.key == KEY
        assert [header for header in letter.headers if not header[0].startswith("tocsin-")] == HEADERS
        assert said["tocsin-reason"].decode() == case.reason, case.name
        assert 10 < len(said["tocsin-detail"]) < 300
        assert "tocsin-truncated" not in said
    assert not wanted

    repaired = Counter(case.repair for case in CASES if case.repair is not None)
    # Most messages here lack priority and timestamp, so these two repairs say nothing of a single case.
    for repair, number in repaired.items():
        if repair not in {Repair.PRIORITY_MISSING, Repair.TIMESTAMP_MISSING}:
            assert metric(metrics, "tocsin_repairs_total", repair) == number, repair
    reasons = Counter((case.reason, case.priority) for case in CASES if case.reason is not None)
    for (reason, priority), number in reasons.items():
        assert metric(metrics, "tocsin_dead_letters_total", reason, priority) == number, (reason, priority)
    assert metric(metrics, "tocsin_time_replaced_total", "") == 2

    forwards = {
        place: orjson.loads(records[0].value)
        for severity in ("CRITICAL", "ERROR")
        for place, records in (await read_forwards(settings, severity)).items()
    }
    rings = {"CRITICAL", "ERROR"}
    unread = [case for case in CASES if case.reason is not None and case.priority in rings]
    assert len(unread) > 5
    assert len(forwards) == len(unread) + sum(
        count for (priority, _), count in expected.items() if priority in rings
    )
    assert metric(metrics, "tocsin_records_forwarded_total", "") == len(forwards)
    by_name = {case.name: forwards[place] for place, case in places.items() if place in forwards}
    disagreeing = by_name["priority disagrees"]
    assert disagreeing["statedPriority"] == "DEBUG"
    assert disagreeing["repairs"] == [Repair.PRIORITY_DISAGREES, Repair.TIMESTAMP_MISSING]
    large = by_name["900 KB payload as ERROR"]
    assert large["notification"] is None
    assert large["truncated"] is True
    assert large["labels"]["alertname"] == "case"
    letters = {dict(letter.headers)["tocsin-id"].decode() for letter in dead}
    for case in unread:
        alert = by_name[case.name]
        labels = alert["labels"]
        assert (labels["alertname"], labels["severity"]) == ("unreadable", case.priority.lower()), case.name
        assert alert["deadLetter"]["id"] in letters, case.name
        assert alert["deadLetter"]["reason"] == labels["reason"] == case.reason, case.name
        assert alert["notification"] is None
        told = case.name not in {"garbage as CRITICAL", "null value as CRITICAL"}
        assert labels["publisher_id"] == ("compute.host1" if told else ""), case.name
        named = told and case.name != "no event type as ERROR"
        assert labels.get("event_type") == ("case" if named else None), case.name
    assert "geheim" not in repr(by_name["a secret as ERROR"])


def metric(text: bytes, name: str, *labels: str) -> float:
    """Sum of a metric's values, of those with all of these values of labels, but for empty ones."""
    found = re.findall(rf"^{name}(?:{{(.*)}})? ([0-9.e+]+)$", text.decode(), re.MULTILINE)
    assert found, name
    return sum(
        float(value) for given, value in found if all(f'"{label}"' in given for label in labels if label)
    )


async def test_replays_of_what_stays_bad_do_not_multiply(deployment: Deployment) -> None:
    settings = deployment.settings
    worker = await deployment.worker().start().ready()
    topic = settings.notification_topic(Priority.INFO)
    # Ten stay bad, two are good once the limit is mended.
    bad, long = 10, message(event_type="a" * 300)
    async with writer(settings) as out, public_counts(settings) as counts:
        for _ in range(bad):
            await out.raw(topic, b"garbage", HEADERS, key=KEY)
        for _ in range(2):
            await out.raw(topic, long)
        published = bad + 2

        async def counted(number: int) -> None:
            async def there() -> bool:
                return (await counts.refresh()).total() == number

            await eventually(f"{number} counted", there)

        async def replay(*arguments: str) -> str:
            ended = await asyncio.to_thread(
                children.run,
                [sys.executable, "-m", "tocsin", "dead-letters", "replay", "--all", *arguments],
                cwd=ROOT,
                env=deployment.environment(),
                capture_output=True,
                timeout=BOUND_S,
            )
            assert ended.returncode == 0, ended.stderr
            return str(ended.stdout.decode())

        await counted(published)
        await worker.stop()
        worker = await deployment.worker("mended", max_event_type_length="300").start().ready()
        for number in (published, 0, 0):
            assert await replay() == f"replayed {number}, failed 0\n"
            await counted(2 * published)
        for times in (2, 3):
            assert await replay("--again") == f"replayed {bad}, failed 0\n"
            await counted(2 * published + (times - 1) * bad)
        assert (await counts.refresh())["INFO", "a" * 300] == 2
    await worker.stop()

    dead = [it for it in await read_all(settings.brokers, settings.dead_letter_topic) if it.value is not None]
    said = [dict(letter.headers) for letter in dead]
    replays = Counter(int(headers.get("tocsin-replays", b"0")) for headers in said)
    assert replays == {0: published, 1: bad, 2: bad, 3: bad}
    by_id = {headers["tocsin-id"]: headers for headers in said}
    for letter, headers in zip(dead, said, strict=True):
        if "tocsin-replays" in headers:
            before = by_id[headers["tocsin-replayed-from"]]
            assert int(before.get("tocsin-replays", b"0")) == int(headers["tocsin-replays"]) - 1
            assert letter.key == KEY
            assert [it for it in letter.headers if not it[0].startswith("tocsin-")] == HEADERS
