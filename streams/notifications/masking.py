"""Masks the values of keys that name a secret, in what more people read than the notifications. Pure.

Services put passwords, tokens and credentials into contexts and payloads. The list of words begins with that
of oslo.utils (``strutils._SANITIZE_KEYS``), which OpenStack masks in its own logs; a test holds it to that.

A key names a secret when one of the words is part of it, whatever the case, the signs between, and the form
of its letters: ``adminPass``, ``_context_auth-token`` and ``X-Auth-Token`` do. Keys are looked for in the
text as it came: at any depth, in JSON that lies in a string (as in oslo.messaging's envelope), and in what
Python prints of a dictionary. Other text is left as it is, but for what `Masker.in_text` is asked to look at.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Generator, Iterable, Sequence
from typing import Any, Final

import msgspec
import orjson

from streams.notifications.visible import INVISIBLE

MASK: Final = "***"

#: Words that name a secret, with a sign where a key may have one: oslo.utils' own, and what they leave out.
_OF_OSLO: Final = (
    "admin_pass",
    "pass_word",
    "token",
    "new_pass",
    "secret",
    "sys_pswd",
    "config_drive",
    "encrypted_key",
    "private_key",
    "fernet_key",
    "ssl_key",
    "pass_phrase",
    "ceph_cluster_fsid",
    "octavia_heartbeat_key",
    "rabbit_cookie",
    "ceph_manila_client_key",
    "pacemaker_remote_auth_key",
    "designate_rndc_key",
    "ceph_admin_key",
    "heat_auth_encryption_key",
    "ceph_client_key",
    "keystone_credential",
    "barbican_simple_crypto_kek",
    "ceph_rgw_key",
    "swift_hash_suffix",
    "migration_ssh_key",
    "ceph_mds_key",
    "ceph_mon_key",
)
_FURTHER: Final = (
    "pass_wd",
    "pwd",
    "creds",
    "credential",
    "api_key",
    "access_key",
    "authorization",
    "cookie",
)
_SIGNS: Final = re.compile(r"[\W_]+")
#: The keys in JSON, also in the text of strings, where quotes are escaped, and in printed dictionaries.
#: Of a key with a quote in it, what stands behind that.
_KEYS: Final = re.compile(rb"""["']([^"']*)(?=["']\s*:)""")
#: The same, each followed by nothing at the end, of JSON without a backslash and single quote: there, strings
#: end at the next quote, and one look at each byte is enough. What has begun is not tried again otherwise.
_PLAIN_KEYS: Final = re.compile(rb'(?:[^"]*+"[^"]*+"(?!\s*+:))*+[^"]*+(?:"([^"]*+)"|\Z)')
#: The keys of what is known to be JSON, without a backslash and single quote: a quarter less work. Behind a
#: string whose next one begins with a colon it finds what stands between the two.
_KEYS_OF_JSON: Final = re.compile(rb'"([^"]*+)"\s*+:')
#: What stands between two strings begins so.
_BETWEEN: Final = frozenset((b",", b":", b"}", b"]", b" ", b"\t", b"\r", b"\n"))
#: How a character of a key may be written instead.
_ESCAPED: Final = re.compile(r"\\+(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|U00([0-9a-fA-F]{6}))")
#: A password in an address, as in ``amqp://user:password@host``.
_IN_ADDRESS: Final = re.compile(r"://[^/\s]*@")
#: A key in text for people, with the sign behind it: ``token=``, ``token: ``, ``--token ``.
_KEY_IN_TEXT: Final = re.compile(
    rf"(?<![\w.{INVISIBLE}-])(?:(?P<flag>--[\w.-]++)\s|(?P<key>[\w.{INVISIBLE}-]++)\s?[=:\uff1d\uff1a]\s?)"
)
#: The value behind it, to the next blank or to its quote; behind a scheme of HTTP, what comes after that.
_VALUE_IN_TEXT: Final = re.compile(
    r"""(?:(?:basic|bearer|digest|negotiate)\s)?(?:"[^"]*+"?|'[^']*+'?|[^\s"'<>]++)""", re.IGNORECASE
)
#: Cyrillic and Greek letters that look like Latin ones.
_LOOK_ALIKE: Final = str.maketrans("асеорхуіѕјԁһкѡոαεορκ", "aceopxyisjdhkwnaeopk")
#: Keys that are remembered as harmless; services use a few hundred.
_MOST_REMEMBERED: Final = 10_000
_LONGEST_REMEMBERED: Final = 200
#: Values that `masked_in_steps` looks at in one step; a long key is as much work as several.
_STEP: Final = 20
_KEY_PART: Final = 20
#: The deepest that it looks into; notifications that are nested 250 deep may be allowed.
_DEEPEST: Final = 300
#: The longest key that it looks into; a longer one is taken for the name of a secret.
_LONGEST_KEY: Final = 250
#: Characters that are brought into their simplest form at a time.
_PIECE: Final = 250
#: What stands before JSON in a string, and is none of it.
_BEFORE: Final = " \t\r\n\v\f\ufeff\u00a0"


def plain_word(key: str) -> str:
    """``key`` in lower case and the simplest form of its letters, without anything but letters and digits."""
    if not key.isascii():
        # Sorting marks takes the square of the length of a run of them, so that a long one is cut.
        pieces = (key[at : at + _PIECE] for at in range(0, len(key), _PIECE))
        key = "".join(unicodedata.normalize("NFKC", piece) for piece in pieces)
        key = key.casefold().translate(_LOOK_ALIKE)
    return _SIGNS.sub("", key.lower())


def _unescaped(text: bytes) -> str:
    """Text in which characters may be written as escapes, in JSON, in JSON in a string, or by Python."""
    plain = text.decode("utf-8", "replace")
    if "\\" not in plain:
        return plain
    plain = _ESCAPED.sub(_character, plain)
    # JSON writes what lies beyond four digits as two halves.
    return plain.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _character(found: re.Match[str]) -> str:
    code = int(found[1] or found[2] or found[3], 16)
    return chr(code) if code <= sys.maxunicode else found[0]


class Masker:
    """Masks the values of keys that name a secret.

    Args:
        further: words besides the built-in ones.
    """

    def __init__(self, further: Iterable[str] = ()) -> None:
        words = dict.fromkeys(filter(None, map(plain_word, (*_OF_OSLO, *_FURTHER, *further))))
        self._named = re.compile("|".join(map(re.escape, words)))
        self._harmless: set[bytes] = set()

    def names_a_secret(self, key: str) -> bool:
        """Whether the value of ``key`` is to be masked."""
        return self._named.search(plain_word(key)) is not None

    def masked(self, notification: bytes) -> bytes:
        """The JSON text with secrets masked; the same object where no key names one.

        Raises:
            orjson.JSONDecodeError: a key names one, and the text is no JSON that can be looked into.
        """
        return self._rewritten(notification) if self._finds_a_secret(notification) else notification

    def is_mentioned(self, text: bytes) -> bool:
        """Whether a word that names a secret, or an address with a password, stands anywhere in any text.

        For what is no JSON, where nobody can tell which part is the secret.
        """
        plain = _unescaped(
            text.replace(b"\0", b"")
        )  # of UTF-16 and UTF-32 each character has zeros beside it
        return self.names_a_secret(plain) or _IN_ADDRESS.search(plain) is not None

    def in_text(self, text: str) -> str:
        """Text for people, such as an annotation, with the secrets masked that stand in it.

        Besides what `masked` finds in a string, those are the values of ``key=value``, ``key: value`` and
        ``--key value`` where the key names a secret, and who signs in in an address.

        Args:
            text: of at most some thousand characters, since it is looked through in one step.
        """
        if not text.strip(_BEFORE):
            return text
        found: str = self._in_value(text)
        if "://" in found:
            found = _IN_ADDRESS.sub(f"://{MASK}@", found)
        parts: list[str] = []
        done = at = 0
        while (key := _KEY_IN_TEXT.search(found, at)) is not None:
            at = key.end()
            if self._are_harmless([(key["flag"] or key["key"]).encode()]):
                continue
            if (value := _VALUE_IN_TEXT.match(found, at)) is not None:
                parts += found[done:at], MASK
                done = at = value.end()
        return "".join((*parts, found[done:]))

    def masked_in_steps(self, value: Any) -> Generator[None, None, tuple[Any, int]]:
        """A value that was read from JSON, with secrets masked as `masked` does, and text in it written anew.

        For whoever shares a thread with others: the work is cut into short steps.

        Args:
            value: of a notification of at most 64 KiB.

        Returns:
            the value, and how many blanks it takes to write it with an indent of two.

        Raises:
            RecursionError: it is nested too deep to be looked into.
        """
        walk = _Walk(self)
        found = yield from walk.value(value, 1)
        return found, walk.indent

    def are_plain(self, notifications: Sequence[bytes]) -> bool:
        """Whether `masked` would return each of several notifications as it is; False where it is not sure.

        For JSON that has been read already. One look at all of them costs less than one at each.
        """
        text = b",".join(notifications)
        if b"\\" in text or b"'" in text:
            return False
        keys = _KEYS_OF_JSON.findall(text)
        if self._harmless.issuperset(keys):
            return True
        return not any(map(_may_be_between, keys)) and self._are_harmless(keys)

    def _finds_a_secret(self, text: bytes) -> bool:
        """Whether any key in the text names a secret, whatever its value."""
        is_plain = b"\\" not in text and b"'" not in text and text.count(b'"') % 2 == 0
        return not self._are_harmless((_PLAIN_KEYS if is_plain else _KEYS).findall(text))

    def _are_harmless(self, keys: Iterable[bytes]) -> bool:
        """Whether none of the keys, as they are written, names a secret."""
        harmless = self._harmless
        if harmless.issuperset(keys):
            return True
        for key in keys:
            if key not in harmless:
                if self._names_one(key):
                    return False
                if len(harmless) >= _MOST_REMEMBERED:
                    harmless.clear()
                if len(key) <= _LONGEST_REMEMBERED and not _may_be_between(key):
                    harmless.add(key)
        return True

    def _names_one(self, key: bytes) -> bool:
        return self.names_a_secret(_unescaped(key))

    def _rewritten(self, text: bytes | str) -> bytes:
        return orjson.dumps(self._in_value(orjson.loads(text)))

    def _in_value(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {
                key: MASK if self._hides(key, held) else self._in_value(held) for key, held in value.items()
            }
        if isinstance(value, list):
            return [self._in_value(item) for item in value]
        if isinstance(value, str) and ":" in value and self._finds_a_secret(value.encode()):
            return self._in_text(value)
        return value

    def _in_text(self, text: str) -> str:
        """Text in which a key names a secret: JSON with it masked, or nothing of it."""
        try:
            return self._rewritten(text.strip(_BEFORE)).decode()
        except (ValueError, TypeError, RecursionError):
            return MASK  # it only looks like JSON, or is nested too deep to be looked into

    def _hides(self, key: str, held: Any) -> bool:
        # Nothing, and yes or no, are no secrets.
        return held is not None and held != "" and not isinstance(held, bool) and self.names_a_secret(key)


def _may_be_between(key: bytes) -> bool:
    return key[:1] in _BETWEEN


class _Walk:
    """One look at all of a value, in steps.

    Attributes:
        indent: blanks that it takes to write what was looked at, each value in a line of its own.
    """

    def __init__(self, masker: Masker) -> None:
        self._masker = masker
        self._looked_at = 0
        self.indent = 0

    def value(self, value: Any, depth: int) -> Generator[None, None, Any]:
        """What is shown of a value that lies ``depth`` deep."""
        if depth > _DEEPEST:
            raise RecursionError("nested too deep to be looked into")
        if isinstance(value, dict):
            members = {}
            for key, held in value.items():
                if self._is_step(depth, len(key)):
                    yield
                if len(key) > _LONGEST_KEY or self._masker._hides(key, held):
                    members[key] = MASK
                else:
                    members[key] = (yield from self.value(held, depth + 1)) if _is_deep(held) else held
            return members
        if isinstance(value, list):
            items = []
            for held in value:
                if self._is_step(depth):
                    yield
                items.append((yield from self.value(held, depth + 1)) if _is_deep(held) else held)
            return items
        if not _is_deep(value):
            return value
        yield
        try:
            inner = orjson.loads(value.strip(_BEFORE))
        except ValueError:
            return MASK if self._masker._finds_a_secret(value.encode()) else value
        if not _is_deep(inner):
            return value
        yield
        text = msgspec.json.encode((yield from self.value(inner, depth + 1))).decode()
        yield
        return text

    def _is_step(self, depth: int, length: int = 0) -> bool:
        self.indent += 2 * depth
        self._looked_at += 1 + length // _KEY_PART
        if self._looked_at < _STEP:
            return False
        self._looked_at = 0
        return True


def _is_deep(value: Any) -> bool:
    """Whether there may be something in it that names a secret."""
    return isinstance(value, dict | list) or (isinstance(value, str) and ":" in value)
