"""The pages without scripts, behind a reverse proxy, and after a reload."""

from __future__ import annotations

from playwright.async_api import Browser, Page, expect

from tests.browser.conftest import TOKEN
from tests.browser.pages import MARKS, Pages, linked
from tests.browser.proxy import proxied
from tests.browser.served import Served

pytestmark = MARKS

PREFIX = "/a/tocsin"


async def rows(page: Page) -> int:
    """How many rows the tables of a page have."""
    return await page.locator("main tbody tr").count()


async def test_without_scripts_the_tables_show_and_the_filter_works(busy: Served, pages: Pages) -> None:
    await busy.publish("browser.plain", 3)
    with_scripts = await pages.open("counts?event_type=browser.plain")
    await expect(with_scripts.get_by_role("rowheader", name="browser.plain")).to_be_visible()
    page = await pages.open(java_script_enabled=False)
    for path in await linked(page):
        await page.goto(path)
        assert await rows(page) > 0, path
        await expect(page.locator("#pause")).to_be_hidden()
    # It was published before all these pages were opened.
    await page.goto("counts?window=1h")
    await page.get_by_role("searchbox").fill("browser.pl*")
    await page.get_by_role("searchbox").press("Enter")
    await expect(page.get_by_role("rowheader")).to_have_text(["browser.plain"])


async def test_filters_survive_a_reload(busy: Served, pages: Pages) -> None:
    await busy.publish("browser.filters", 3)
    page = await pages.open("counts")
    await page.get_by_role("searchbox").fill("browser.fil*")
    await page.get_by_label("Window").select_option("1h")
    await page.get_by_role("button", name="Show").click()
    await expect(page.get_by_role("rowheader")).to_have_text(["browser.filters"])
    address = page.url
    for go in (page.reload(), page.goto(address)):
        await go
        await expect(page.get_by_role("searchbox")).to_have_value("browser.fil*")
        await expect(page.get_by_label("Window")).to_have_value("1h")
        await expect(page.get_by_role("rowheader")).to_have_text(["browser.filters"])
        assert page.url == address


async def test_behind_a_reverse_proxy_all_works(browser: Browser, busy: Served) -> None:
    async with proxied(busy.address, PREFIX) as address:
        pages = Pages(browser, address)
        page = await pages.open("counts?window=1h&event_type=browser.proxy")
        await page.get_by_label("Token").fill(TOKEN)
        await page.get_by_role("button", name="Sign in").click()
        await expect(page.get_by_role("searchbox")).to_have_value("browser.proxy")
        (cookie,) = await page.context.cookies()
        assert cookie["path"] == f"{PREFIX}/"
        await expect(page.get_by_role("button", name="Pause")).to_be_visible()
        await busy.publish("browser.proxy", 3)
        await expect(page.get_by_role("rowheader")).to_have_text(["browser.proxy"])
        for name in await page.locator("header nav a").all_inner_texts():
            await page.get_by_role("link", name=name, exact=True).first.click()
            await expect(page.locator("header nav a[aria-current]")).to_have_text(name)
            assert page.url.startswith(address)
        await page.get_by_role("button", name="Sign out").click()
        await expect(page.get_by_label("Token")).to_be_visible()
        assert page.url == f"{address}sign-in"
        await pages.close()
        assert pages.errors == []
