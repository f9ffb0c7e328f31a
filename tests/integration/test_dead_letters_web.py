"""Dead letters on the web views, and their replay, on a real Kafka."""

from __future__ import annotations

import asyncio
import re
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import orjson
import pytest
from faust.types import TP

from streams.dead_letters.latest import LatestDeadLetters
from streams.dead_letters.letters import REPLAYED_FROM, dead_letter
from streams.dead_letters.memory import Latest
from streams.dead_letters.reading import LettersUnavailableError, Wanted
from streams.notifications import Priority, Reason, Rejection
from streams.records import UnreadableRecord
from streams.settings import Settings
from tests.admin import apply_topics
from tests.integration.reading import read_all
from tests.integration.worker_process import SHORT_SESSION_TIMEOUT_S, Deployment, Worker, eventually
from tests.integration.writing import writer

pytestmark = pytest.mark.kafka

WEB = ["tocsin", "web"]
READ, CHANGE = "the-token-to-read-with", "the-token-to-change-with"
LONG = "compute." + "x" * 300
PAGE = {"Accept": "text/html"}
LEFT_OUT = (
    "1 left out that were replayed before and have not come back: they were counted or soon will be, and a "
    "second time would count twice."
)


def notification(event_type: str) -> bytes:
    return orjson.dumps(
        {
            "event_type": event_type,
            "publisher_id": "a",
            "message_id": event_type[-20:],
            "priority": "ERROR",
            "payload": {"secret": "<script>alert(1)</script>"},
        }
    )


@asynccontextmanager
async def client_of(worker: Worker) -> AsyncIterator[aiohttp.ClientSession]:
    await worker.ready()
    assert worker.address is not None
    host, port = worker.address
    # Cookies of an address go to it again.
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(f"http://{host}:{port}", cookie_jar=jar) as client:
        yield client


async def letters_of(client: aiohttp.ClientSession, **asked: str) -> dict[str, object]:
    """What is listed; asked again while Kafka does not answer in time, as on a busy machine."""
    found: dict[str, object] = {}

    async def listed() -> bool:
        async with client.get("/api/v1/dead-letters", params=asked) as answer:
            assert answer.status in {200, 503}, await answer.text()
            found.update(await answer.json())
            return answer.status == 200

    await eventually("dead letters are listed", listed)
    return found


async def looked(source: LatestDeadLetters) -> Latest:
    """A look; taken again while Kafka does not answer in time."""
    found: list[Latest] = []

    async def taken() -> bool:
        try:
            found.append(await source.look())
        except LettersUnavailableError:
            return False
        return True

    await eventually("dead letters are read", taken)
    return found[0]


async def has(client: aiohttp.ClientSession, number: int) -> bool:
    """Whether so many are listed; 503 says that Kafka did not answer in time, as on a busy machine."""
    async with client.get("/api/v1/dead-letters") as answer:
        assert answer.status in {200, 503}, await answer.text()
        return answer.status == 200 and bool((await answer.json())["listed"] == number)


async def sign_in(client: aiohttp.ClientSession, token: str) -> None:
    async with client.post("/sign-in", data={"token": token}, allow_redirects=False) as answer:
        assert answer.status == 303


async def post(client: aiohttp.ClientSession, form: dict[str, str], **headers: str) -> tuple[int, str]:
    """Status and where to go on."""
    async with client.post("/dead-letters", data=form, headers=headers, allow_redirects=False) as answer:
        return answer.status, answer.headers.get("Location", "")


async def counted(client: aiohttp.ClientSession, event_type: str) -> int:
    asked = {"window": "total", "event_type": event_type}
    async with client.get("/api/v1/counts", params=asked) as answer:
        return sum(item["count"] for item in (await answer.json())["items"])


async def replayed(client: aiohttp.ClientSession) -> dict[str, float]:
    async with client.get("/metrics") as answer:
        text = await answer.text()
    found = re.findall(r"^tocsin_web_(?:replayed|changes)_total\{(.*)\} (\S+)$", text, re.MULTILINE)
    return {labels: float(value) for labels, value in found if float(value)}


async def test_a_dead_letter_appears_and_is_replayed_by_the_form_of_who_may_change(
    deployment: Deployment,
) -> None:
    deployment.configure(
        web_token=READ, admin_token=CHANGE, metrics_open="true", flush_interval_s="0.2", web_payloads="true"
    )
    strict = deployment.worker("strict").start()
    await strict.ready()
    web = deployment.worker("web", command=WEB).start()
    async with client_of(web) as client, writer(deployment.settings) as out:
        await sign_in(client, READ)
        topic = deployment.settings.notification_topic(Priority.ERROR)
        place = await out.raw(topic, notification(LONG))
        await out.raw(topic, b"\xff<b>")
        await eventually("both dead letters are listed", lambda: has(client, 2))
        found = await letters_of(client, reason="event-type-too-long")
        (letter,) = found["items"]  # type: ignore[misc]
        assert (letter["topic"], letter["partition"], letter["offset"]) == place
        assert (letter["priority"], letter["state"], letter["bytes"]) == (
            "ERROR",
            "new",
            len(notification(LONG)),
        )
        assert len(found["sums"]) == 2  # type: ignore[arg-type]
        # The worker shows the same.
        async with client_of(strict) as other:
            await sign_in(other, READ)
            assert (await letters_of(other, reason="event-type-too-long"))["items"] == [letter]
        async with client.get("/dead-letters", headers=PAGE) as answer:
            page = await answer.text()
        assert "\\xff&lt;b&gt;" in page
        assert "<script>alert" not in page
        assert "sign in with the token for changes" in page
        assert 'method="post"' not in page.partition("<footer")[0]
        # A worker that takes longer names.
        await strict.stop()
        lenient = deployment.worker("lenient", max_event_type_length="400").start()
        await lenient.ready()
        form = {"id": letter["id"]}
        assert (await post(client, form))[0] == 401
        await sign_in(client, CHANGE)
        for origin in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
            assert (await post(client, form, **origin))[0] == 403
        assert await counted(client, LONG) == 0
        assert (await letters_of(client))["records"] == 2, "nothing was replayed"
        status, onward = await post(client, form, Origin=str(client._base_url).rstrip("/"))
        assert (status, onward[:18]) == (303, "dead-letters?done=")
        async with client.get(f"/{onward}", headers=PAGE) as answer:
            assert "1 replayed</h2>" in await answer.text()

        async def is_counted() -> bool:
            return await counted(client, LONG) == 1

        await eventually("the notification is counted", is_counted)
        # Once more: it is left out, as the command does it.
        _, onward = await post(client, form)
        async with client.get(f"/{onward}", headers=PAGE) as answer:
            assert "0 replayed, 1 left out</h2>" in await answer.text()
        states = {each["id"]: each["state"] for each in (await letters_of(client))["items"]}  # type: ignore[attr-defined]
        assert states == {letter["id"]: "replayed"} | {each: "new" for each in states if each != letter["id"]}
        # All that are listed: the other one, which is bad again, and stands for the first of it.
        async with client.post("/api/v1/dead-letters/replay", json={"all": True}) as answer:
            assert (answer.status, await answer.json()) == (
                200,
                {
                    "replayed": 1,
                    "failed": 0,
                    "left_out": 1,
                    "sentences": [
                        LEFT_OUT,
                    ],
                },
            )
        await eventually("the other one is bad again", lambda: has(client, 3))
        states = {each["state"] for each in (await letters_of(client))["items"]}  # type: ignore[attr-defined]
        assert states == {"replayed", "bad again", "older"}
        assert await replayed(client) == {
            'change="replay",outcome="done"': 3,
            'change="replay",outcome="refused"': 3,
            'outcome="replayed"': 2,
            'outcome="left_out"': 2,
        }
        assert await counted(client, LONG) == 1
    log = web.log()
    assert f"replay of {letter['id']}: 1 replayed, 0 failed, 0 left out; by session " in log
    assert "with the right of changing, from 127.0.0.1." in log
    assert CHANGE not in log


async def test_what_came_later_stays_and_a_reader_that_was_stopped_can_be_asked_again(
    deployment: Deployment,
) -> None:
    settings = deployment.settings
    await apply_topics(settings)
    source = LatestDeadLetters(settings)
    async with writer(settings) as out:
        assert (await looked(source)).letters == []
        topic = settings.notification_topic(Priority.INFO)
        for number in range(20):
            bad = UnreadableRecord(topic, 0, number, "", found=b"bad %d" % number)
            letter = dead_letter(
                settings.dead_letter_topic, TP(topic, 0), bad, "source", Rejection(Reason.NOT_JSON, "why")
            )
            await out.raw(letter.topic, letter.value, letter.headers or ())

        async def all_there() -> bool:
            return len((await looked(source)).letters) == 20

        await eventually("all are listed", all_there)
        latest = await looked(source)
        assert latest.whole
        assert [(each.count, each.priority) for each in latest.sums] == [(20, Priority.INFO)]
        times = [each.written_ms for each in latest.letters]
        assert times == sorted(times, reverse=True)
        until = latest.letters[10].written_ms
        wanted = Wanted(written_until_ms=until)
        expected = {each.id for each in latest.letters if each.written_ms <= until}
        first, second = await asyncio.gather(source.replay(wanted), source.replay(wanted))
        assert (first.done, first.failed, first.left_out) == (len(expected), 0, 0)
        # The second begins when the first has ended, and finds its notes.
        assert (second.done, second.failed, second.left_out) == (0, 0, len(expected))
        await source.stop()
        states = (await looked(source)).states
        assert {each for each, state in states.items() if state == "replayed"} == expected
        await source.stop()
        sent = [
            dict(record.headers)["tocsin-replayed-from"].decode()
            for record in await read_all(settings.brokers, topic)
        ]
        assert len(sent) == len(expected)
        assert set(sent) == expected


async def test_a_topic_that_is_not_there_is_told_in_a_sentence(deployment: Deployment) -> None:
    source = LatestDeadLetters(deployment.settings)
    for _ in range(2):
        with pytest.raises(LettersUnavailableError, match=r"^The topic .* is missing: run `tocsin topics"):
            await source.look()
    await source.stop()


async def sends_of(settings: Settings, topic: str) -> Counter[str]:
    """How often each dead letter was sent again."""
    return Counter(
        dict(record.headers)[REPLAYED_FROM].decode()
        for record in await read_all(settings.brokers, topic)
        if REPLAYED_FROM in dict(record.headers)
    )


async def test_a_worker_killed_in_a_replay_loses_nothing_and_repeats_each_once_at_most(
    deployment: Deployment,
) -> None:
    deployment.configure(
        admin_token=CHANGE, flush_interval_s="0.2", session_timeout_s=f"{SHORT_SESSION_TIMEOUT_S}"
    )
    settings, number = deployment.settings, 1100
    topic = settings.notification_topic(Priority.ERROR)
    strict = await deployment.worker("strict").start().ready()
    async with writer(settings) as out:
        for _ in range(number // 100):
            await asyncio.gather(*(out.raw(topic, notification(LONG) + b" " * 4000) for _ in range(100)))
    headers = {"Authorization": f"Bearer {CHANGE}"}
    async with client_of(strict) as client:
        await eventually("all are dead letters", lambda: has(client, number))
    await strict.stop()
    deployment.configure(max_event_type_length="400")
    killed = deployment.worker("lenient", command=["tests.integration.killed_replayer", "worker"]).start()
    web = deployment.worker("web", command=WEB).start()
    source = LatestDeadLetters(settings)
    async with client_of(killed) as client, client_of(web) as other:
        with pytest.raises(aiohttp.ClientError):
            for _ in range(10):  # again where it was cut short, as on a busy machine
                await client.post("/api/v1/dead-letters/replay", json={"all": True}, headers=headers)
        assert await killed.ended() == -signal.SIGKILL
        sent = await sends_of(settings, topic)
        assert 0 < len(sent) < number, "it was killed on the way"
        # Those that are noted are told so; the others are new, and are sent by another process.
        states = Counter((await looked(source)).states.values())
        assert set(states) <= {"new", "replayed"}
        assert states.total() == number
        assert states["replayed"] <= len(sent)
        done = 0
        while done < states["new"]:
            # Again where it was cut short, as on a busy machine.
            async with other.post(
                "/api/v1/dead-letters/replay", json={"all": True}, headers=headers
            ) as answer:
                found = await answer.json()
            assert (found["failed"], found["left_out"]) == (0, states["replayed"] + done)
            assert found["replayed"] > 0
            done += found["replayed"]
        assert done == states["new"]
        sent = await sends_of(settings, topic)
        assert len(sent) == number
        assert max(sent.values()) <= 2
        await deployment.worker("lenient").start().ready()

        async def all_are_counted() -> bool:
            return await counted(other, LONG) == sent.total()

        await eventually("each that was sent is counted", all_are_counted)

        async def all_are_told() -> bool:
            return Counter((await looked(source)).states.values()) == {"replayed": number}

        await eventually("each is told as replayed", all_are_told)
    await source.stop()
