"""Text files that settings name: secrets, and the settings file itself."""

from __future__ import annotations

import codecs
import errno
import os
import re
import select
import stat
import time
import unicodedata
from pathlib import Path
from typing import Final

from streams.notifications.visible import INVISIBLE
from streams.settings.errors import ConfigurationError

#: Bytes of the largest file that is taken for a secret, and for a file of settings.
SECRET_BYTES = 64 * 2**10
CONFIG_BYTES = 2**20

_INVISIBLE: Final = re.compile(f"[{INVISIBLE}]")
#: Seconds for somebody to write to a pipe.
_PIPE_S: Final = 5.0


def read_text(setting: str, path: str | Path, *, limit: int, what: str) -> str:
    """The text of a file in UTF-8, without the byte order mark that some editors put before it.

    Args:
        setting: what names the file, such as ``TOCSIN_WEB_TOKEN_FILE``, for the message.
        path: of the file.
        limit: bytes that it may have.
        what: it is, such as "a secret", for the message.

    Raises:
        ConfigurationError: it is not there, cannot be read, is too large or is not UTF-8.
    """
    shown = printable(str(path))
    try:
        # A device has no end, and its size says nothing: read no more than may be there. A pipe may have
        # nobody who writes to it: to open it as other files are opened would wait for ever.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            if stat.S_ISFIFO(os.fstat(file.fileno()).st_mode):
                content = _of_pipe(file.fileno(), limit + 1)
            else:
                content = file.read(limit + 1)
    except FileNotFoundError:
        raise ConfigurationError(f"{setting}: cannot read {shown}, there is no file of this name.") from None
    except OSError as error:
        raise ConfigurationError(
            f"{setting}: cannot read {shown} ({error.strerror or error}); name a file of UTF-8 text."
        ) from None
    except ValueError:
        raise ConfigurationError(f"{setting}: {shown} is no name of a file.") from None
    if len(content) > limit:
        raise ConfigurationError(
            f"{setting}: {shown} has more than {limit // 1024} KiB, too much for {what}; name another file."
        )
    try:
        text = content.removeprefix(codecs.BOM_UTF8).decode("utf-8")
    except UnicodeDecodeError:
        raise ConfigurationError(f"{setting}: {shown} is not UTF-8 text; save {what} as UTF-8.") from None
    return text


def _of_pipe(descriptor: int, most: int) -> bytes:
    """What is written to a pipe until it is closed, within a bound of time.

    Raises:
        OSError: nothing came, or no end.
    """
    content = b""
    deadline = time.monotonic() + _PIPE_S
    while len(content) < most:
        ready, _, _ = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
        part = os.read(descriptor, most - len(content)) if ready else b""
        if not part and (content or time.monotonic() >= deadline):
            if not content:
                raise OSError(errno.ETIMEDOUT, f"a pipe that nobody wrote to within {_PIPE_S:.0f} s")
            break
        if not part:
            time.sleep(0.01)  # nobody has opened it for writing yet
        content += part
    return content


def read_secret(setting: str, path: str | Path) -> str:
    """A secret from a file, without white space around it; as ``read_text``.

    Raises:
        ConfigurationError: as ``read_text``, or nothing is in it.
    """
    secret = read_text(setting, path, limit=SECRET_BYTES, what="a secret").strip()
    if not secret:
        raise ConfigurationError(
            f"{setting}: {printable(str(path))} is empty; write the secret into it, or unset {setting}."
        )
    return secret


def hidden_character(text: str, *, marks: bool) -> str | None:
    """The first character that no value has on purpose, as U+XXXX; None when there is none.

    Args:
        text: to look at.
        marks: refuse invisible marks too, such as U+200B; names of folders may have them, in pictographs.
    """
    for character in text:
        # Cs is what stands for bytes that are not UTF-8; U+FEFF is the byte order mark.
        category = unicodedata.category(character)
        unseen = category == "Cf" or _INVISIBLE.match(character) is not None
        if category in ("Cc", "Cs", "Zl", "Zp") or character == "\ufeff" or (marks and unseen):
            return f"U+{ord(character):04X}"
    return None


def printable(text: str) -> str:
    """``text`` for a message: escaped where it would not print, and cut where it is long."""
    text = text if text.isprintable() else text.encode("unicode_escape").decode()
    return text if len(text) <= 200 else f"{text[:199]}…"
