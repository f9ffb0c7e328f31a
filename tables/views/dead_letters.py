"""``/api/v1/dead-letters``: the latest dead letters; and their replay, for the API and the page.

``GET /api/v1/dead-letters``
    ``reason``, ``priority`` and ``limit`` (100, at most 1000) choose the items; ``sums`` are of all that are
    listed.

``POST /api/v1/dead-letters/replay``
    The body is ``{"ids": [...]}``, ``{"reason": "not-json"}`` or ``{"all": true}``, with ``until`` and
    ``again``. It needs the right to change.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Final

import msgspec
from aiohttp import web

from streams.dead_letters.memory import Latest, Letter
from streams.dead_letters.reading import LettersUnavailableError, Replayed, Wanted
from streams.notifications.notification import Reason
from streams.notifications.priority import Priority
from streams.notifications.visible import visible
from tables.views.bodies import (
    DeadLetterItem,
    DeadLettersBody,
    DeadLetterSumItem,
    ReplayBody,
    ReplayRequestBody,
)
from tables.views.changes import Changes
from tables.views.counts_query import MOST_ITEMS, BadQueryError, choice, parameters
from tables.views.problems import Problem, json_response
from tables.views.reader_lane import ReaderLane
from tables.views.rights import Visitor
from tables.views.sources import Sources
from tables.views.times import parse_time, rfc3339

log = logging.getLogger(__name__)

#: Name of the route that asks for the right to change instead of the web token.
REPLAY_ROUTE: Final = "replay-dead-letters"
#: Sums by reason and priority that are shown.
MOST_SUMS: Final = 60
_ITEMS: Final = 100
_MOST_BODY: Final = 64 * 2**10
#: Replays that may wait for one that is under way.
_MOST_WAITING: Final = 8
#: Seconds that a look is waited for.
_LOOK_S: Final = 20.0
_encode: Final = msgspec.json.Encoder().encode


class DeadLetters:
    """Shows and replays dead letters; used by the API and the page.

    Args:
        sources: of the dead letters, and whether payloads may be shown.
        changes: lets replays through.
    """

    def __init__(self, sources: Sources, changes: Changes) -> None:
        self.changes = changes
        self._sources = sources
        self._replays: set[asyncio.Task[Replayed]] = set()

    @property
    def shows_payloads(self) -> bool:
        """Whether what publishers wrote may be shown."""
        return self._sources.settings.web_payloads

    async def look(self) -> Latest:
        """The latest dead letters.

        Raises:
            Problem: 503, they cannot be read.
        """
        try:
            async with asyncio.timeout(_LOOK_S):
                return await self._sources.dead_letters.look()
        except LettersUnavailableError as error:
            raise Problem(503, str(error), [("Retry-After", "10")]) from None
        except TimeoutError:
            raise Problem(
                503, "The dead letters are still being read: ask again in a moment.", [("Retry-After", "5")]
            ) from None

    async def replay(self, request: web.Request, visitor: Visitor, wanted: Wanted) -> Replayed:
        """Replay some; it goes on to its end, and is noted, though nobody may wait for it.

        Raises:
            Problem: 503, nothing can be replayed, or it was stopped.
        """
        if len(self._replays) > _MOST_WAITING:
            raise Problem(503, "Other replays are under way: ask again in a moment.", [("Retry-After", "5")])
        task = asyncio.create_task(self._replay(request, visitor, wanted), name="replay-dead-letters")
        self._replays.add(task)
        task.add_done_callback(self._replays.discard)
        try:
            return await asyncio.shield(task)
        except LettersUnavailableError as error:
            raise Problem(503, str(error)) from None

    async def _replay(self, request: web.Request, visitor: Visitor, wanted: Wanted) -> Replayed:
        which = _named(wanted)
        try:
            done = await self._sources.dead_letters.replay(wanted)
        except LettersUnavailableError as error:
            self.changes.note(
                request, visitor, "replay", f"replay of {which}: {visible(str(error))}", "failed"
            )
            raise
        self.changes.replayed.update(replayed=done.done, failed=done.failed, left_out=done.left_out)
        what = f"replay of {which}: {done.done} replayed, {done.failed} failed, {done.left_out} left out"
        self.changes.note(request, visitor, "replay", what, "failed" if done.failed else "done")
        return done


def _named(wanted: Wanted) -> str:
    if wanted.ids is not None:
        ids = sorted(map(visible, wanted.ids))
        return f"{', '.join(ids[:10])}{f' and {len(ids) - 10} more' if len(ids) > 10 else ''}"
    return "all" if wanted.reason is None else f"all with the reason {visible(wanted.reason)}"


class DeadLettersApi:
    """Handlers of the API.

    Args:
        letters: shows and replays them.
        lane: in which bodies are put together.
    """

    def __init__(self, letters: DeadLetters, lane: ReaderLane) -> None:
        self._letters = letters
        self._lane = lane

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Add the routes."""
        router.add_get("/api/v1/dead-letters", self.latest)
        router.add_post("/api/v1/dead-letters/replay", self.replay, name=REPLAY_ROUTE)

    async def latest(self, request: web.Request) -> web.Response:
        """The latest dead letters."""
        reason, priority, limit = parse_letters_query(request.query)
        latest = await self._letters.look()
        _check_reason(reason, latest)
        items: list[DeadLetterItem] = []
        async with self._lane.work() as pieces:
            for letter in latest.letters:
                if len(items) == limit:
                    break
                if reason in (None, letter.reason) and priority in (None, letter.priority):
                    items.append(self._item(letter, latest))
                await pieces.rest()
            body = DeadLettersBody(
                as_of=rfc3339(latest.as_of),
                complete=latest.whole,
                missing_partitions=[],
                records=latest.records,
                listed=len(latest.letters),
                sums=[
                    DeadLetterSumItem(each.reason, each.priority, each.count, each.size)
                    for each in latest.sums[:MOST_SUMS]
                ],
                items=items,
            )
            return json_response(_encode(body))

    def _item(self, letter: Letter, latest: Latest) -> DeadLetterItem:
        return DeadLetterItem(
            id=letter.shown_id,
            reason=letter.reason,
            priority=letter.priority,
            topic=letter.topic,
            partition=letter.partition,
            offset=letter.offset,
            at=at(letter),
            dead_since=rfc3339(letter.written_ms / 1000),
            bytes=letter.size,
            truncated=letter.truncated,
            state=latest.states[letter.id],
            replays=letter.replays,
            detail=letter.detail or None,
            value=None if letter.value is None else escaped(letter.value),
        )

    async def replay(self, request: web.Request) -> web.Response:
        """Replay some."""
        visitor = self._letters.changes.check(request, "replay")
        if request.content_type != "application/json":
            raise Problem(415, "Send the body as application/json.")
        wanted = parse_wanted(await request.clone(client_max_size=_MOST_BODY).read())
        if wanted.reason not in (None, *Reason):
            _check_reason(wanted.reason, await self._letters.look())
        done = await self._letters.replay(request, visitor, wanted)
        return json_response(_encode(ReplayBody(done.done, done.failed, done.left_out, done.sentences)))


def _check_reason(reason: str | None, latest: Latest) -> None:
    """Refuse a reason that Tocsin does not know and that no dead letter has: it is a mistake in writing.

    Another version, or another program, may have written dead letters with reasons of its own.

    Raises:
        Problem: 400 with the reasons that there are.
    """
    if reason is None or any(each.reason == reason for each in latest.sums):
        return
    try:
        choice({"reason": reason}, "reason", "", Reason)
    except BadQueryError as error:
        raise Problem(400, str(error)) from None


def at(letter: Letter) -> str:
    """Partition and offset in the dead-letter topic, as the commands name a dead letter."""
    return f"{letter.lies_in[0]}/{letter.lies_in[1]}"


def escaped(value: bytes) -> str:
    """Bytes as text; what is not UTF-8, or cannot be seen, is escaped."""
    return visible(value.decode("utf-8", "backslashreplace"))


def parse_letters_query(query: Mapping[str, str]) -> tuple[str | None, Priority | None, int]:
    """Reason, priority and number of items.

    Raises:
        BadQueryError: with one sentence that says what to change.
    """
    given = parameters(query, ("reason", "priority", "limit"))
    priority = None
    if "priority" in given:
        priority = Priority.parse(given["priority"])
        if priority is None:
            raise BadQueryError(f"'priority' must be one of {', '.join(Priority)}.")
    limit = given.get("limit", str(_ITEMS))
    if not (limit.isascii() and limit.isdigit() and len(limit) <= 4 and 1 <= int(limit) <= MOST_ITEMS):
        raise BadQueryError(f"'limit' must be a whole number from 1 to {MOST_ITEMS}.")
    return given.get("reason"), priority, int(limit)


def parse_wanted(body: bytes) -> Wanted:
    """Which dead letters are to be replayed.

    Raises:
        Problem: 400 with one sentence that says what to change; nothing of the body is repeated.
    """
    try:
        asked = msgspec.json.decode(body, type=ReplayRequestBody)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Problem(
            400,
            "Send a JSON object with one of 'ids' (at most 100), 'reason' or 'all', and with 'until' or "
            "'again' if you like.",
        ) from None
    if (asked.ids is not None) + (asked.reason is not None) + asked.all != 1:
        raise Problem(400, "Say which: 'ids', 'reason', or 'all' as true; one of them.")
    until = None
    if asked.until is not None:
        try:
            until = int(parse_time(asked.until) * 1000)
        except ValueError:
            raise Problem(400, "'until' must be a time such as 2026-11-01T12:00:00Z.") from None
    return Wanted(None if asked.ids is None else frozenset(asked.ids), asked.reason, until, again=asked.again)
