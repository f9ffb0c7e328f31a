"""The files that pages need: styles, scripts, the icon."""

from __future__ import annotations

from importlib import resources
from typing import Final

from aiohttp import web

from tables.views.problems import Problem

_TYPES: Final = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


class Files:
    """Serves them from memory."""

    def __init__(self) -> None:
        self._files = {
            file.name: (file.read_bytes(), _TYPES[file.name[file.name.rindex(".") :]])
            for file in resources.files("tables.views").joinpath("static").iterdir()
            if file.is_file() and file.name.endswith(tuple(_TYPES))
        }

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Add the route."""
        router.add_get("/static/{name}", self.file, name="static")

    async def file(self, request: web.Request) -> web.Response:
        """A file that a page needs."""
        found = self._files.get(request.match_info["name"])
        if found is None:
            raise Problem(404)
        return web.Response(body=found[0], content_type=found[1], charset="utf-8")
