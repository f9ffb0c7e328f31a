"""Which driver gets which notification, by the rules of oslo.messaging's routing file. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any

from streams.settings import ConfigurationError

_LISTS = ("accepted_events", "accepted_priorities")
#: Pairs of event type and priority whose drivers are remembered.
_REMEMBERED = 4096


@dataclass(frozen=True, slots=True)
class Rule:
    """What a driver of a group accepts.

    Attributes:
        driver: its name.
        events: patterns of shells for event types, one of which must match; None for all.
        priorities: the same for priorities, in lower case.
    """

    driver: str
    events: tuple[str, ...] | None
    priorities: tuple[str, ...] | None

    def accepts(self, event_type: str, priority: str) -> bool:
        """Whether a notification goes to the driver; ``priority`` is in lower case."""
        return _matches(self.events, event_type) and _matches(self.priorities, priority)


class Routes:
    """The rules of all groups. A driver that several of them send a notification to gets it once.

    Args:
        groups: driver by group, and by driver ``accepted_events`` and ``accepted_priorities``, each a list;
            what is not there accepts everything.
        where: what they come from, for messages.

    Raises:
        ConfigurationError: they are not of this form.
    """

    def __init__(self, groups: Mapping[str, Any] | None, where: str) -> None:
        found: list[Rule] = []
        for group, drivers in _mapping(groups, where).items():
            for driver, rules in _mapping(drivers, f"{where}, group {group}").items():
                found.append(_rule(str(driver), rules, f"{where}, group {group}, driver {driver}"))
        self.rules = tuple(found)
        self.drivers_of = lru_cache(_REMEMBERED)(self._drivers_of)

    @property
    def drivers(self) -> tuple[str, ...]:
        """The drivers that are named, each once."""
        return tuple(dict.fromkeys(rule.driver for rule in self.rules))

    def _drivers_of(self, event_type: str, priority: str) -> tuple[str, ...]:
        """The drivers that get notifications of an event type and a priority (in lower case)."""
        accepted = (rule.driver for rule in self.rules if rule.accepts(event_type, priority))
        return tuple(dict.fromkeys(accepted))


def _rule(driver: str, given: Any, where: str) -> Rule:
    rules = _mapping(given, where)
    if strange := [str(name) for name in rules if name not in _LISTS]:
        raise ConfigurationError(f"{where}: {strange[0]} is neither accepted_events nor accepted_priorities.")
    events, priorities = (_patterns(rules.get(name), f"{where}: {name}") for name in _LISTS)
    return Rule(driver, events, None if priorities is None else tuple(map(str.lower, priorities)))


def _mapping(value: Any, where: str) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise ConfigurationError(
            f"{where}: there must be names with values, as in group, driver, accepted_events."
        )
    return value


def _patterns(value: Any, where: str) -> tuple[str, ...] | None:
    if value is None:
        return None
    if (
        isinstance(value, str)
        or not isinstance(value, Sequence)
        or not all(isinstance(each, str) for each in value)
    ):
        raise ConfigurationError(f"{where} must be a list of patterns, such as compute.*.")
    return tuple(value)


def _matches(patterns: tuple[str, ...] | None, text: str) -> bool:
    return patterns is None or any(fnmatchcase(text, pattern) for pattern in patterns)
