"""Every page, as axe-core judges it: in both themes, on a desktop and on the narrowest phone."""

from __future__ import annotations

from playwright.async_api import Page

from tests.browser.accessibility import faults, wider_than_window
from tests.browser.pages import DESKTOP, MARKS, PHONE, Pages, linked
from tests.browser.served import Served

pytestmark = MARKS

#: Pages that no link of the header leads to -> their status.
OTHERS = {"counts?window=2d": 400, "counts?event_type=there.is.none": 200}


async def judged(page: Page) -> list[str]:
    """What is wrong with a page as it is, in both themes, wide and narrow."""
    found = []
    for size, scheme, only_looks in (
        (DESKTOP, "light", False),
        (DESKTOP, "dark", True),
        (PHONE, "dark", False),
        (PHONE, "light", True),
    ):
        await page.set_viewport_size(size)
        await page.emulate_media(color_scheme=scheme)
        all_faults = await faults(page, only_looks=only_looks)
        all_faults += [f"too wide {each}" for each in await wider_than_window(page)]
        found += [f"{page.url}, {scheme}, {size['width']} px: {each}" for each in all_faults]
    return found


async def test_axe_finds_nothing_on_any_page(pages: Pages) -> None:
    found: list[str] = []
    page = await pages.open()
    for path in await linked(page):
        await page.goto(path)
        found += await judged(page)
    for path, status in OTHERS.items():
        found += await judged(await pages.open(path, status=status))
    assert not found, "\n".join(found)


async def test_axe_finds_nothing_on_pages_that_are_empty(fresh: Served, empty_pages: Pages) -> None:
    page = await empty_pages.open()
    found: list[str] = []
    for path in await linked(page):
        await page.goto(path)
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
