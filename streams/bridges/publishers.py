"""Who may publish through the bridge for HTTP, and as whom: the file of tokens. Pure."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from streams.settings.errors import ConfigurationError

#: A prefix that allows any publisher, and none at all.
ANY: Final = "*"
_HASH: Final = "sha256:"
_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")
#: Characters of a token that RFC 6750 lets a request carry; shorter ones can be guessed.
_TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/-]{16,512}=*")
_DIGEST: Final = re.compile(r"[0-9a-fA-F]{64}")


@dataclass(frozen=True, slots=True)
class Publisher:
    """Who holds a token.

    Attributes:
        name: for the log.
        prefixes: what its ``publisher_id`` begin with, one of them.
    """

    name: str
    prefixes: tuple[str, ...]

    def may_use(self, publisher_id: str) -> bool:
        """Whether notifications of this ``publisher_id`` may come from it; "" is one without."""
        return any(prefix == ANY or publisher_id.startswith(prefix) for prefix in self.prefixes)


#: Where no tokens are asked for.
ANYBODY: Final = Publisher("anybody", (ANY,))


class Publishers:
    """The publishers of a file of tokens.

    Args:
        entries: SHA-256 of a token, and whose it is.
    """

    def __init__(self, entries: Sequence[tuple[bytes, Publisher]]) -> None:
        self._entries = tuple(entries)

    def __len__(self) -> int:
        """Tokens that are known."""
        return len(self._entries)

    def of(self, token: bytes) -> Publisher | None:
        """Who holds a token; takes the same time wherever it differs, and whichever it is."""
        digest = hashlib.sha256(token).digest()
        found = None
        for known, publisher in self._entries:
            if hmac.compare_digest(known, digest):
                found = publisher
        return found


def read_publishers(text: str, setting: str) -> Publishers:
    """The publishers that a file names.

    A line is a name, a token or ``sha256:`` and the SHA-256 of it in hexadecimal, and one or more prefixes of
    ``publisher_id``, separated by blanks; ``*`` allows any. Empty lines and those that begin with # say
    nothing. A name may have several lines, so that a token can be replaced by another one.

    Args:
        text: of the file.
        setting: that names the file, for the message.

    Raises:
        ConfigurationError: a line cannot be read, or there is none. It shows no token.
    """
    entries: list[tuple[bytes, Publisher]] = []
    seen: set[bytes] = set()
    for number, line in enumerate(text.splitlines(), 1):
        fields = line.split()
        if not fields or fields[0].startswith("#"):
            continue
        wrong = f"{setting}: line {number}"
        if len(fields) < 3:
            raise ConfigurationError(
                f"{wrong} has not all of name, token and prefix; write them as: nova sha256:HEX compute."
            )
        name, secret, *prefixes = fields
        if not _NAME.fullmatch(name):
            raise ConfigurationError(
                f"{wrong} begins with no name; use up to 64 letters, digits and the characters . _ -"
            )
        digest = _digest(secret)
        if digest is None:
            raise ConfigurationError(
                f"{wrong} has no token that can be used; write 16 or more letters, digits and ._~+/-, "
                "or sha256: and 64 hexadecimal digits."
            )
        if digest in seen:
            raise ConfigurationError(f"{wrong} has the token of another line; give each publisher its own.")
        seen.add(digest)
        entries.append((digest, Publisher(name, tuple(prefixes))))
    if not entries:
        raise ConfigurationError(f"{setting}: there is no publisher in the file; write a line for each.")
    return Publishers(entries)


def _digest(secret: str) -> bytes | None:
    if secret.startswith(_HASH):
        found = secret.removeprefix(_HASH)
        return bytes.fromhex(found) if _DIGEST.fullmatch(found) else None
    return hashlib.sha256(secret.encode()).digest() if _TOKEN.fullmatch(secret) else None
