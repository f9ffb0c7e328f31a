"""Errors over HTTP as problem details (RFC 9457), and the headers that every answer carries.

A detail is a fixed sentence. It never repeats what the client sent, unless that is a plain name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

import orjson
from aiohttp import web
from multidict import CIMultiDict, MultiDictProxy

#: Sent with every answer. The page needs its own style sheet, script and icon, and calls its own API.
SECURITY_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; "
        "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Server": "tocsin",  # otherwise aiohttp tells its version and Python's
}

_PLAIN_NAME = re.compile(r"[A-Za-z0-9_.-]{1,40}", re.ASCII)

_DETAILS: Final = {
    400: "This is not a valid HTTP request, or its address or headers are too long.",
    401: "Send the token of the web views (TOCSIN_WEB_TOKEN_FILE) as 'Authorization: Bearer <token>', or "
    "as a password.",
    404: "There is nothing at this address.",
    405: "This address does not take this method; the header Allow names those that it takes.",
    413: "The body is too large.",
    421: "Use localhost or the address of this machine, or put the name that you use into TOCSIN_WEB_HOSTS.",
    500: "The worker could not answer; its log says why.",
}


def route_of(request: web.Request) -> str:
    """Method and route of a request, for the log; nothing of the address, in which a token may stand."""
    resource = request.match_info.route.resource
    return f"{request.method[:10]} {'an unknown address' if resource is None else resource.canonical}"


class Problem(Exception):  # noqa: N818  it is an answer rather than an error of ours
    """An answer other than the one asked for; ``detail`` is one sentence that says what to change.

    ``more`` are further members of the body.
    """

    def __init__(
        self,
        status: int,
        detail: str | None = None,
        headers: Sequence[tuple[str, str]] = (),
        more: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.more = more or {}
        self.status = status
        self.detail = detail
        self.headers = headers


def plain(name: str) -> str:
    """``name`` in quotes when it is harmless to repeat, else words that stand for it."""
    return f"'{name}'" if _PLAIN_NAME.fullmatch(name) else "the one given"


def detail_of(problem: Problem) -> str:
    """The sentence that says what to change."""
    return problem.detail or _DETAILS.get(problem.status, f"{HTTPStatus(problem.status).phrase}.")


def problem_response(problem: Problem) -> web.Response:
    """The answer that tells of a problem."""
    title = HTTPStatus(problem.status).phrase
    body = {
        "type": "about:blank",
        "title": title,
        "status": problem.status,
        "detail": detail_of(problem),
        **problem.more,
    }
    response = web.Response(
        status=problem.status,
        body=orjson.dumps(body),
        content_type="application/problem+json",
        headers=CIMultiDict(problem.headers),
    )
    harden(response)
    return response


async def posted(request: web.BaseRequest) -> MultiDictProxy[Any]:
    """The form that a request has in its body.

    Raises:
        Problem: 400, it cannot be read; nothing of it is repeated.
    """
    try:
        return await request.post()
    except (ValueError, LookupError, AssertionError, RuntimeError):  # of hostile types, charsets and parts
        raise Problem(400, "The body is no form that can be read.") from None


def json_response(body: bytes) -> web.Response:
    """A body that is JSON already."""
    return web.Response(body=body, content_type="application/json")


def harden(response: web.StreamResponse) -> None:
    """Set the security headers; an answer that does not say for how long it may be kept is not kept."""
    response.headers.update(SECURITY_HEADERS)
    response.headers.setdefault("Cache-Control", "no-store")
