"""What is changed through the web views: by whom, from where, and how often."""

from __future__ import annotations

import logging
from collections import Counter
from typing import Final, Literal

from aiohttp import web

from streams.notifications.visible import visible
from tables.views.access import Access
from tables.views.origin import check_origin
from tables.views.problems import Problem
from tables.views.rights import Visitor

log = logging.getLogger(__name__)

#: What can be changed.
ChangeName = Literal["scheduler", "replay"]
#: What became of a change that was asked for.
ChangeOutcome = Literal["done", "failed", "refused"]
CHANGES: Final[tuple[ChangeName, ...]] = ("scheduler", "replay")
CHANGE_OUTCOMES: Final[tuple[ChangeOutcome, ...]] = ("done", "failed", "refused")
#: What became of dead letters that were to be replayed.
ReplayOutcome = Literal["replayed", "failed", "left_out"]
REPLAY_OUTCOMES: Final[tuple[ReplayOutcome, ...]] = ("replayed", "failed", "left_out")


class Changes:
    """Lets changes through, one line in the log for each.

    Args:
        access: says who may.
    """

    def __init__(self, access: Access) -> None:
        self._access = access
        #: Changes that were asked for.
        self.counts: Counter[tuple[ChangeName, ChangeOutcome]] = Counter()
        #: Dead letters that were to be replayed.
        self.replayed: Counter[ReplayOutcome] = Counter()

    def check(self, request: web.Request, change: ChangeName) -> Visitor:
        """Refuse whoever may not, and what a page of another site asks for; else who it is.

        Raises:
            Problem: 403, 401 or 429.
        """
        try:
            check_origin(
                request,
                self._access.proxies.hosts(request),
                "Ask for changes on a page of these web views, and not from another site.",
            )
            return self._access.changer(request)
        except Problem as problem:
            self.counts[change, "refused"] += 1
            address = self._access.proxies.client_address(request)
            log.warning("Refused a change (%s) from %s: %s.", change, address, problem.status)
            raise

    def note(
        self,
        request: web.Request,
        visitor: Visitor,
        change: ChangeName,
        what: str,
        outcome: ChangeOutcome = "done",
    ) -> None:
        """Note a change that was let through.

        Args:
            request: that asked for it.
            visitor: who it is.
            change: of which kind.
            what: what was done, for the log.
            outcome: what became of it.
        """
        self.counts[change, outcome] += 1
        log.info(
            "Changed by the web views (%s, %s): %s; by %s, with the right of %s, from %s.",
            change,
            outcome,
            what,
            visible(visitor.name),
            visitor.right,
            self._access.proxies.client_address(request),
        )
