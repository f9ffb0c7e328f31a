"""Named weights and modes, and priorities as settings write them."""

from __future__ import annotations

from typing import Any, Literal

from streams.notifications.priority import Priority
from streams.settings.wording import quoted

#: In which order classes are served; see ``streams.scheduling.modes``.
ModeName = Literal["weighted", "strict-with-floor", "strict"]
#: Named weights, with a mode.
ProfileName = Literal["default", "strict-with-floor", "strict", "yagi-2011"]

#: Weights by profile. ``yagi-2011`` has the numbers of the proposer's own worker.
PROFILES: dict[str, dict[Priority, float]] = {
    "default": {
        Priority.CRITICAL: 16,
        Priority.ERROR: 8,
        Priority.WARN: 4,
        Priority.INFO: 2,
        Priority.DEBUG: 1,
        Priority.AUDIT: 2,
        Priority.SAMPLE: 1,
    },
    "yagi-2011": {
        Priority.CRITICAL: 65536,
        Priority.ERROR: 100,
        Priority.INFO: 50,
        Priority.WARN: 25,
        Priority.DEBUG: 10,
        Priority.AUDIT: 50,
        Priority.SAMPLE: 10,
    },
}
PROFILES["strict-with-floor"] = PROFILES["strict"] = PROFILES["default"]
#: Modes by profile; the others are weighted.
PROFILE_MODES: dict[str, ModeName] = {"strict-with-floor": "strict-with-floor", "strict": "strict"}


def priorities(value: Any) -> tuple[Priority, ...]:
    """Priorities from text such as ``critical,error``, or from a list of names.

    Raises:
        ValueError: with what to write instead.
    """
    names = value.split(",") if isinstance(value, str) else value
    if not isinstance(names, list | tuple):
        raise ValueError("write priorities as critical,error")  # noqa: TRY004 - pydantic wants this one
    found = []
    for name in names:
        if not str(name).strip():
            continue
        priority = Priority.parse(str(name))
        if priority is None:
            raise ValueError(
                f"{quoted(str(name))} is not a priority; use some of {', '.join(Priority).lower()}"
            )
        found.append(priority)
    return tuple(dict.fromkeys(found))


def numbers_by_priority(value: Any, what: str, example: str) -> dict[Priority, float]:
    """Numbers by priority, from text such as ``critical=16,error=8`` or from a mapping.

    Raises:
        ValueError: with what to write instead.
    """
    pairs: list[tuple[Any, Any]]
    if isinstance(value, str):
        parts = [part.partition("=") for part in value.split(",") if part.strip()]
        if any(not sep for _, sep, _ in parts):
            raise ValueError(f"write {what}s as {example}")
        pairs = [(name, number) for name, _, number in parts]
    elif isinstance(value, dict):
        pairs = list(value.items())
    else:
        raise ValueError(f"write {what}s as {example}")  # noqa: TRY004 - pydantic wants this one
    numbers: dict[Priority, float] = {}
    for name, given in pairs:
        priority = Priority.parse(str(name))
        if priority is None:
            raise ValueError(
                f"{quoted(str(name))} is not a priority; use some of {', '.join(Priority).lower()}"
            )
        if priority in numbers:
            raise ValueError(f"{priority} has two {what}s; write {what}s as {example}")
        try:
            number = -1.0 if isinstance(given, bool) else float(given)
        except (TypeError, ValueError):
            number = -1.0
        if not 0 < number < 1e9:
            raise ValueError(f"the {what} of {priority} must be a number above 0")
        numbers[priority] = number
    return numbers
