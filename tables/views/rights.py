"""Two rights: to read, and to change; and who has them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Right(StrEnum):
    """What somebody may do."""

    READ = "reading"
    CHANGE = "changing"


@dataclass(frozen=True, slots=True)
class Visitor:
    """Somebody who may read, or change.

    Attributes:
        right: what they may do. Who may change may read, but for a program that sends the token for changes.
        name: who they are, as far as that is known; for the log, and hostile text where others gave it.
        reads: whether they may read.
    """

    right: Right
    name: str
    reads: bool = True
