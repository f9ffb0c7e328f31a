"""Anything at all as plain JSON values: the last resort for payloads that JSON cannot hold. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

_MAX_DEPTH = 60
_MAX_VALUES = 10_000
_MAX_TEXT = 65_536


def plain(value: object) -> Any:
    """Return ``value`` as JSON can hold it; never raises.

    What has no form in JSON becomes its ``str()``; references to itself, and what is deeper
    than 60 levels or past 10,000 values, become a text in angle brackets that says so.
    """
    return _Plainer().convert(value, 0)


class _Plainer:
    """One conversion: counts its values, and knows the containers it is inside of."""

    def __init__(self) -> None:
        self._left = _MAX_VALUES
        self._inside: set[int] = set()

    def convert(self, value: object, depth: int) -> Any:
        self._left -= 1
        if self._left < 0:
            return "<left out>"
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, int):
            return int(value) if -(2**63) <= value < 2**63 else _text(value)
        if isinstance(value, float):
            return float(value) if math.isfinite(value) else None
        if not isinstance(value, Mapping | list | tuple | set | frozenset):
            return _text(value)
        if id(value) in self._inside:
            return "<itself>"
        if depth >= _MAX_DEPTH:
            return "<too deep>"
        self._inside.add(id(value))
        try:
            if isinstance(value, Mapping):
                return {_text(key): self.convert(item, depth + 1) for key, item in self._some(value.items())}
            return [self.convert(item, depth + 1) for item in self._some(value)]
        except Exception:  # noqa: BLE001 -- a container of the caller's own making that fails
            return _text(value)
        finally:
            self._inside.discard(id(value))

    def _some(self, items: Any) -> Any:
        for item in items:
            if self._left < 0:
                return
            yield item


def _text(value: object) -> str:
    try:
        if isinstance(value, bytes | bytearray):
            text = value[:_MAX_TEXT].decode("utf-8", "backslashreplace")
        else:
            text = str(value)[:_MAX_TEXT]
        return text.encode("utf-8", "backslashreplace").decode("utf-8")
    except Exception:  # noqa: BLE001 -- str() of a stranger's object may do anything
        return f"<{type(value).__name__} that cannot be shown>"
