"""A forwarded notification appears on the pages that are open, with the place where it lies."""

from __future__ import annotations

from playwright.async_api import expect

from streams.notifications import Priority
from tests.browser.pages import MARKS, Pages
from tests.browser.served import Served

pytestmark = MARKS


async def test_a_forwarded_critical_appears_without_a_reload(busy: Served, pages: Pages) -> None:
    overview, alerts = await pages.open(), await pages.open("alerts?event_type=browser.critical")
    for page in (overview, alerts):
        await expect(page.locator("#pause")).to_be_visible()
        await expect(page.locator("main").get_by_text("browser.critical")).to_have_count(0)
        await page.evaluate("window.wasHere = true")
    await busy.publish("browser.critical", 1, Priority.CRITICAL, host="host01")
    for page in (overview, alerts):
        await expect(page.locator("main [data-live]").get_by_text("browser.critical").first).to_be_visible()
        assert await page.evaluate("window.wasHere"), "it was loaded anew"
    await alerts.locator("main [data-live] .place a").first.click()
    for words in (busy.settings.alert_topic(Priority.CRITICAL), "browser.critical", "host01"):
        await expect(alerts.locator("main").get_by_text(words).first).to_be_visible()
