"""Asking the web views of a worker, over HTTP."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from typing import Any, Final

import orjson

_TIMEOUT_S: Final = 5.0
_MOST_BYTES: Final = 8 * 2**20


class NoAnswerError(Exception):
    """There is no answer, or another one than was asked for.

    Args:
        why: in a few words.
        status: HTTP status of what answered; None when nothing did.
    """

    def __init__(self, why: str, status: int | None = None) -> None:
        super().__init__(why)
        self.status = status


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follows no redirection, which would take the token to another address."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


class WebViews:
    """The web views of one worker; every call blocks.

    Args:
        address: such as ``http://127.0.0.1:6066``.
        token: that the worker asks for; None for none.
    """

    def __init__(self, address: str, token: str | None = None) -> None:
        self.address = address
        self._headers = {"Accept": "application/json"}
        if token is not None:
            # As UTF-8, which the worker reads; a header is written as Latin-1.
            self._headers["Authorization"] = f"Bearer {token}".encode().decode("latin-1")
        # A proxy for the world outside is not meant for a worker.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect)

    def ready(self) -> bool:
        """Whether the worker is ready."""
        try:
            return self._ask("/readyz")[0] == 200
        except NoAnswerError:
            return False

    def get(self, path: str, parameters: Mapping[str, object] | None = None) -> dict[str, Any]:
        """The JSON object at a path.

        Raises:
            NoAnswerError: there is none.
        """
        status, body = self._ask(path + (f"?{urllib.parse.urlencode(parameters)}" if parameters else ""))
        try:
            found = orjson.loads(body)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise NoAnswerError("it is no JSON object", status)
        return found

    def _ask(self, path: str) -> tuple[int, bytes]:
        request = urllib.request.Request(self.address + path, headers=self._headers)  # noqa: S310  http, checked
        try:
            with self._opener.open(request, timeout=_TIMEOUT_S) as response:
                return response.status, response.read(_MOST_BYTES)
        except urllib.error.HTTPError as error:
            raise NoAnswerError(f"HTTP {error.code}", error.code) from None
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", None) or error
            why = getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
            raise NoAnswerError(why) from None
