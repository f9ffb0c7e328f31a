"""Addresses of the pages, relative to any of them. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import quote, urlencode

from tables.views.matrix import SORTS, URGENT

#: A longer name, as it is written in an address, is left out of it, and a short one made from it put there.
_MOST_NAME: Final = 200


def event_id(event_type: str) -> str:
    """A short name for an event type whose own name is too long for an address."""
    return hashlib.blake2b(event_type.encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()


def is_long(event_type: str) -> bool:
    """Whether an event type goes by its `event_id` in addresses."""
    return len(_quoted(event_type)) > _MOST_NAME


def _quoted(event_type: str) -> str:
    if len(event_type) > _MOST_NAME:
        return event_type
    return quote(event_type, safe="", errors="surrogatepass")


def event_address(event_type: str, **more: str) -> str:
    """The page of an event type, with other parameters after it; empty ones are left out."""
    name = _quoted(event_type)
    address = f"event?type={name}" if len(name) <= _MOST_NAME else f"event?id={event_id(event_type)}"
    return "&".join([address, *(f"{key}={quote(value, safe='')}" for key, value in more.items() if value)])


def counts_address(asked: Mapping[str, str]) -> str:
    """The page Counts with some parameters."""
    return f"counts?{urlencode(asked)}" if asked else "counts"


# -------------------------------------------------------------------- bookmarks of before 0.9

#: Parameters that the page at ``/`` took, but for its cursor, which is of an order that is no more.
_TAKEN: Final = ("window", "event_type", "priority", "sort", "limit", "cursor")
_ORDERS: Final = {
    "count": "total",
    "-count": "-total",
    "priority": URGENT,
    "-priority": "critical",
}


def moved(query: Iterable[tuple[str, str]]) -> str | None:
    """Where a page is now that was asked for at ``/`` with parameters; None where that was another one."""
    given = [(name, value) for name, value in query if name in _TAKEN]
    if not given:
        return None
    asked = {name: value for name, value in given if value and name != "cursor"}
    if "sort" in asked:
        asked["sort"] = _ORDERS.get(asked["sort"], asked["sort"])
        if asked["sort"] == URGENT or asked["sort"] not in SORTS:
            del asked["sort"]
    return counts_address(asked)
