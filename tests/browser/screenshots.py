"""``make screenshots``: pictures of the page, taken by a headless Chromium while ``tocsin demo`` runs.

The demo brings up a real Kafka, a worker and a load, so that the pictures show what a newcomer sees. They are
written to ``docs/images/`` as ``page-light.png`` and ``page-dark.png``.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.paths import ROOT

IMAGES: Final = ROOT / "docs" / "images"
#: Names under which Chromium is installed.
BROWSERS: Final = ("chromium", "chromium-browser", "google-chrome")
#: Name of a picture -> the colour scheme that the browser asks for, as Blink's setting numbers it.
SCHEMES: Final = {"page-light.png": 1, "page-dark.png": 0}
#: What the page is asked for: few enough event types that the classes below them are in the picture.
QUERY: Final = "?event_type=*.create.*"
WIDTH, HEIGHT = 1280, 1000

_FLAGS: Final = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    f"--window-size={WIDTH},{HEIGHT}",
)
_ADDRESS: Final = re.compile(r"The page is at (http://\S+)")
#: Notifications counted, and seconds of load, after which the tables are full and the shares have settled.
_ENOUGH: Final = 3000
_DEADLINE_S: Final = 180.0
_BROWSER_S: Final = 90.0
_END_S: Final = 60.0
_POLL_S: Final = 0.5


class ScreenshotError(Exception):
    """No picture can be taken; the message is one sentence that says why."""


def find_browser() -> str:
    """The path of Chromium.

    Raises:
        ScreenshotError: it is not installed.
    """
    for name in BROWSERS:
        if found := shutil.which(name):
            return found
    raise ScreenshotError("There is no Chromium here: install it, on Debian with `apt-get install chromium`.")


@contextmanager
def demo() -> Iterator[str]:
    """A running demo; yields the address of its page once the demo has said it."""
    with tempfile.TemporaryDirectory(prefix="tocsin-screenshots-") as folder:
        output = Path(folder) / "demo.log"
        with output.open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "tocsin", "demo"],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=os.environ | {"PYTHONUNBUFFERED": "1"},
                start_new_session=True,
            )

        def address() -> str | None:
            text = output.read_text("utf-8", "replace")
            if process.poll() is not None:
                raise ScreenshotError(f"The demo ended with exit code {process.returncode}:\n{text}")
            found = _ADDRESS.search(text)
            return found[1] if found else None

        try:
            yield _until("the demo says where its page is", address)
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
            try:
                process.wait(_END_S)
            except subprocess.TimeoutExpired:
                process.kill()  # its Kafka and its worker end with it
                process.wait()


def _until(what: str, ask: Callable[[], str | None]) -> str:
    until = time.monotonic() + _DEADLINE_S
    while time.monotonic() < until:
        if (answer := ask()) is not None:
            return answer
        time.sleep(_POLL_S)
    raise ScreenshotError(f"{_DEADLINE_S:.0f} s went by, and this never came true: {what}.")


def wait_for_counts(address: str) -> None:
    """Wait until the worker has counted enough for a picture."""
    # A proxy for the world outside is not meant for this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def counted() -> str | None:
        with opener.open(f"{address}api/v1/counts?window=total&limit=1000", timeout=10) as response:
            items = json.loads(response.read())["items"]
        return "yes" if sum(item["count"] for item in items) >= _ENOUGH else None

    _until(f"{_ENOUGH} notifications are counted", counted)


def take(browser: str, url: str, picture: Path, scheme: int) -> None:
    """Take one picture of ``url``, in a browser that has never been used before.

    Raises:
        ScreenshotError: the browser wrote none.
    """
    with tempfile.TemporaryDirectory(prefix="tocsin-browser-") as profile:
        taken = Path(profile) / "picture.png"
        command = [
            browser,
            *_FLAGS,
            f"--user-data-dir={profile}/profile",
            f"--blink-settings=preferredColorScheme={scheme}",
            f"--screenshot={taken}",
            url,
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_BROWSER_S)
        if done.returncode or not taken.is_file():
            raise ScreenshotError(f"{browser} took no picture (exit code {done.returncode}): {done.stderr}")
        picture.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(taken, picture)


def main(arguments: list[str] | None = None) -> int:
    """Take the pictures; the exit code is 1 when that cannot be done."""
    parser = argparse.ArgumentParser(prog="python -m tests.browser.screenshots", description=__doc__)
    parser.add_argument("--out", type=Path, default=IMAGES, help="folder of the pictures")
    out = parser.parse_args(arguments).out
    try:
        browser = find_browser()
        with demo() as address:
            wait_for_counts(address)
            for name, scheme in SCHEMES.items():
                take(browser, f"{address}{QUERY}", out / name, scheme)
                print(f"Written: {out / name}")
    except ScreenshotError as error:
        print(f"screenshots: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
