"""Asking the sources to send all again, when messages to a combiner were lost. Pure.

Sources send what has changed, and messages are kept for a day. A combiner that was away for longer, or that
met messages of a later version, has missed some, and no later message says the same again. So it asks, by a
row of the public topic, which every worker reads: ``again/<slice>``. A source remembers with its own rows
which question it has answered; what it sends is cumulative, so that an answer too many does no harm.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

#: Version of the messages that this release writes, and the latest that it reads.
VERSION: Final = 1
_PREFIX: Final = b"again/"


class AskAgain(msgspec.Struct, frozen=True):
    """The question of one slice.

    Attributes:
        number: a later question has a higher one.
        version: the latest version of messages that the combiner reads.
        asked: False while it still meets messages that it cannot read; what is sent then may be of that kind.
    """

    number: int
    version: int
    asked: bool


#: Slice -> its question.
Questions = Mapping[int, AskAgain]

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(AskAgain).decode


def is_question(key: bytes | None) -> bool:
    """Whether a row of the public topic is a question, and no row of counts."""
    return key is not None and key.startswith(_PREFIX)


def encode_question(partition: int, question: AskAgain) -> tuple[bytes, bytes]:
    """Key and value of the row."""
    return b"%s%d" % (_PREFIX, partition), _encode(question)


def decode_question(key: bytes, value: bytes) -> tuple[int, AskAgain]:
    """Slice and question that a row holds.

    Raises:
        ValueError: it is no such row.
    """
    return int(key.removeprefix(_PREFIX)), _decode(value)


def unanswered(questions: Questions, answered: Mapping[int, int]) -> dict[int, int]:
    """Slice -> number, of the questions that a source of this release can answer and has not."""
    return {
        partition: each.number
        for partition, each in questions.items()
        if each.asked and each.version >= VERSION and each.number > answered.get(partition, -1)
    }
