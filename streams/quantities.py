"""Numbers with what they count, for people: "1 record", "12 records". Pure."""

from __future__ import annotations

from collections.abc import Callable


def either(number: int, one: str, more: str) -> str:
    """``one`` where the number is 1, else ``more``."""
    return one if number == 1 else more


def quantity(number: int, noun: str, nouns: str | None = None, *, show: Callable[[int], str] = str) -> str:
    """A number with what it counts.

    Args:
        number: how many.
        noun: what follows the number 1; a verb too where there is one, such as "record was".
        nouns: what follows any other number; None for ``noun`` and an "s".
        show: writes the number, such as ``thousands``.
    """
    return f"{show(number)} {either(number, noun, f'{noun}s' if nouns is None else nouns)}"


def thousands(number: int) -> str:
    """A number with commas: ``1,200``."""
    return f"{number:,}"
