"""Problems as pages, for people who meet one in a browser; programs get the same as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from aiohttp import web
from jinja2 import Environment

from tables.views.access import Access
from tables.views.pages.layout import Layout
from tables.views.prefix import Prefix
from tables.views.problems import Problem, detail_of, harden, problem_response

#: Paths that are asked by programs, whatever they say that they take.
_PROGRAMS: Final = ("/api/", "/static/", "/feeds/", "/metrics")
#: Of these nobody is told what the head of a page says: who asked may have no right to read.
_REFUSED: Final = frozenset({401, 421, 429})


class ProblemPages:
    """Makes the answer that tells of a problem, for whoever has asked.

    Args:
        layout: of all pages.
        environment: of the templates.
        access: says who may read, and sees the head of the pages.
        prefix: tells how deep an address is.
    """

    def __init__(self, layout: Layout, environment: Environment, access: Access, prefix: Prefix) -> None:
        self._layout = layout
        self._refused = environment.get_template("refused.html")
        self._access = access
        self._prefix = prefix

    async def answer(self, request: web.Request, problem: Problem) -> web.Response:
        """A page where a browser has asked for one, else the problem for programs."""
        plain = problem_response(problem)
        path = self._prefix.path_within(request)
        if "text/html" not in request.headers.get("Accept", "") or path.startswith(_PROGRAMS):
            return plain
        words = {
            "title": HTTPStatus(problem.status).phrase.capitalize(),
            "detail": detail_of(problem),
            "up": "../" * self._depth(request),
        }

        async def shown() -> Mapping[str, Any]:
            return words

        if problem.status in _REFUSED or not self._access.trusts(request):
            page = web.Response(
                text=self._refused.render(words), status=problem.status, content_type="text/html"
            )
        else:
            page = await self._layout.render(request, "problem.html", shown, status=problem.status)
        for name, value in problem.headers:
            page.headers.add(name, value)
        harden(page)
        return page

    def _depth(self, request: web.Request) -> int:
        """Folders of an address below that of the pages: one of something that is not there may have any."""
        above = request.path.count("/") - self._prefix.path_within(request).count("/")
        return request.rel_url.raw_path.count("/") - above - 1
