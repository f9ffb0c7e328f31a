"""Whether a change is asked for by a page of these web views, and not by one of another site."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final
from urllib.parse import urlsplit

from aiohttp import web

from tables.views.problems import Problem

_DEFAULT_PORTS: Final = {"http": ":80", "https": ":443"}


def check_origin(request: web.BaseRequest, hosts: Collection[str], sentence: str) -> None:
    """Refuse what the page of another site lets a browser send.

    Args:
        request: that asks for a change.
        hosts: host and port by which a browser may know these web views, in lower case.
        sentence: says where to ask for it instead.

    Raises:
        Problem: 403.
    """
    site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    if site is not None:
        same = site in ("same-origin", "none")
    else:
        # A browser that tells of no site, as without TLS; programs send neither.
        same = origin is None or _is_one_of(origin, hosts)
    if not same:
        raise Problem(403, sentence)


def _is_one_of(origin: str, hosts: Collection[str]) -> bool:
    try:
        parts = urlsplit(origin.lower())
    except ValueError:
        return False
    # A proxy may name the port though it is the usual one, which no browser does.
    usual = _DEFAULT_PORTS.get(parts.scheme, "")
    return parts.netloc != "" and (parts.netloc in hosts or parts.netloc + usual in hosts)
