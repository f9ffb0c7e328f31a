"""Every page, as axe-core judges it: in both themes, on a desktop and on the narrowest phone."""

from __future__ import annotations

from playwright.async_api import expect

from tests.browser.accessibility import judged
from tests.browser.conftest import SEEN
from tests.browser.pages import MARKS, THEMES, Pages, linked

pytestmark = MARKS

#: Pages that no link of the header leads to -> their status.
OTHERS = {
    f"event?type={SEEN}": 200,
    "event?type=there.is.none": 404,
    "counts?event_type=there.is.none": 200,
    "dead-letters?reason=none": 200,
    "api": 200,
    "nothing/at/this/address": 404,
}


async def test_axe_finds_nothing_on_any_page(pages: Pages) -> None:
    found: list[str] = []
    # It was published once, before the first of all tests here.
    page = await pages.open(f"counts?event_type={SEEN}&window=24h")
    await expect(page.get_by_role("rowheader", name=SEEN)).to_be_visible()
    for path in await linked(page):
        await page.goto(path)
        await page.locator("details").evaluate_all("all => all.forEach(each => { each.open = true; })")
        found += await judged(page)
    await page.goto("alerts")
    await page.locator("main .place a").first.click()
    await page.locator("main h1").wait_for()
    await page.wait_for_load_state()  # with its style sheet, too
    found += await judged(page)
    for path, status in OTHERS.items():
        await pages.go(page, path, status)
        found += await judged(page)
    assert not found, "\n".join(found)


async def test_a_page_that_is_broken_is_found_out(pages: Pages) -> None:
    """The control."""
    page = await pages.open()
    await page.evaluate(
        """() => {
          const sheet = new CSSStyleSheet();
          sheet.replaceSync(".odd { width: 60rem } .faint { color: #888; background: #999 }");
          document.adoptedStyleSheets.push(sheet);
          const parts =
            "<img src=static/icon.svg><table class=odd><tr><td>1</table><p class=faint>Hard to read";
          document.querySelector("main").insertAdjacentHTML("beforeend", parts);
        }"""
    )
    found = await judged(page)
    for rule in ("image-alt", "too wide", "color-contrast"):
        assert any("dark, 320 px" in each and rule in each for each in found), rule
    for theme in THEMES:
        for width in (320, 1280):
            assert any(f"{theme}, {width} px: color-contrast" in each for each in found), (theme, width)
