"""``make screenshots``: pictures of the pages, taken by a headless Chromium of a real worker on a real Kafka.

The hour before is published at once, with the times of that hour; then a load goes on. They are written to
``docs/images/`` as WebP.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import signal
import sys
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from playwright.async_api import Browser, Error, Page, expect

from streams.notifications import Priority
from streams.publishing.generator import Made
from tests.browser.chromium import NoChromiumError, chromium, find_chromium
from tests.browser.pages import DESKTOP, PHONE, Pages, Theme
from tests.browser.published_hour import NUMBER, publish_hour
from tests.browser.served import Served, address_of, serve
from tests.integration.worker_process import BOUND_S, eventually
from tests.integration.writing import made_load
from tests.paths import ROOT
from tests.shared_kafka import START_S
from tocsin.local_kafka.cluster import LocalKafka
from tocsin.local_kafka.process import SHORT_LIFE

IMAGES: Final = ROOT / "docs" / "images"
QUALITY: Final = 85
#: Event types of the picture of many.
MANY: Final = 2000
#: What waits while the pictures are taken that show how a backlog is worked off.
BACKLOG: Final = 60_000
RATE: Final = 150


@dataclass(frozen=True)
class Shot:
    """One picture.

    Attributes:
        name: of its file, without the ending.
        path: of the page.
        theme: that the browser asks for.
        size: of the window, whose upper part is in the picture.
    """

    name: str
    path: str
    theme: Theme = "light"
    size: Any = None

    async def take(self, pages: Pages, folder: Path) -> None:
        """Write it."""
        page = await pages.new(
            viewport=self.size or DESKTOP, color_scheme=self.theme, reduced_motion="reduce"
        )
        await page.goto(self.path)
        await expect(page.get_by_role("heading", level=1).first).to_be_attached()
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{self.name}.webp").write_bytes(await picture(page))
        print(f"Written: {folder / self.name}.webp", flush=True)


EMPTY: Final = (Shot("overview-empty", ""),)
BUSY: Final = (
    Shot("overview-light", ""),
    Shot("overview-dark", "", "dark"),
    Shot("overview-phone", "", size=PHONE | {"width": 390, "height": 844}),
    Shot("counts", "counts?window=1h"),
    Shot("counts-dark", "counts?window=1h", "dark"),
    Shot("event-type", "event?type=compute.instance.create.error"),
    Shot("alerts", "alerts"),
    Shot("flow", "flow"),
)
LARGE: Final = (Shot("counts-2000-types", "counts?window=1h&limit=2000"),)
DEGRADED: Final = (Shot("overview-degraded", ""),)


async def picture(page: Page) -> bytes:
    """What the window shows, as WebP."""
    session = await page.context.new_cdp_session(page)
    answer = await session.send("Page.captureScreenshot", {"format": "webp", "quality": QUALITY})
    return base64.b64decode(answer["data"])


async def shows(pages: Pages, path: str, holds: Callable[[Page], Awaitable[None]]) -> None:
    """Wait until a page shows what ``holds`` waits for."""
    page = await pages.open(path)
    await holds(page)
    await page.close()


async def take_all(folder: Path, only: str) -> None:
    """Take every picture whose name contains ``only``."""

    async def take(shots: tuple[Shot, ...], pages: Pages) -> None:
        for shot in shots:
            if only in shot.name:
                await shot.take(pages, folder)

    with tempfile.TemporaryDirectory(prefix="tocsin-screenshots-") as scratch:
        local = LocalKafka(Path(scratch) / "kafka", die_with_parent=True, jvm_options=SHORT_LIFE)
        try:
            await asyncio.to_thread(local.start, timeout=START_S)
            async with (
                chromium(Path(scratch) / "chromium") as browser,
                serve(local.bootstrap, Path(scratch)) as served,
            ):
                pages = Pages(browser, served.address)
                await shows(pages, "", is_complete)
                await take(EMPTY, pages)
                await publish_hour(served)
                async with served.out.steadily(made_load(seed=2), RATE):
                    await eventually("the hour is counted", lambda: hour_is_counted(served))
                    backlog = Made(Priority.DEBUG, "conductor.host01", "rpc.call", {"method": "select"}, 0)
                    await served.out.made([backlog] * BACKLOG)
                    await take(BUSY, pages)
                many = [f"load.kind{number % 40:02}.step{number:04}" for number in range(MANY)]
                await served.out.made(Made(Priority.INFO, "load.host01", name, {}, 0) for name in many)
                await shows(pages, f"counts?window=total&event_type={many[-1]}", are_counted)
                await take(LARGE, pages)
                await degraded(browser, served, lambda pages: take(DEGRADED, pages))
        finally:
            await asyncio.to_thread(local.reset)


async def is_complete(page: Page) -> None:
    """Wait until no partition is missing."""
    await expect(page.locator("#health")).not_to_contain_text("missing")


async def hour_is_counted(served: Served) -> bool:
    """Whether the last hour has nearly all; workers tell each other of older minutes bit by bit."""
    status, body = await asyncio.to_thread(served.worker.get, "/api/v1/counts?window=1h&limit=1000")
    return status == 200 and sum(item["count"] for item in json.loads(body)["items"]) > 0.97 * NUMBER


async def are_counted(page: Page) -> None:
    """Wait until the page has a row."""
    await page.locator("main tbody tr").first.wait_for(timeout=BOUND_S * 1000)


async def degraded(browser: Browser, served: Served, take: Callable[[Pages], Awaitable[None]]) -> None:
    """``tocsin web`` while the worker hangs."""
    web = served.deployment.worker("web", command=["tocsin", "web"]).start()
    await web.ready()
    served.worker.process.send_signal(signal.SIGSTOP)
    try:
        pages = Pages(browser, address_of(web))
        page = await pages.open()
        await expect(page.locator("main")).to_contain_text("No worker was heard from lately")
        await take(pages)
    finally:
        served.worker.process.send_signal(signal.SIGCONT)


def main(arguments: list[str] | None = None) -> int:
    """Take the pictures; the exit code is 1 when that cannot be done."""
    parser = argparse.ArgumentParser(prog="python -m tests.browser.screenshots", description=__doc__)
    parser.add_argument("--out", type=Path, default=IMAGES, help="folder of the pictures")
    parser.add_argument("--only", default="", help="part of the names of those to take")
    given = parser.parse_args(arguments)
    try:
        find_chromium()
        asyncio.run(take_all(given.out, given.only))
    except (NoChromiumError, Error, AssertionError) as error:
        print(f"screenshots: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
