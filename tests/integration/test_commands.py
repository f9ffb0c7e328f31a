"""``tocsin tail`` and ``tocsin dead-letters`` as processes, on a real Kafka."""

from __future__ import annotations

import asyncio
import base64
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from queue import Queue
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import NewTopic
from aiokafka.structs import RecordMetadata
from faust.types import TP

from agents.alert_labels import AlertLabels
from agents.forwarding import Forwarding
from streams.dead_letters.letters import dead_letter, truncated
from streams.notifications import Decoder, Limits, Notification, Priority, Reason, Rejection, encode
from streams.notifications.masking import Masker
from streams.outgoing import Outgoing
from tables.public_rows import PublicRow, encode_key, encode_value
from tables.row_bodies import TypeTotal
from tests import children
from tests.admin import PATIENT, admin_of, create_topics
from tests.integration.worker_process import BOUND_S
from tests.paths import ROOT
from tocsin.local_kafka.cluster import LocalKafka

pytestmark = pytest.mark.kafka

_NOW_MS = 1_700_000_000_000
_HOSTILE = "\x1b]0;owned\x07\x1b[2J\u202e\x9b31m\u3164"

Record = tuple[bytes | None, bytes | None, list[tuple[str, bytes]]]


class Tocsin:
    """The command line, with topics of its own."""

    def __init__(self, bootstrap: str, unique: str) -> None:
        self.bootstrap = bootstrap
        self.notifications = f"{unique}.in."
        self.alerts = f"{unique}.out."
        self.dead = f"{unique}.dead"
        self.counts = f"{unique}.counts"
        self.env = {name: value for name, value in os.environ.items() if not name.startswith("TOCSIN_")} | {
            "PYTHONPATH": str(ROOT),
            "TOCSIN_BROKERS": bootstrap,
            "TOCSIN_APP_ID": unique,
            "TOCSIN_NOTIFICATION_TOPIC_PREFIX": self.notifications,
            "TOCSIN_ALERT_TOPIC_PREFIX": self.alerts,
            "TOCSIN_DEAD_LETTER_TOPIC": self.dead,
            "TOCSIN_EVENT_COUNTS_TOPIC": self.counts,
        }

    def run(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        return children.run(
            [sys.executable, "-m", "tocsin", *arguments],
            cwd=ROOT,
            env=self.env,
            capture_output=True,
            timeout=BOUND_S,
        )

    def lines(self, *arguments: str) -> list[str]:
        ended = self.run(*arguments)
        assert (ended.returncode, ended.stderr) == (0, b"")
        return ended.stdout.decode().splitlines()

    def objects(self, *arguments: str) -> list[dict[str, Any]]:
        return [orjson.loads(line) for line in self.lines(*arguments)]

    def objects_of_list(self, *arguments: str) -> list[dict[str, Any]]:
        """What dead-letters list prints; its summary is left out."""
        ended = self.run("dead-letters", "list", "--json", *arguments)
        assert ended.returncode == 0
        return [orjson.loads(line) for line in ended.stdout.splitlines()]

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        return children.start(
            [sys.executable, "-m", "tocsin", *arguments],
            cwd=ROOT,
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    async def create(self, *topics: str, **config: str) -> None:
        await create_topics(
            self.bootstrap, *(NewTopic(topic, 1, 1, topic_configs=config) for topic in topics)
        )

    async def produce(self, topic: str, *records: Record, partition: int = 0) -> list[RecordMetadata]:
        producer = AIOKafkaProducer(bootstrap_servers=self.bootstrap, acks="all", **PATIENT)
        await producer.start()
        try:
            done = []
            for key, value, headers in records:
                # Unlike send, this takes a record without key and value.
                batch = producer.create_batch()
                batch.append(timestamp=None, key=key, value=value, headers=headers)
                done.append(await (await producer.send_batch(batch, topic, partition=partition)))
            return done
        finally:
            await producer.stop()

    async def write(self, *letters: Outgoing) -> list[RecordMetadata]:
        return await self.produce(self.dead, *((it.key, it.value, list(it.headers)) for it in letters))

    async def records(self, topic: str) -> list[Record]:
        consumer = AIOKafkaConsumer(bootstrap_servers=self.bootstrap, auto_offset_reset="earliest", **PATIENT)
        await consumer.start()
        try:
            partition = TopicPartition(topic, 0)
            consumer.assign([partition])
            end = (await consumer.end_offsets([partition]))[partition]
            found: list[Record] = []
            async with asyncio.timeout(BOUND_S):
                while await consumer.position(partition) < end:
                    for part in (await consumer.getmany(timeout_ms=200)).values():
                        found += [(record.key, record.value, list(record.headers)) for record in part]
            return found
        finally:
            await consumer.stop()


@pytest.fixture
def tocsin(kafka: LocalKafka, unique: str) -> Tocsin:
    return Tocsin(kafka.bootstrap, unique)


@pytest.fixture
def processes() -> Iterator[list[subprocess.Popen[bytes]]]:
    started: list[subprocess.Popen[bytes]] = []
    yield started
    for process in started:
        process.kill()
        process.communicate()


def _value(
    event_type: str, priority: Priority = Priority.ERROR, payload: Any = None, publisher: str = "compute.h1"
) -> bytes:
    return encode(publisher, event_type, priority, payload or {}, _NOW_MS, f"id-{event_type}")


def _alert(tocsin: Tocsin, value: bytes, priority: Priority, offset: int = 0) -> Record:
    read = Decoder(Limits()).decode(value, priority)
    assert isinstance(read, Notification)
    forwarding = Forwarding(
        f"{tocsin.alerts}{priority.lower()}",
        TP(f"{tocsin.notifications}{priority.lower()}", 0),
        "source:0",
        AlertLabels(priority),
        Masker(),
    )
    sent = forwarding.alert(offset, value, _NOW_MS, read)
    return sent.key, sent.value, list(sent.headers)


def _letter(
    tocsin: Tocsin,
    value: bytes | None,
    offset: int,
    *,
    reason: Reason = Reason.NOT_JSON,
    key: bytes | None = None,
    headers: tuple[tuple[str, bytes], ...] = (),
    topic: str | None = None,
) -> Outgoing:
    record = SimpleNamespace(
        topic=topic or f"{tocsin.notifications}info",
        partition=0,
        offset=offset,
        timestamp=_NOW_MS,
        value=value,
        key=key,
        headers=headers,
    )
    return dead_letter(
        tocsin.dead,
        TP(record.topic, record.partition),
        record,
        "TopicIdOf22Characters:0",
        Rejection(reason, f"Why {offset}."),
    )


def _id(offset: int) -> str:
    return f"TopicIdOf22Characters:0:{offset}"


def _replay_of(offset: int, number: int = 1) -> list[tuple[str, bytes]]:
    return [("tocsin-replayed-from", _id(offset).encode()), ("tocsin-replays", str(number).encode())]


# ---------------------------------------------------------------- tail


async def test_tail_alerts_filters_and_keeps_the_value(tocsin: Tocsin) -> None:
    critical, error = f"{tocsin.alerts}critical", f"{tocsin.alerts}error"
    await tocsin.create(critical, error)
    first = _alert(tocsin, _value("compute.create.error", Priority.CRITICAL), Priority.CRITICAL)
    second = _alert(tocsin, _value("volume.delete.error"), Priority.ERROR)
    third = _alert(tocsin, _value("compute.resize.error"), Priority.ERROR, 1)
    await tocsin.produce(critical, first)
    await tocsin.produce(error, second, third)

    shown = tocsin.lines("tail", "alerts", "--from-beginning", "--count", "3")
    assert len(shown) == 3
    line = next(line for line in shown if "compute.create.error" in line)
    assert line.startswith("2023-11-14T22:13:20.000Z  CRITICAL  compute.create.error  compute.h1  ")
    assert line.endswith("CRITICAL compute.create.error from compute.h1")
    only = ("--from-beginning", "--severity", "error", "--event-type", "compute.*", "--count", "1")
    (printed,) = tocsin.lines("tail", "alerts", *only, "--json")
    assert printed.endswith(f',"value":{(third[1] or b"").decode()}}}')
    found = orjson.loads(printed)
    assert (found["topic"], found["partition"], found["offset"]) == (error, 0, 1)
    assert found["key"] == (third[0] or b"").decode()
    assert found["headers"] == [[name, content.decode()] for name, content in third[2]]
    assert "compute.resize.error" in tocsin.lines("tail", "alerts", *only)[0]
    assert len(tocsin.lines("tail", "alerts", "--since", "1h", "--count", "2")) == 2


async def test_tail_notifications_decodes_shows_repairs_and_escapes(tocsin: Tocsin) -> None:
    topic = f"{tocsin.notifications}error"
    await tocsin.create(topic)
    hostile = orjson.dumps(
        {
            "event_type": "a.b",
            "publisher_id": _HOSTILE,
            "priority": _HOSTILE,
            "payload": {"text": _HOSTILE},
            "timestamp": "1970-01-01T00:00:00Z",
        }
    )
    values = [
        _value("plain.end", payload={"n": 1}),
        hostile,
        b"\x1b[2J not JSON \xff",
        None,
        b'{\n"event_type": "spread.out", "n": 1.50e3}',
    ]
    twice = [("h", b"\xff\x00"), ("h", b"text\x1b"), ("", b"")]
    await tocsin.produce(topic, (b"\xfekey", values[0], twice), *((None, value, []) for value in values[1:]))
    arguments = ("tail", "notifications", "--from-beginning", "--priority", "error", "--count", "5")

    shown = tocsin.lines(*arguments)
    assert len(shown) == 5
    assert "ERROR" in shown[0]
    assert 'plain.end  compute.h1  {"n":1}' in shown[0]
    assert "repaired" not in shown[0]
    assert "\\x1b]0;owned\\x07" in shown[1]
    assert "priority-unknown" in shown[1]
    assert "says 1970-01-01" in shown[1]
    assert f"unreadable: bad-utf8  {topic}/0/2" in shown[2]
    assert "unreadable: null-value" in shown[3]
    assert "payload-missing" in shown[4]
    assert all(line.isprintable() and "\u3164" not in line for line in shown)
    assert "\\u3164" in shown[1]

    printed = tocsin.lines(*arguments, "--json")
    objects = [orjson.loads(line) for line in printed]
    assert objects[0] == {
        "topic": topic,
        "partition": 0,
        "offset": 0,
        "timestamp_ms": objects[0]["timestamp_ms"],
        "key": {"base64": "/mtleQ=="},
        "headers": [["h", {"base64": "/wA="}], ["h", "text\x1b"], ["", ""]],
        "value": orjson.loads(values[0] or b""),
    }
    assert [it["key"] for it in objects[1:]] == [None] * 4
    assert objects[1]["value"] == orjson.loads(hostile)
    assert [it["unreadable"] for it in objects[2:4]] == ["bad-utf8", "null-value"]
    assert [it["offset"] for it in objects] == [0, 1, 2, 3, 4]
    assert base64.b64decode(objects[2]["value"]["base64"]) == values[2]
    assert objects[3]["value"] is None
    assert printed[4].endswith(',"value":{ "event_type": "spread.out", "n": 1.50e3}}')
    assert all(line.isprintable() and "\u3164" not in line for line in printed)
    # What cannot be read has no event type.
    matching = tocsin.objects(*arguments[:-1], "3", "--json", "--event-type", "*.?*")
    assert [it["value"]["event_type"] for it in matching] == ["plain.end", "a.b", "spread.out"]


async def test_tail_counts_tells_changes_of_totals(tocsin: Tocsin) -> None:
    await tocsin.create(tocsin.counts)
    now_ms = int(time.time() * 1000)

    def row(offset: int, as_of_ms: int, **totals: int) -> Record:
        seen = {name: TypeTotal(number, _NOW_MS) for name, number in totals.items()}
        body = PublicRow("ERROR", 10, 1000, offset, dict(totals), seen)
        return encode_key("ERROR", 10, 1000, 0), encode_value(body, as_of_ms), []

    await tocsin.produce(
        tocsin.counts,
        row(10, now_ms - 7_200_000, a=5, b=1),
        row(20, now_ms, a=9, b=1),
        # Late, by a worker that lost its partitions: no total falls.
        row(15, now_ms, a=7),
        (b"nonsense", b"{}", []),
        (encode_key("ERROR", 10, 0, 0), None, []),
        row(30, now_ms, a=1009),
    )
    found = tocsin.objects("tail", "counts", "--from-beginning", "--json", "--count", "4")
    assert [(it["event_type"], it["change"], it["total"]) for it in found] == [
        ("a", 5, 5),
        ("b", 1, 1),
        ("a", 4, 9),
        ("a", 1000, 1009),
    ]
    assert found[0]["priority"] == "ERROR"
    assert (found[0]["topic"], found[0]["offset"]) == (tocsin.counts, 0)
    assert found[0]["last_seen"] == "2023-11-14T22:13:20.000Z"
    since = tocsin.lines("tail", "counts", "--since", "1h", "--count", "2")
    assert "+4  = 9" in since[0]
    assert "+1,000  = 1,009" in since[1]


async def test_tail_follows_from_now_on_and_ends_on_ctrl_c(
    tocsin: Tocsin, processes: list[subprocess.Popen[bytes]]
) -> None:
    topic = f"{tocsin.alerts}error"
    await tocsin.create(topic)
    await tocsin.produce(topic, _alert(tocsin, _value("before"), Priority.ERROR))
    process = tocsin.start("tail", "alerts", "--severity", "error")
    processes.append(process)
    heard: Queue[bytes] = Queue()

    def listen() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            heard.put(line)

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    async with asyncio.timeout(BOUND_S):
        # Nobody knows from when on it follows: write until it tells.
        while heard.empty():
            await tocsin.produce(topic, _alert(tocsin, _value("after"), Priority.ERROR))
    assert b"after" in heard.get()
    process.send_signal(signal.SIGINT)
    assert await asyncio.to_thread(process.wait, BOUND_S) == 0
    listener.join(BOUND_S)
    assert not any(b"before" in line for line in list(heard.queue))
    assert process.stderr is not None
    assert process.stderr.read() == b""


async def test_tail_ends_quietly_when_its_reader_goes(
    tocsin: Tocsin, processes: list[subprocess.Popen[bytes]]
) -> None:
    topic = f"{tocsin.alerts}error"
    await tocsin.create(topic)
    await tocsin.produce(topic, _alert(tocsin, _value("one"), Priority.ERROR))
    process = tocsin.start("tail", "alerts", "--from-beginning")
    processes.append(process)
    assert process.stdout is not None
    assert process.stderr is not None
    assert b"one" in await asyncio.to_thread(process.stdout.readline)
    # Nothing more comes, so that it is not a failed write that ends it.
    process.stdout.close()
    assert await asyncio.to_thread(process.wait, BOUND_S) == 0
    assert process.stderr.read() == b""


async def test_a_missing_topic_is_a_wrong_configuration_and_stays_missing(tocsin: Tocsin) -> None:
    for arguments in (
        ("tail", "notifications"),
        ("tail", "alerts"),
        ("tail", "counts"),
        ("dead-letters", "list"),
    ):
        ended = tocsin.run(*arguments)
        assert ended.returncode == 78
        assert b"is missing" in ended.stderr
        assert b"tocsin topics apply" in ended.stderr
    async with admin_of(tocsin.bootstrap) as admin:
        assert not [
            topic for topic in await admin.list_topics() if topic.startswith(tocsin.env["TOCSIN_APP_ID"])
        ]


# ---------------------------------------------------------------- dead letters


async def test_list_shows_each_once_with_a_summary(tocsin: Tocsin) -> None:
    await tocsin.create(tocsin.dead)
    other = f"{tocsin.notifications}debug"
    letters = [
        _letter(tocsin, b"{", 0),
        _letter(tocsin, None, 1, reason=Reason.NULL_VALUE),
        # Written again after a crash: the same id.
        _letter(tocsin, b"{", 0),
        _letter(tocsin, _HOSTILE.encode(), 2, topic=other),
        truncated(_letter(tocsin, b"x" * 100_000, 3, reason=Reason.TOO_LARGE)),
    ]
    await tocsin.write(*letters)
    await tocsin.produce(tocsin.dead, (b"k", b"not ours", []), (b"k", b"v", [("tocsin-id", b"x")]))

    ended = tocsin.run("dead-letters", "list", "--json")
    assert ended.returncode == 0
    found = [orjson.loads(line) for line in ended.stdout.splitlines()]
    assert [it["id"] for it in found] == [_id(3), _id(2), _id(1), _id(0)]
    assert found[0] == {
        "id": _id(3),
        "reason": "too-large",
        "detail": "Why 3.",
        "topic": f"{tocsin.notifications}info",
        "partition": 0,
        "offset": 3,
        "timestamp": "2023-11-14T22:13:20.000Z",
        "at": "0/4",
        "dead_since": found[0]["dead_since"],
        "bytes": 65_536,
        "truncated": True,
        "replayed_from": None,
        "replays": 0,
        "state": "new",
        "replayed_at": None,
        "came_back_as": None,
    }
    assert [it["bytes"] for it in found[1:]] == [len(_HOSTILE.encode()), None, 1]
    summary = ended.stderr.decode().splitlines()
    assert summary[0] == "4 dead letters"
    assert sorted(line.split() for line in summary[1:4]) == [
        ["1", "null-value"],
        ["1", "too-large"],
        ["2", "not-json"],
    ]
    assert summary[4:] == [
        "Repeats after a crash, left out: 1.",
        f"Records of {tocsin.dead} that are no dead letters: 2.",
    ]

    table = tocsin.lines("dead-letters", "list", "--limit", "1", "--reason", "not-json")
    assert _id(2) in table[1]
    assert f"{other}/0/2" in table[1]
    assert "2 dead letters, the newest 1 listed" in table
    assert [it["id"] for it in tocsin.objects_of_list("--topic", other)] == [_id(2)]
    assert len(tocsin.objects_of_list("--since", "1h", "--all")) == 4


async def test_show_gives_the_original(tocsin: Tocsin) -> None:
    await tocsin.create(tocsin.dead)
    value = b"\x00\xff" + _HOSTILE.encode() + b"\r\nid  forged"
    letter = _letter(tocsin, value, 7, key=b"k\x1b", headers=(("h", b"v\x07"), ("tocsin-x", b"no")))
    (written,) = await tocsin.write(letter)

    shown = tocsin.lines("dead-letters", "show", _id(7))
    assert all(line.isprintable() and "\u3164" not in line for line in shown)
    text = "\n".join(shown)
    assert f"id         {_id(7)}" in shown
    assert "reason     not-json" in shown
    assert "detail     Why 7." in shown
    assert "key        k\\x1b" in shown
    assert "header     h: v\\x07" in shown
    assert "tocsin-x" not in text
    assert "\\x00\\xff\\x1b]0;owned\\x07" in text
    assert shown[-1] == "  id  forged"
    (found,) = tocsin.objects("dead-letters", "show", _id(7), "--json")
    assert base64.b64decode(found["value"]["base64"]) == value
    assert (found["key"], found["headers"]) == ("k\x1b", [["h", "v\x07"]])
    assert (found["id"], found["state"], found["bytes"]) == (_id(7), "new", len(value))
    assert tocsin.run("dead-letters", "show", _id(7), "--raw", "--json").returncode == 2
    assert tocsin.run("dead-letters", "show", _id(7), "--raw").stdout == value
    assert tocsin.run("dead-letters", "show", f"0/{written.offset}", "--raw").stdout == value
    for missing in (_id(8), "0/1", "5/0"):
        ended = tocsin.run("dead-letters", "show", missing)
        assert ended.returncode == 1
        assert missing in ended.stderr.decode()
        assert ended.stdout == b""


async def test_replay_sends_back_what_was_there(tocsin: Tocsin) -> None:
    info, debug = f"{tocsin.notifications}info", f"{tocsin.notifications}debug"
    await tocsin.create(tocsin.dead, info, debug)
    headers = (("trace", b"\xff\x00"), ("trace", b"again"), ("tocsin-reason", b"a publisher's own, stripped"))
    big = b"\x00" + b"y" * 900_000
    await tocsin.write(
        _letter(tocsin, b"\x00\xff{", 0, key=b"\x01key", headers=headers),
        _letter(tocsin, None, 1, key=b"only a key", reason=Reason.NULL_VALUE),
        _letter(tocsin, None, 2, reason=Reason.NULL_VALUE),
        _letter(tocsin, big, 3, topic=debug, reason=Reason.TOO_DEEP),
        _letter(tocsin, b"\x00\xff{", 0, key=b"\x01key", headers=headers),
    )

    dry = tocsin.lines("dead-letters", "replay", "--all", "--dry-run")
    assert dry[-1] == "would replay 4, failed 0"
    assert len(dry) == 5
    assert await tocsin.records(info) == await tocsin.records(debug) == []

    assert tocsin.lines("dead-letters", "replay", "--all", "--reason", "null-value") == [
        "replayed 2, failed 0"
    ]
    assert await tocsin.records(info) == [
        (b"only a key", None, _replay_of(1)),
        (None, None, _replay_of(2)),
    ]
    assert tocsin.lines("dead-letters", "replay", _id(0), "0/3", _id(3)) == ["replayed 2, failed 0"]
    replayed = (b"\x01key", b"\x00\xff{", [*headers[:2], *_replay_of(0)])
    assert (await tocsin.records(info))[2:] == [replayed]
    assert await tocsin.records(debug) == [(None, big, _replay_of(3))]
    # Elsewhere: as if it had come from there.
    elsewhere = ("dead-letters", "replay", "0/4", "--to-topic", debug)
    left_out = tocsin.run(*elsewhere)
    assert (left_out.returncode, left_out.stdout) == (0, b"replayed 0, failed 0\n")
    assert b"left out 1 that were replayed before and have not come back" in left_out.stderr
    assert tocsin.lines(*elsewhere, "--again") == ["replayed 1, failed 0"]
    assert (await tocsin.records(debug))[1:] == [
        (b"\x01key", b"\x00\xff{", [*headers[:2], *_replay_of(0, 2)])
    ]


async def test_replay_leaves_out_what_was_replayed(tocsin: Tocsin) -> None:
    info = f"{tocsin.notifications}info"
    await tocsin.create(tocsin.dead, info)
    await tocsin.write(*(_letter(tocsin, b"{", number) for number in range(4)))
    assert tocsin.lines("dead-letters", "replay", "--all") == ["replayed 4, failed 0"]
    # Two of the four are bad again, as a worker would say it; one of these for the second time.
    sent = await tocsin.records(info)
    again = [_letter(tocsin, b"{", 10 + index, headers=tuple(sent[index][2])) for index in (0, 1)]
    assert ("tocsin-replayed-from", _id(0).encode()) in again[0].headers
    await tocsin.write(*again)
    for _ in range(2):
        ended = tocsin.run("dead-letters", "replay", "--all")
        assert (ended.returncode, ended.stdout) == (0, b"replayed 0, failed 0\n")
        said = ended.stderr.decode()
        assert "left out 2 that were replayed before and have not come back" in said
        assert "left out 2 that were replayed before and are bad again: --again sends" in said
        assert "left out 2 for which a newer dead letter" in said
    assert await tocsin.records(info) == sent

    states = {it["id"]: (it["state"], it["replays"]) for it in tocsin.objects_of_list()}
    assert states == {
        _id(0): ("older", 0),
        _id(1): ("older", 0),
        _id(2): ("replayed", 0),
        _id(3): ("replayed", 0),
        _id(10): ("bad again", 1),
        _id(11): ("bad again", 1),
    }
    table = tocsin.lines("dead-letters", "list")
    assert any(_id(10) in line and "bad again (1)" in line for line in table)
    assert {"Replayed, and not back: 2.", "Bad again after a replay: 2."} < set(table)
    shown = "\n".join(tocsin.lines("dead-letters", "show", _id(0)))
    assert "\nreplayed   20" in shown
    assert f"\ncame back  {_id(10)}" in shown
    assert f"replay     1 of {_id(0)}" in tocsin.lines("dead-letters", "show", _id(10))

    dry = tocsin.run("dead-letters", "replay", "--all", "--again", "--dry-run")
    assert dry.stdout.decode().splitlines()[-1] == "would replay 2, failed 0"
    assert b", its replay 2)" in dry.stdout
    ended = tocsin.run("dead-letters", "replay", "--all", "--again")
    assert (ended.returncode, ended.stdout) == (0, b"replayed 2, failed 0\n")
    assert "that were replayed before and have not come back" in ended.stderr.decode()
    assert [headers for _, _, headers in (await tocsin.records(info))[4:]] == [
        _replay_of(10, 2),
        _replay_of(11, 2),
    ]
    # Until they come back, even --again has nothing to send.
    ended = tocsin.run("dead-letters", "replay", "--all", "--again")
    assert (ended.returncode, ended.stdout) == (0, b"replayed 0, failed 0\n")
    # By its id, any is sent.
    assert tocsin.lines("dead-letters", "replay", "--again", _id(2)) == ["replayed 1, failed 0"]
    assert [headers for _, _, headers in (await tocsin.records(info))[6:]] == [_replay_of(2, 2)]
    # What new letters there are is sent, whatever is left out.
    await tocsin.write(_letter(tocsin, b"{", 20))
    assert tocsin.run("dead-letters", "replay", "--all").stdout == b"replayed 1, failed 0\n"


async def test_replay_refuses_what_it_cannot_send_whole(tocsin: Tocsin) -> None:
    info = f"{tocsin.notifications}info"
    await tocsin.create(tocsin.dead, **{"max.message.bytes": "4000000"})
    await tocsin.create(info)
    await tocsin.write(
        truncated(_letter(tocsin, b"x" * 100_000, 0, reason=Reason.TOO_LARGE)),
        _letter(tocsin, b"{", 1, topic=f"{tocsin.notifications}gone"),
        _letter(tocsin, b"{", 2),
        _letter(tocsin, b"z" * 2_000_000, 3),
    )
    ended = tocsin.run("dead-letters", "replay", "--all")
    assert ended.returncode == 1
    assert ended.stdout == b"replayed 1, failed 3\n"
    said = ended.stderr.decode()
    assert f"{_id(0)} is cut" in said
    assert f"{tocsin.notifications}gone is missing" in said
    assert "MessageSizeTooLarge" in said
    assert [value for _, value, _ in await tocsin.records(info)] == [b"{"]
    # What failed was not replayed: another run tries it again.
    ended = tocsin.run("dead-letters", "replay", "--all")
    assert (ended.returncode, ended.stdout) == (1, b"replayed 0, failed 3\n")
    unknown = tocsin.run("dead-letters", "replay", "--again", _id(99), _id(2))
    assert (unknown.returncode, unknown.stdout) == (1, b"replayed 1, failed 1\n")
    assert _id(99) in unknown.stderr.decode()
