"""JSON values: read with what a strict parser leaves out, told apart, and why a text is none. Pure."""

from __future__ import annotations

import sys
from typing import Final

import msgspec
import orjson

from streams.notifications.notification import Reason, Rejection, excerpt

_LARGEST_FLOAT: Final = sys.float_info.max
_decode_any = msgspec.json.Decoder(float_hook=float).decode


def scalar_text(value: object) -> str | None:
    """Return a number or boolean as JSON writes it; None for anything else."""
    if isinstance(value, bool | int | float):
        try:
            return orjson.dumps(value).decode()
        except TypeError:  # an integer past 64 bits
            return str(float(value)) if abs(value) < _LARGEST_FLOAT else "inf"
    return None


def is_deeper(value: object, max_depth: int) -> bool:
    """Whether lists and objects are nested deeper than ``max_depth``; level by level, no recursion."""
    level = [value] if isinstance(value, dict | list) else []
    depth = 0
    while level:
        depth += 1
        if depth > max_depth:
            return True
        level = [
            item
            for container in level
            for item in (container.values() if type(container) is dict else container)
            if type(item) is dict or type(item) is list
        ]
    return False


def why_no_json(value: bytes, error: orjson.JSONDecodeError) -> Rejection:
    """The rejection of a value that is no JSON."""
    if not value.strip():
        return Rejection(Reason.EMPTY_VALUE, "The value is empty.")
    if is_depth_error(error):
        return Rejection(Reason.TOO_DEEP, "The value is nested deeper than any parser goes.")
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError as bad:
        return Rejection(
            Reason.BAD_UTF8, f"The value is not UTF-8 text: byte {bad.start} is 0x{value[bad.start]:02x}."
        )
    near = excerpt(text[error.pos : error.pos + 40])
    return Rejection(
        Reason.NOT_JSON, f"The value is not JSON: {_said(error)} at character {error.pos}, near '{near}'."
    )


def _said(error: orjson.JSONDecodeError) -> str:
    # Of a word that begins with t, f or n the parser says that it expected true, false or null there.
    return "unexpected text" if error.msg.startswith("invalid literal") else error.msg


def is_depth_error(error: orjson.JSONDecodeError) -> bool:
    """Whether a value is nested too deep for the parser."""
    # orjson has no error class for it, and each of its versions has other words.
    return any(words in error.msg for words in ("depth limit", "recursion depth", "ecursion limit"))


def is_number_error(error: orjson.JSONDecodeError) -> bool:
    """Whether a value has a number that is too large for a float."""
    return "infinity" in error.msg


def loads(value: bytes) -> object:
    """Read JSON; None when it is none."""
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError as error:
        return loads_large_numbers(value) if is_number_error(error) else None


def loads_large_numbers(value: bytes) -> object:
    """Read JSON with numbers that are too large for a float, as infinity; None when it is no JSON.

    They are good JSON: most likely nobody looks at them, and the readers of tidy records let them pass.
    """
    try:
        value.decode()
        return _decode_any(value)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None


def kind_of(value: object) -> str:
    """What a JSON value is, in words for people."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, str):
        return "text"
    return "a list" if isinstance(value, list) else "an object"
