"""``PUT /api/v1/scheduler``: changes the weights, the mode or the profile of this worker while it runs.

The body is a JSON object such as ``{"weights": {"error": 12}, "mode": "strict-with-floor"}``; ``profile``
resets both to those of a named profile. What is not given stays. The answer is that of GET, after the change.
It holds for this worker until it ends or reads its settings again; for a fleet, change the settings.

The call needs TOCSIN_ADMIN_TOKEN, also on loopback. Browsers send neither an Authorization header nor
``application/json`` to another site without asking first, and that question is not answered here.
"""

from __future__ import annotations

import typing
from typing import Any, Final

import orjson
from aiohttp import web

from streams.notifications.priority import Priority
from streams.settings import ModeName, ProfileName
from tables.views.changes import Changes
from tables.views.problems import Problem
from tables.views.sources import ChangeRefusedError, Sources

#: Largest body; the server's limit of 1 KiB for any request comes on top.
_MOST_BYTES: Final = 1024
_KNOWN: Final = ("weights", "mode", "profile")
_MODES: Final = typing.get_args(ModeName)
_PROFILES: Final = typing.get_args(ProfileName)


def parse_change(body: bytes) -> dict[str, Any]:
    """The arguments of ``LiveProfile.change``.

    Raises:
        Problem: 400 with one sentence that says what to change; nothing of the body is repeated.
    """
    try:
        change = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise Problem(400, "The body is not JSON.") from None
    if not isinstance(change, dict) or not change or not set(change) <= set(_KNOWN):
        raise Problem(400, f"Send a JSON object with some of {', '.join(_KNOWN)}, and nothing else.")
    if "mode" in change and change["mode"] not in _MODES:
        raise Problem(400, f"'mode' must be one of {', '.join(_MODES)}.")
    if "profile" in change and change["profile"] not in _PROFILES:
        raise Problem(400, f"'profile' must be one of {', '.join(_PROFILES)}.")
    if "weights" in change:
        change["weights"] = _weights(change["weights"])
    return change


def _weights(given: object) -> dict[Priority, float]:
    if not isinstance(given, dict) or not given:
        raise Problem(400, "'weights' must be an object of numbers by priority, such as {\"error\": 12}.")
    weights: dict[Priority, float] = {}
    for name, number in given.items():
        priority = Priority.parse(name)
        if priority is None:
            raise Problem(400, f"'weights' may name {', '.join(Priority).lower()} only.")
        if priority in weights:
            raise Problem(400, f"'weights' names {priority.lower()} twice.")
        if isinstance(number, bool) or not isinstance(number, int | float) or not 0 < number < 1e9:
            raise Problem(400, f"The weight of {priority.lower()} must be a number above 0 and below 1e9.")
        weights[priority] = float(number)
    return weights


async def change_scheduler(request: web.Request, sources: Sources, changes: Changes) -> None:
    """Check a call, and do what it asks for.

    Raises:
        Problem: it is refused; nothing has changed.
    """
    visitor = changes.check(request, "scheduler")
    if request.content_type != "application/json":
        raise Problem(415, "Send the body as application/json.")
    if (request.content_length or 0) > _MOST_BYTES:
        raise Problem(413, f"Send at most {_MOST_BYTES} bytes.")
    change = parse_change(await request.read())
    profile = sources.scheduler.profile
    if profile is None:
        raise Problem(503, "The worker is starting; try again in a moment.", [("Retry-After", "2")])
    try:
        profile.change(**change)
    except ChangeRefusedError as error:
        raise Problem(400, str(error)) from None
    changes.note(request, visitor, "scheduler", ", ".join(sorted(change)))
