"""How long a notification takes until somebody sees it: from publishing to an open page in a real browser.

A worker with default settings, the Overview and the Counts in Chromium. CRITICAL is published one by one and
looked for on the Overview; others are, and looked for as a higher count. Nothing else is under way.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import random
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from aiokafka import AIOKafkaProducer
from playwright.async_api import Page

from streams.notifications import Priority
from streams.publishing.generator import Made
from tests.benchmarks.measure import summary
from tests.benchmarks.processes import BenchmarkError
from tests.benchmarks.targets import Target
from tests.browser.chromium import NoChromiumError, chromium, find_chromium
from tests.browser.pages import Pages
from tests.browser.served import address_of
from tests.integration.worker_process import Deployment
from tests.integration.writing import encode_made

#: Seconds until each is on its page.
LIMITS: Final = {"a forwarded CRITICAL on the Overview": 1.0, "a higher count on the Counts": 2.0}
CRITICAL, COUNT = LIMITS
_COUNTED: Final = "bench.counted"
#: Counted before, so that no other number of the row is the count that is waited for.
_BEFORE: Final = 1000
_WAIT_S: Final = 30.0
#: Pages refresh in a rhythm, so each is published at another moment of it.
_PAUSE_S: Final = 1.5

#: Begins to look; ``shown`` resolves with the time, in ms since 1970, when the page had it, or with null.
_LOOK: Final = """([text, count, most]) => {
  const has = (row) => row.querySelector("th")?.textContent.includes(text)
    && [...row.querySelectorAll("td")].some((cell) => cell.textContent.replace(/\\D/g, "") === count);
  const isThere = () => count === null
    ? document.querySelector("main").textContent.includes(text)
    : [...document.querySelectorAll("main tbody tr")].some(has);
  window.shown = new Promise((done) => {
    const observer = new MutationObserver(() => look());
    const end = (at) => { observer.disconnect(); done(at); };
    const look = () => { if (isThere()) end(Date.now()); };
    observer.observe(document.body, {subtree: true, childList: true, characterData: true});
    setTimeout(end, most, null);
    look();
  });
}"""


async def look_for(page: Page, text: str, count: int | None = None) -> None:
    """Let a page look for a text, or for the row of a table that has both a text and a count."""
    digits = None if count is None else str(count)
    await page.evaluate(_LOOK, [text, digits, 1000 * _WAIT_S])


async def shown_s(page: Page, began_s: float) -> float:
    """Seconds from ``began_s`` until a page had what it looks for; infinite if it never had."""
    at_ms = await page.evaluate("window.shown")
    return math.inf if at_ms is None else at_ms / 1000 - began_s


async def measure(brokers: str, folder: Path, number: int) -> dict[str, list[float]]:
    """Seconds to the page, of ``number`` CRITICAL and as many others.

    Raises:
        NoChromiumError: there is no browser.
        BenchmarkError: the pages do not show what was published before.
    """
    find_chromium()
    deployment = Deployment(brokers, "bench-shown", folder)
    settings = deployment.settings
    # Default settings but for names, ports and folders.
    worker = deployment.worker(session_timeout_s=None, partitions=None).start()
    producer = AIOKafkaProducer(bootstrap_servers=brokers, acks="all")
    pauses = random.Random(1)
    found: dict[str, list[float]] = {CRITICAL: [], COUNT: []}
    try:
        await worker.ready()
        await producer.start()
        async with chromium(folder / "chromium") as browser:
            pages = Pages(browser, address_of(worker))
            overview, counts = await pages.open(), await pages.open(f"counts?window=1h&event_type={_COUNTED}")
            counted = Made(Priority.INFO, "compute.host01", _COUNTED, {}, 0)

            async def publish(made: Made) -> float:
                began_s = time.time()
                await producer.send_and_wait(settings.notification_topic(made.priority), encode_made(made))
                return began_s

            await look_for(counts, _COUNTED, _BEFORE)
            for _ in range(_BEFORE):
                await publish(counted)
            if math.isinf(await shown_s(counts, time.time())):
                raise BenchmarkError(f"The page does not show {_BEFORE} notifications after {_WAIT_S:g} s.")
            for turn in range(number):
                await asyncio.sleep(pauses.uniform(0, _PAUSE_S))
                name = f"bench.critical.{turn:03}"
                await look_for(overview, name)
                began_s = await publish(Made(Priority.CRITICAL, "compute.host01", name, {}, 0))
                found[CRITICAL].append(await shown_s(overview, began_s))
                await asyncio.sleep(pauses.uniform(0, _PAUSE_S))
                await look_for(counts, _COUNTED, _BEFORE + turn + 1)
                found[COUNT].append(await shown_s(counts, await publish(counted)))
            await pages.close()
    finally:
        await producer.stop()
        worker.cleanup()
    return found


def targets(found: Mapping[str, Sequence[float]]) -> list[Target]:
    """The longest of each; what was not measured is not met."""
    return [
        Target(
            "web",
            f"the longest until {what}",
            1000 * limit,
            1000 * max(found.get(what) or [math.nan]),
            "ms",
            True,
        )
        for what, limit in LIMITS.items()
    ]


def rows(found: Mapping[str, Sequence[float]]) -> list[list[str]]:
    """Of a table: what, how many, p50 and the greatest."""
    return [
        [what, f"{len(values)}", *(f"{1000 * summary(values)[figure]:,.0f} ms" for figure in ("p50", "max"))]
        for what, values in found.items()
    ]


def run(brokers: str, folder: Path, options: argparse.Namespace) -> dict[str, list[float]]:
    """Measure, or say why there is nothing to measure with."""
    try:
        return asyncio.run(measure(brokers, folder, options.shown))
    except NoChromiumError as error:
        print(f"How long until a page shows it is not measured. {error}", flush=True)
        return {}
