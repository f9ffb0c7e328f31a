"""A headless Chromium, driven by Playwright: Debian's, since Playwright's own would be a download of its own.

It ends with the process that started it, however that ends, and leaves its profile in a folder that is given.
"""

from __future__ import annotations

import os
import shutil
import stat
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from playwright.async_api import Browser, async_playwright

from tests import leash

#: Names under which Chromium is installed.
NAMES: Final = ("chromium", "chromium-browser", "google-chrome")
_START_MS: Final = 120_000
_FLAGS: Final = ("--disable-gpu", "--disable-quic", "--hide-scrollbars")


class NoChromiumError(Exception):
    """Chromium is not installed; the message is one sentence that says what to do."""


def find_chromium() -> str:
    """The path of Chromium.

    Raises:
        NoChromiumError: it is not installed.
    """
    for name in NAMES:
        if found := shutil.which(name):
            return found
    raise NoChromiumError("There is no Chromium here: install it, on Debian with `apt-get install chromium`.")


@asynccontextmanager
async def chromium(folder: Path) -> AsyncIterator[Browser]:
    """A running browser; whoever wants a page makes a context of it, which shares nothing with others.

    Args:
        folder: for the profile and all else that it writes; made when missing.

    Raises:
        NoChromiumError: it is not installed.
    """
    program = find_chromium()
    folder.mkdir(parents=True, exist_ok=True)
    # Playwright's driver starts the browser, and ends when its input does: so whichever of the three is
    # killed, the others end.
    command = folder / "leashed"
    command.write_text(
        f'#!/bin/sh\nexec "{sys.executable}" -I -S "{leash.__file__}" $PPID "{program}" "$@"\n'
    )
    command.chmod(stat.S_IRWXU)
    before = os.environ.get("TMPDIR")
    os.environ["TMPDIR"] = str(folder)  # where the driver puts profiles
    try:
        started = await async_playwright().start()
    finally:
        if before is None:
            del os.environ["TMPDIR"]
        else:
            os.environ["TMPDIR"] = before
    try:
        browser = await started.chromium.launch(
            executable_path=command,
            args=_FLAGS,
            env={**os.environ, "HOME": str(folder), "TMPDIR": str(folder)},
            timeout=_START_MS,
        )
        try:
            yield browser
        finally:
            await browser.close()
    finally:
        await started.stop()
