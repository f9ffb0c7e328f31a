"""Pages that refresh by themselves, and do not while that would disturb whoever sits before them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable

import pytest
from playwright.async_api import Locator, Page, Route, expect

from streams.notifications import Priority
from tests.browser.pages import MARKS, Pages
from tests.browser.served import Served

pytestmark = MARKS

#: Resolves at the next refresh that changed the page.
REFRESHED = "new Promise(go => document.addEventListener('tocsin:refreshed', () => go(), {once: true}))"
#: Resolves when this page, too, hears that something has changed.
HEARD = """new Promise(go => {
  const source = new EventSource("live");
  source.addEventListener("changed", () => { source.close(); go(); });
})"""


def row(page: Page, event_type: str) -> Locator:
    """The row of an event type."""
    return page.get_by_role("row").filter(has=page.get_by_role("rowheader", name=event_type, exact=True))


async def watching(pages: Pages, event_type: str, *, heedless: bool = False) -> tuple[Page, Locator]:
    """The page of counts for one event type, and its row; ``heedless`` takes no regard of anybody."""
    page = await pages.new()
    if heedless:
        await page.route("**/static/live.js", heedlessly)
    await page.goto(f"counts?window=1h&event_type={event_type}")
    await expect(page.get_by_role("button", name="Pause")).to_be_visible()
    return page, row(page, event_type)


async def shows(shown: Locator, number: int) -> None:
    """Wait until a row has a number."""
    await expect(shown.get_by_text(str(number), exact=True).first).to_be_visible()


async def heedlessly(route: Route) -> None:
    """The script, broken: it always finds the moment a good one."""
    answer = await route.fetch()
    text = await answer.text()
    broken = re.sub(r"const isBusy = \(\) =>\n[^;]*;", "const isBusy = () => false;", text)
    assert broken != text
    await route.fulfill(response=answer, body=broken)


async def test_counts_change_without_a_reload(busy: Served, pages: Pages) -> None:
    page, shown = await watching(pages, "browser.first")
    await page.evaluate("window.wasHere = true")
    await expect(shown).to_have_count(0)
    for total in (7, 14):
        await busy.publish("browser.first", 7)
        await shows(shown, total)
    assert await page.evaluate("window.wasHere"), "it was loaded anew"


Act = Callable[[], Awaitable[object]]


async def typing(page: Page) -> tuple[Act, Act]:
    await page.clock.install()
    await page.reload()
    await page.clock.pause_at(await page.evaluate("Date.now() + 1000"))
    await page.get_by_role("searchbox").press_sequentially("*")

    async def wait() -> None:
        await page.evaluate(HEARD)
        await page.clock.run_for(1500)  # enough for a refresh, not for somebody to have ended typing

    return wait, lambda: page.clock.run_for(5000)


async def selecting(page: Page) -> tuple[Act, Act]:
    # Not by clicks: a name may be a link.
    await page.evaluate("getSelection().selectAllChildren(document.querySelector('tbody th'))")
    assert await page.evaluate("String(getSelection()).length > 0")
    return lambda: page.evaluate(HEARD), lambda: page.evaluate("getSelection().removeAllRanges()")


async def paused(page: Page) -> tuple[Act, Act]:
    button = page.locator("#pause")
    await button.click()
    await expect(button).to_have_attribute("aria-pressed", "true")
    await expect(page.locator("#offline")).to_have_text(re.compile(r"^paused since \d\d:\d\d:\d\d UTC$"))
    return lambda: page.evaluate(HEARD), button.click


@pytest.mark.parametrize("heedless", [False, True], ids=["as it is", "control"])
async def test_a_page_is_left_alone_while_somebody_is_at_it(
    busy: Served, pages: Pages, heedless: bool
) -> None:
    name = f"browser.held.{heedless}"
    await busy.publish(name, 7)
    _, elsewhere = await watching(pages, name)
    await shows(elsewhere, 7)
    may_go_on = asyncio.Event()

    async def held(hold: Callable[[Page], Awaitable[tuple[Act, Act]]]) -> None:
        page, shown = await watching(pages, name, heedless=heedless)
        wait, release = await hold(page)
        ready.release()
        await may_go_on.wait()
        await wait()
        if not heedless:
            await shows(shown, 7)
            await release()
        await shows(shown, 14)

    ready = asyncio.Semaphore(0)
    async with asyncio.TaskGroup() as group:
        for hold in (typing, selecting, paused):
            group.create_task(held(hold))
        for _ in range(3):
            await ready.acquire()
        await busy.publish(name, 7)
        await shows(elsewhere, 14)
        may_go_on.set()


async def never(_: Route) -> None:
    """No answer at all, as of a host that stands still."""


async def test_a_page_says_that_nobody_answers_though_no_connection_was_refused(
    busy: Served, pages: Pages
) -> None:
    await busy.publish("browser.silent", 7)
    page = await pages.new()
    await page.route("**/live", never)
    await page.clock.install()
    await page.goto("counts?window=1h&event_type=browser.silent")
    said = page.locator("#offline")
    await expect(page.get_by_role("button", name="Pause")).to_be_visible()
    # Without the stream the page is asked for, and as long as it comes there is nothing to say.
    await page.clock.run_for(9000)
    await expect(said).to_have_text("")
    await page.route("**/counts?*", never)
    await page.clock.run_for(9000)
    await expect(said).to_have_text(re.compile(r"^no answer for \d+ s$"))


async def test_the_focus_stays_where_it_was(busy: Served, pages: Pages) -> None:
    for number in range(3):
        await busy.publish(f"browser.focus.{number}", 2)
    page = await pages.open("counts?window=1h&event_type=browser.focus.*&limit=2")
    # Only once all three are shown is the last link one that stays.
    await expect(page.get_by_role("link", name="Next page")).to_be_visible()
    link = page.locator("main [data-live] a").last
    await link.focus()
    focused = await page.evaluate_handle("document.activeElement")
    await busy.publish("browser.focus.0", 5, Priority.CRITICAL)
    await expect(page.locator("main [data-live]").get_by_text("5", exact=True).first).to_be_visible()
    await page.evaluate(REFRESHED)
    assert await page.evaluate("before => document.activeElement === before && before.isConnected", focused)


async def test_a_page_that_cannot_reach_the_worker_says_so(busy: Served, pages: Pages) -> None:
    page, _ = await watching(pages, "browser.offline")
    await page.evaluate(REFRESHED)
    await page.context.set_offline(True)
    await expect(page.locator("#offline")).to_contain_text("no answer for")
    pages.errors.clear()
    await page.context.set_offline(False)
    await expect(page.locator("#offline")).to_have_text("")
    pages.errors.clear()
