"""The page on which a person signs in with the token, and the ways to it and out again.

Programs send the token with each request. A browser that asks for a page without it is shown the way here,
and afterwards back to where it wanted to go.
"""

from __future__ import annotations

import math
import re
from typing import Final
from urllib.parse import quote

from aiohttp import web
from jinja2 import Environment

from tables.views.access import Access
from tables.views.origin import check_origin
from tables.views.prefix import SLASH_ROUTE, Prefix
from tables.views.problems import posted
from tables.views.rights import Right
from tables.views.sessions import COOKIE, SESSION_S, WrongTokens

_FORM_ROUTE: Final = "session-form"
_IN_ROUTE: Final = "session-begin"
_OUT_ROUTE: Final = "session-end"
_FILE_ROUTE: Final = "static"
#: Of the page, the parameter that says whence a browser was led under the path of a proxy, where the cookie
#: of a session is sent: from a page, which it may read with any session; or from the page to sign in on, on
#: which one who may read can gain something. Nobody is led there twice, for a proxy may take the path out.
_LED: Final = "led"
_FROM_PAGE: Final = "page"
_FROM_FORM: Final = "form"
#: Of these, and of the files that the page needs, nobody is asked for a token.
OPEN_ROUTES: Final = frozenset({_FORM_ROUTE, _IN_ROUTE, _OUT_ROUTE, _FILE_ROUTE, SLASH_ROUTE})
#: Where to go on: a path and query within the web views, so that a link can lead nowhere else. Nothing that
#: has matched is tried another way (the last "+" of each repetition): else 40 characters that do not match
#: would hold the event loop for hours, and nobody has to sign in to send them.
_WITHIN: Final = re.compile(r"(?:[A-Za-z0-9_.~%-]++/?+)*+(?:\?[!-;=?-~]*+)?+", re.ASCII)
_MOST_CHARS: Final = 600


class SignIn:
    """Handlers of signing in and out.

    Args:
        access: knows the tokens and the sessions.
        prefix: tells under which path a browser sees the web views, and whether it came by TLS.
        environment: of the templates.
    """

    def __init__(self, access: Access, prefix: Prefix, environment: Environment) -> None:
        self._access = access
        self._sessions = access.sessions
        self._prefix = prefix
        self._template = environment.get_template("sign_in.html")
        self._again_template = environment.get_template("again.html")
        self._wrong = WrongTokens()

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Add the routes."""
        router.add_get("/sign-in", self.form, name=_FORM_ROUTE)
        router.add_post("/sign-in", self.sign_in, name=_IN_ROUTE)
        router.add_post("/sign-out", self.sign_out, name=_OUT_ROUTE)

    async def form(self, request: web.Request) -> web.Response:
        """The page; who can gain nothing by signing in is sent on."""
        onward, led = _within(request.query.get("next", "")), request.query.get(_LED)
        if self._sessions is None:
            return _see_other(f"./{onward}")
        known = self._sessions.visitor(request)
        if known is None and led is None and (up := self._prefix.onward_from(request)):
            return _see_other(f"{up}{_form(onward, _FROM_FORM)}")
        enough = Right.READ if self._access.admin_token is None or led == _FROM_PAGE else Right.CHANGE
        if known is not None and known.right in (enough, Right.CHANGE):
            return _see_other(f"./{onward}")
        return self._shown(onward)

    async def sign_in(self, request: web.Request) -> web.Response:
        """Begin a session for whoever gives the token."""
        self._check_origin(request)
        form = await posted(request)
        given, onward = form.get("token"), _within(str(form.get("next", "")))
        address = self._access.proxies.client_address(request)
        if (wait_s := self._wrong.wait_s(address)) > 0:
            return self._shown(onward, status=429, wait_s=math.ceil(wait_s))
        if self._sessions is None:
            return _see_other(f"./{onward}")
        token = given.strip() if isinstance(given, str) else ""
        right = self._access.right_of(token.encode("utf-8", "surrogatepass"))
        if right is None:
            self._wrong.note(address)
            return self._shown(onward, status=403)
        response = _see_other(f"{self._prefix.onward_from(request) or './'}{onward}")
        path, secure = self._cookie_place(request)
        self._sessions.begin(response, path=path, secure=secure, right=right)
        return response

    async def sign_out(self, request: web.Request) -> web.Response:
        """End the session in this browser, and for whoever else has its cookie in this process."""
        self._check_origin(request)
        if self._sessions is not None:
            self._sessions.end(request)
        response = _see_other("sign-in" if self._sessions is not None else "./")
        path, secure = self._cookie_place(request)
        response.del_cookie(COOKIE, path=path, secure=secure, httponly=True, samesite="Strict")
        return response

    def instead(self, request: web.Request) -> web.Response | None:
        """What a browser gets that asks for a page without the token; None for anything else.

        A browser that follows a link of another site keeps the cookie of a session back, for it is a strict
        one. It is let ask once more by itself, and then sends it.
        """
        wants_page = "text/html" in request.headers.get("Accept", "")
        if self._sessions is None or not wants_page or request.method not in ("GET", "HEAD"):
            return None
        if "Authorization" in request.headers:
            return None  # what came is wrong, and is told so
        onward = self._prefix.path_within(request).lstrip("/")
        if request.query_string:
            onward += f"?{request.rel_url.raw_query_string}"
        onward = _within(onward)
        above = "../" * self._prefix.path_within(request).lstrip("/").count("/")
        if request.headers.get("Sec-Fetch-Site") == "cross-site":
            to = f"{above or './'}{onward}"
            return web.Response(text=self._again_template.render(to=to), content_type="text/html")
        if up := self._prefix.onward_from(request):
            return _see_other(f"{up}{_form(onward, _FROM_PAGE)}")
        return _see_other(f"{above}{_form(onward)}")

    def _shown(self, onward: str, *, status: int = 200, wait_s: int = 0) -> web.Response:
        text = self._template.render(
            onward=onward,
            wrong=status == 403,
            wait_s=wait_s,
            to_read=self._access.token is not None,
            hours=SESSION_S // 3600,
            to_change=self._access.admin_token is not None,
        )
        headers = {"Retry-After": str(wait_s)} if wait_s else None
        return web.Response(text=text, status=status, content_type="text/html", headers=headers)

    def _check_origin(self, request: web.Request) -> None:
        check_origin(
            request,
            self._access.proxies.hosts(request),
            "Sign in and out on the page of these web views, and not from another site.",
        )

    def _cookie_place(self, request: web.Request) -> tuple[str, bool]:
        return f"{self._prefix.public_prefix(request)}/", self._prefix.is_secure(request)


def _within(onward: str) -> str:
    """``onward`` where it is a path and query within the web views; else the page."""
    if len(onward) > _MOST_CHARS or _WITHIN.fullmatch(onward) is None:
        return ""
    path = onward.partition("?")[0]
    return "" if any(part in (".", "..") for part in path.split("/")) else onward


def _form(onward: str, led: str | None = None) -> str:
    """The address of the page to sign in on, from the web views' own."""
    given = ([] if led is None else [f"{_LED}={led}"]) + (
        [f"next={quote(onward, safe='')}"] if onward else []
    )
    return "sign-in" + (f"?{'&'.join(given)}" if given else "")


def _see_other(location: str) -> web.Response:
    return web.Response(status=303, headers={"Location": location})
