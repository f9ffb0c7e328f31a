"""What a setting takes, in words; for the sentence that refuses a value, and for names that are misspelt."""

from __future__ import annotations

import difflib
import typing
from collections.abc import Collection, Mapping
from typing import Any, Final

import annotated_types
from pydantic.fields import FieldInfo

#: Of settings that have a pattern: what matches it.
_PATTERNS: Final = {
    "app_id": "use letters A to Z, digits, dots, hyphens and underscores, 1 to 100 of them",
    "pool": "use lower-case letters, digits and hyphens, 41 at most, and no hyphen first",
    "sasl_aws_region": "write the name of a region, such as eu-west-1",
}
#: Types of pydantic's errors that say that something is no number, or beyond its bounds.
_OF_NUMBERS: Final = ("int_", "float_", "greater_than", "less_than", "finite_number")
#: How like another one a name has to be that is proposed for it.
_LIKE: Final = 0.8


def what_to_write(name: str, field: FieldInfo, error: Mapping[str, Any]) -> str | None:
    """What to write instead of a value that was refused.

    Args:
        name: of the setting.
        field: of the setting.
        error: of pydantic, for it.

    Returns:
        words such as "write true or false"; None where the error has words of ours already.
    """
    kind: str = error["type"]
    if kind in ("value_error", "extra_forbidden"):
        return None
    if kind.startswith("bool_"):
        return "write true or false"
    if kind.startswith(_OF_NUMBERS):
        whole = int in (field.annotation, *typing.get_args(field.annotation))
        return f"write a {'whole ' if whole else ''}number{_bounds(field)}"
    if kind == "literal_error":
        return f"write {_either(_choices(field))}"
    if kind == "string_pattern_mismatch":
        return _PATTERNS[name]
    if kind.startswith(("dict_", "tuple_", "mapping_")):
        return "write it as a table in the settings file, or as a JSON object in the environment"
    return "write it as text, in quotes"


def _bounds(field: FieldInfo) -> str:
    """The bounds of a number, with a blank before them; "" where it has none."""
    low, high = "", ""
    least = most = None
    for each in field.metadata:
        if isinstance(each, annotated_types.Gt):
            low = f"above {each.gt}"
        elif isinstance(each, annotated_types.Ge):
            low, least = f"{each.ge} or more", each.ge
        elif isinstance(each, annotated_types.Lt):
            high = f"below {each.lt}"
        elif isinstance(each, annotated_types.Le):
            high, most = f"at most {each.le}", each.le
    if least is not None and most is not None:
        return f" from {least} to {most}"
    words = " and ".join(filter(None, (low, high)))
    return f" {words}" if words else ""


def _choices(field: FieldInfo) -> list[str]:
    """The words that a setting takes, some of which may be those of a type within another one."""

    def of(annotation: Any) -> list[str]:
        if typing.get_origin(annotation) is typing.Literal:
            return [str(each) for each in typing.get_args(annotation)]
        return [choice for each in typing.get_args(annotation) for choice in of(each)]

    return of(field.annotation)


def _either(words: list[str]) -> str:
    return " or ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def likely(name: str, known: Collection[str], least: float = _LIKE) -> str | None:
    """The name that may be meant by one that is not known, whatever the case of its letters; None for none.

    A file is often named without the word for it, and the other way round.

    Args:
        name: that is not known.
        known: names that are.
        least: how like it the one that is meant has to be, from 0 to 1.
    """
    by_upper = {each.upper(): each for each in known}
    upper = name.upper()
    for meant in (upper, f"{upper}_FILE", upper.removesuffix("_FILE"), f"{upper}S", f"{upper}_S"):
        if meant in by_upper:
            return by_upper[meant]
    found = difflib.get_close_matches(upper, by_upper, n=1, cutoff=least)
    return by_upper[found[0]] if found else None


def may_hold_secret(value: str) -> bool:
    """Whether a value that is refused might have a password or token in it, as a URL may."""
    return "@" in value or ("://" in value and "?" in value)


def quoted(value: str) -> str:
    """A refused value in quotes; asterisks where it might hold a secret that was put there by mistake."""
    return "'********'" if may_hold_secret(value) else repr(value)
