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
_SIGNS: Final = re.compile(r"[^0-9a-z]+")
#: The keys in text that looks like JSON.
_KEYS: Final = re.compile(r"""["']([^"']*)["']\s*:""")
#: What JSON text that is an object or a list may begin with.
_BEGINNINGS: Final = frozenset("{[ \t\r\n")
#: Keys that are remembered as harmless; services use a few hundred.
_MOST_REMEMBERED: Final = 10_000
_LONGEST_REMEMBERED: Final = 200


def _plain(key: str) -> str:
    """``key`` in lower case, without anything but letters and digits."""
    return _SIGNS.sub("", key.lower())


class Masker:
    """Masks the values of keys that name a secret.

    Args:
        further: words besides the built-in ones.
    """

    def __init__(self, further: Iterable[str] = ()) -> None:
        words = dict.fromkeys(filter(None, map(_plain, (*_OF_OSLO, *_FURTHER, *further))))
        self._named = re.compile("|".join(map(re.escape, words)))
        self._harmless: set[str] = set()

    def names_a_secret(self, key: str) -> bool:
        """Whether the value of ``key`` is to be masked."""
        return self._named.search(_plain(key)) is not None

    def masked(self, notification: bytes, parsed: Any = None) -> bytes:
        """The JSON text with secrets masked; the same object where no key names one.

        Args:
            notification: the text.
            parsed: what it was parsed to, where that is known: of an envelope, the notification in it.

        Raises:
            orjson.JSONDecodeError: it is no JSON that can be looked into.
        """
        if parsed is None:
            parsed = orjson.loads(notification)
        return self._rewritten(notification) if self._finds_a_secret(parsed) else notification

    def _finds_a_secret(self, parsed: Any) -> bool:
        """Whether any key names a secret, whatever its value: of a key that stands twice, one is lost."""
        harmless = self._harmless
        left = [parsed]
        for value in left:
            kind = type(value)
            if kind is dict:
                if not harmless.issuperset(value):
                    for key in value:
                        if self.names_a_secret(key):
                            return True
                    if len(harmless) > _MOST_REMEMBERED:
                        harmless.clear()
                    harmless.update(key for key in value if len(key) <= _LONGEST_REMEMBERED)
                left += [
                    held
                    for held in value.values()
                    if type(held) is dict
                    or type(held) is list
                    or (type(held) is str and held[:1] in _BEGINNINGS)
                ]
            elif kind is list:
                left += value
            elif kind is str and value[:1] in _BEGINNINGS and self._text_may_hold_one(value):
                return True
        return False

    def _text_may_hold_one(self, text: str) -> bool:
        if text.lstrip()[:1] not in {"{", "["}:
            return False
        try:
            return self._finds_a_secret(orjson.loads(text))
        except (ValueError, RecursionError):
            # It only looks like JSON: a dictionary as Python prints it, for one.
            return any(map(self.names_a_secret, _KEYS.findall(text)))

    def _rewritten(self, text: bytes | str) -> bytes:
        return orjson.dumps(self._in_value(orjson.loads(text)))

    def _in_value(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {
                key: MASK if self._hides(key, held) else self._in_value(held) for key, held in value.items()
            }
        if isinstance(value, list):
            return [self._in_value(item) for item in value]
        if isinstance(value, str) and value[:1] in _BEGINNINGS and self._text_may_hold_one(value):
            try:
                return self._rewritten(value).decode()
            except (ValueError, TypeError, RecursionError):
                return MASK  # it only looks like JSON, or is nested too deep to be looked into
        return value

    def _hides(self, key: str, held: Any) -> bool:
        # Nothing, and yes or no, are no secrets.
        return held is not None and held != "" and not isinstance(held, bool) and self.names_a_secret(key)
