"""Masks the values of keys that name a secret, in what more people read than the notifications. Pure.

Services put passwords, tokens and credentials into contexts and payloads. The list of words begins with that
of oslo.utils (``strutils._SANITIZE_KEYS``), which OpenStack masks in its own logs; a test holds it to that.

A key names a secret when one of the words is part of it, whatever the case and the signs between:
``adminPass``, ``_context_auth-token`` and ``X-Auth-Token`` do. Keys are looked for at any depth, and in JSON
that lies in a string, as in oslo.messaging's envelope. Text that is no JSON is left as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

import orjson

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
#: Letters that stand together in every key which has one of the words: where there are none, no word is.
_STEMS: Final = tuple(
    b"pass token secret pswd drive key fsid cookie kek suffix pwd creds credential authorization".split()
)
_SIGNS: Final = re.compile(r"[^0-9a-z]+")
#: The keys of JSON objects, also within a string, where their quotes are escaped.
_KEYS: Final = re.compile(rb'"([^"]*)"\s*:')
#: Letters of a key may be written so.
_ESCAPED_ASCII: Final = b"\\u00"
#: Keys that are remembered, with whether they name a secret; services use a few hundred.
_MOST_REMEMBERED: Final = 10_000


def _plain(key: str) -> str:
    """``key`` in lower case, without anything but letters and digits."""
    return _SIGNS.sub("", key.lower())


class Masker:
    """Masks the values of keys that name a secret.

    Args:
        further: words besides the built-in ones.
    """

    def __init__(self, further: Iterable[str] = ()) -> None:
        parts = [[part for part in _SIGNS.split(word.lower()) if part] for word in further]
        words = dict.fromkeys([*map(_plain, _OF_OSLO + _FURTHER), *("".join(each) for each in parts if each)])
        self._named = re.compile("|".join(map(re.escape, words)))
        self._stems = (*_STEMS, *(max(each, key=len).encode() for each in parts if each))
        self._known: dict[bytes, bool] = {}

    def names_a_secret(self, key: str) -> bool:
        """Whether the value of ``key`` is to be masked."""
        return self._named.search(_plain(key)) is not None

    def masked(self, notification: bytes) -> bytes:
        """The JSON text with secrets masked; the same object where there are none.

        Raises:
            orjson.JSONDecodeError: it is no JSON that can be looked into.
        """
        return self._rewritten(notification) if self._may_hold_a_secret(notification) else notification

    def _rewritten(self, text: bytes) -> bytes:
        found = orjson.loads(text)
        masked = self._in_value(found)
        return text if masked is found else orjson.dumps(masked)

    def _may_hold_a_secret(self, notification: bytes) -> bool:
        """Whether it is worth parsing: most notifications have none of the stems, and cost a microsecond."""
        lower = notification.lower()
        for stem in self._stems:
            if stem in lower:
                break
        else:
            return _ESCAPED_ASCII in lower
        if _ESCAPED_ASCII in lower:
            return True
        known = self._known
        for key in _KEYS.findall(lower):
            secret = known.get(key)
            if secret is None:
                if len(known) >= _MOST_REMEMBERED:
                    known.clear()
                secret = known[key] = self.names_a_secret(key.decode("utf-8", "replace"))
            if secret:
                return True
        return False

    def _in_value(self, value: Any) -> Any:
        """``value`` with secrets masked; the same object where there are none."""
        if isinstance(value, dict):
            changed = {}
            for key, held in value.items():
                # Nothing, and yes or no, are no secrets.
                hides = (
                    held is not None
                    and held != ""
                    and not isinstance(held, bool)
                    and self.names_a_secret(key)
                )
                new = MASK if hides else self._in_value(held)
                if new is not held:
                    changed[key] = new
            return {**value, **changed} if changed else value
        if isinstance(value, list):
            items = [self._in_value(item) for item in value]
            return items if any(a is not b for a, b in zip(items, value, strict=True)) else value
        if isinstance(value, str):
            return self._in_text(value)
        return value

    def _in_text(self, text: str) -> str:
        """JSON that lies in a string, with secrets masked; other text as it is."""
        if text.lstrip()[:1] not in {"{", "["}:
            return text
        written = text.encode()
        if not self._may_hold_a_secret(written):
            return text
        try:
            masked = self._rewritten(written)
        except ValueError:
            return MASK if self._names_in_text(written) else text  # it only looks like JSON
        return text if masked is written else masked.decode()

    def _names_in_text(self, text: bytes) -> bool:
        return any(self.names_a_secret(key.decode("utf-8", "replace")) for key in _KEYS.findall(text))
