"""The page ``/dead-letters``: records that could not be read, and a form that sends them once more."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

from aiohttp import web

from streams.dead_letters.memory import MOST_VALUE, Latest, Letter
from streams.dead_letters.reading import Replayed, Wanted
from streams.dead_letters.topic import NEW, STILL_BAD
from streams.notifications.priority import Priority
from streams.notifications.reasons import MEANINGS
from tables.views.access import Access
from tables.views.counts_query import BadQueryError, parameters
from tables.views.dead_letters import MOST_SUMS, DeadLetters, at, escaped
from tables.views.pages.layout import Layout
from tables.views.problems import Problem, posted
from tables.views.times import rfc3339

#: Name of the route that asks for the right to change instead of the web token.
FORM_ROUTE: Final = "replay-form"
#: Dead letters of the page.
_ITEMS: Final = 100
#: Characters that are shown of a value.
_MOST_VALUE: Final = 500
#: Replays whose outcome is remembered, to be shown once they are done.
_MOST_DONE: Final = 50
_MOST_BODY: Final = 8 * 2**10
_ADDRESS: Final = "dead-letters"


@dataclass(frozen=True, slots=True)
class _Query:
    """What the address asks for: items of one reason, and what became of a replay."""

    reason: str | None
    done: str | None


class DeadLettersPage:
    """Handlers of the page.

    Args:
        layout: of all pages.
        letters: shows and replays them.
        access: says who may.
    """

    def __init__(self, layout: Layout, letters: DeadLetters, access: Access) -> None:
        self._layout = layout
        self._letters = letters
        self._access = access
        self._done: OrderedDict[str, Replayed] = OrderedDict()
        layout.pages.append(_ADDRESS)

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Add the routes."""
        router.add_get(f"/{_ADDRESS}", self.page)
        router.add_post(f"/{_ADDRESS}", self.replay, name=FORM_ROUTE)

    async def page(self, request: web.Request) -> web.Response:
        """The page."""
        mistake = None
        try:
            given = parameters(request.query, ("reason", "done"))
        except BadQueryError as error:
            mistake, given = str(error), {}
        query = _Query(given.get("reason"), given.get("done"))
        may_change = self._access.may_change(request)

        async def shown() -> Mapping[str, Any]:
            return await self._shown(query, may_change=may_change) | {"mistake": mistake}

        return await self._layout.render(
            request,
            "dead_letters.html",
            shown,
            here=_ADDRESS,
            status=400 if mistake else 200,
            keep=not may_change and query.done is None,
        )

    async def _shown(self, query: _Query, *, may_change: bool) -> dict[str, Any]:
        trouble, latest = None, Latest((), {}, (), 0, True, 0.0)
        try:
            latest = await self._letters.look()
        except Problem as problem:
            trouble = problem.detail
        letters = [each for each in latest.letters if query.reason in (None, each.reason)]
        # Only the beginning of what was published can be sent of no record.
        states = [latest.states[each.id] for each in letters if not each.truncated]
        return {
            "trouble": trouble,
            "reason": query.reason,
            "sums": [
                (each.reason, _priority(each.priority), each.count, each.size)
                for each in latest.sums[:MOST_SUMS]
            ],
            "reasons": sorted({each.reason for each in latest.sums}),
            "meanings": [(reason.value, meaning) for reason, meaning in MEANINGS.items()],
            "listed": len(latest.letters),
            "kept": len(letters),
            "new": states.count(NEW),
            "bad_again": states.count(STILL_BAD),
            "records": latest.records,
            "whole": latest.whole,
            "items": [self._item(each, latest) for each in letters[:_ITEMS]],
            # What comes later than what is on the page is not replayed with all of it.
            "until": letters[0].written_ms if letters else 0,
            "shows_payloads": self._letters.shows_payloads,
            "may_change": may_change,
            "takes_changes": self._access.takes_changes,
            "can_sign_in": self._access.admin_token is not None,
            "done": self._done.get(query.done or ""),
            "done_elsewhere": query.done is not None and query.done not in self._done,
        }

    def _item(self, letter: Letter, latest: Latest) -> dict[str, Any]:
        text = escaped(letter.value or b"")
        return {
            "id": letter.shown_id,
            "at": at(letter),
            "reason": letter.reason,
            "priority": _priority(letter.priority),
            "topic": letter.topic,
            "partition": letter.partition,
            "offset": letter.offset,
            "written": rfc3339(letter.written_ms / 1000, "seconds"),
            "size": letter.size,
            "truncated": letter.truncated,
            "state": latest.states[letter.id],
            "detail": letter.detail,
            "value": text[:_MOST_VALUE],
            "hidden": letter.value is None,
            "cut": len(text) > _MOST_VALUE or len(letter.value or b"") == MOST_VALUE,
        }

    async def replay(self, request: web.Request) -> web.Response:
        """Replay what the form says, and lead back to what was done."""
        visitor = self._letters.changes.check(request, "replay")
        form = await posted(request.clone(client_max_size=_MOST_BODY))
        wanted = _wanted(form)
        name = secrets.token_urlsafe(6)
        self._done[name] = await self._letters.replay(request, visitor, wanted)
        if len(self._done) > _MOST_DONE:
            self._done.popitem(last=False)
        onward = {"done": name}
        if reason := str(form.get("reason", "")):
            onward["reason"] = reason  # the list that the form stands in
        return web.Response(
            status=303, headers={"Location": f"{_ADDRESS}?{urlencode(onward, errors='replace')}"}
        )


def _wanted(form: Mapping[str, Any]) -> Wanted:
    """What a form of the page asks for.

    Raises:
        Problem: 400, it is none of them.
    """
    letter_id, reason, until = (str(form.get(name, "")) for name in ("id", "reason", "until"))
    if not letter_id and not (until.isascii() and until.isdigit() and len(until) <= 15):
        raise Problem(400, "Use the form of the page of dead letters.")
    return Wanted(
        ids=frozenset({letter_id}) if letter_id else None,
        reason=None if letter_id else reason or None,
        written_until_ms=None if letter_id else int(until),
        again=form.get("again") == "yes",
    )


def _priority(priority: Priority | None) -> str | None:
    return None if priority is None else priority.value
