"""A replay that is cut short: what was sent is counted and noted all the same."""

from __future__ import annotations

import asyncio

import pytest
from faust.types import TP

from streams.dead_letters.letters import dead_letter, noted_replay, parse
from streams.dead_letters.replay import Replay
from streams.dead_letters.topic import Found
from streams.notifications import Reason, Rejection
from streams.outgoing import Outgoing
from streams.records import UnreadableRecord
from streams.settings import load_settings

SETTINGS = load_settings(brokers="127.0.0.1:1")


class Producer:
    """Takes everything, and confirms it when it is told to."""

    def __init__(self) -> None:
        self.sent: list[tuple[Outgoing, asyncio.Future[None]]] = []
        self.stopped = False

    async def enqueue(self, record: Outgoing) -> asyncio.Future[None]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if record.topic == SETTINGS.dead_letter_topic:
            future.set_result(None)
        self.sent.append((record, future))
        return future

    async def stop(self, _: float) -> bool:
        self.stopped = True
        return True


def found(offset: int) -> Found:
    record = UnreadableRecord("in", 0, offset, "")
    letter = dead_letter(
        SETTINGS.dead_letter_topic, TP("in", 0), record, "source:0", Rejection(Reason.NOT_JSON, "why")
    )
    read = parse(letter.key, letter.value, letter.headers)
    assert read is not None
    return Found(read, 3, offset, 0)


async def test_what_is_confirmed_after_an_interruption_is_counted_and_noted() -> None:
    told: list[str] = []
    replay = Replay(SETTINGS, None, lambda sentence, _: told.append(sentence))
    producer = Producer()
    replay._producer = producer  # type: ignore[assignment]
    for offset in range(3):
        await replay._send("in", found(offset), 1, producer)  # type: ignore[arg-type]
    settling = asyncio.create_task(replay._settle())
    await asyncio.sleep(0)
    settling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await settling
    first, second, third = (future for _, future in producer.sent)
    first.set_result(None)
    second.set_result(None)
    third.set_exception(OSError("refused"))
    assert await replay.stop()
    assert producer.stopped
    assert (replay.done, replay.failed) == (2, 1)
    notes = [record for record, _ in producer.sent[3:]]
    assert [noted_replay(note.headers) for note in notes] == ["source:0:0", "source:0:1"]
    assert {note.partition for note in notes} == {3}
    assert told == ["source:0:2: OS: refused."]
