"""The narrowest phone: nothing that is read lies beyond the edge, and what scrolls can be reached by keys."""

from __future__ import annotations

import pytest
from playwright.async_api import Page, expect

from streams.notifications import Priority
from tests.browser.conftest import SEEN
from tests.browser.pages import MARKS, PHONE, Pages, linked
from tests.browser.served import Served

pytestmark = MARKS

LONG = "identity.project.created.by_somebody.in.a_place.with.long.names"
#: Cells of tables whose rows are blocks, and facts, that lie beyond the edge or leave a value no room.
_BEYOND = """() => [...document.querySelectorAll(".stack tbody > tr > *, .facts td")]
  .filter((cell) => {
    const {left, right, width} = cell.getBoundingClientRect();
    return left < 0 || right > innerWidth || (cell.matches(".facts td") && width < innerWidth / 2);
  }).map((cell) => cell.outerHTML)"""
#: Elements that scroll sideways and cannot be reached, or have no name.
_UNREACHED = """() => [...document.querySelectorAll("main *")]
  .filter((each) => each.scrollWidth > each.clientWidth + 1
    && ["auto", "scroll"].includes(getComputedStyle(each).overflowX)
    && !(each.tabIndex === 0
      && (each.ariaLabel || document.getElementById(each.getAttribute("aria-labelledby")))))
  .map((each) => each.outerHTML.slice(0, 200))"""
#: Parts of the heading, between the places where it may break, that are on more than one line.
_BROKEN_WORDS = """() => [...document.querySelector("h1").childNodes]
  .filter((part) => {
    if (part.nodeType !== Node.TEXT_NODE) return false;
    const range = document.createRange();
    range.selectNodeContents(part);
    return range.getClientRects().length > 1;
  }).map((part) => part.textContent)"""


async def found(page: Page, script: str) -> list[str]:
    """What a script finds on a page."""
    names: list[str] = await page.evaluate(script)
    return names


async def test_rows_are_blocks_within_the_screen(pages: Pages) -> None:
    # It was published once, before the first of all tests here.
    page = await pages.open(f"counts?event_type={SEEN}&window=24h", viewport=PHONE)
    await expect(page.get_by_role("rowheader", name=SEEN)).to_be_visible()
    for path in await linked(page):
        await page.goto(path)
        assert await found(page, _BEYOND) == [], path
        assert await found(page, _UNREACHED) == [], path
    await page.goto("alerts")
    await page.locator("main .place a").first.click()
    await page.locator("main h1").wait_for()
    await page.wait_for_load_state()  # with its style sheet, too
    assert await found(page, _BEYOND) == []
    # Nothing speaks of a drawing that is not there.
    await page.goto("flow")
    await expect(page.get_by_text("the mark in the drawing")).to_be_hidden()
    assert await page.locator(".stack tbody tr").count() > 0


async def test_cells_beyond_the_edge_are_found_out(pages: Pages) -> None:
    """The control."""
    page = await pages.open("flow", viewport=PHONE)
    await page.evaluate(
        """() => {
          const sheet = new CSSStyleSheet();
          sheet.replaceSync(".stack > tbody > tr { width: 60rem }");
          document.adoptedStyleSheets.push(sheet);
          document.querySelector(".scroll").removeAttribute("tabindex");
        }"""
    )
    assert await found(page, _BEYOND) != []
    assert len(await found(page, _UNREACHED)) == 1


async def test_names_stay_while_the_counts_are_scrolled(pages: Pages) -> None:
    # It was published once, before the first of all tests here.
    page = await pages.open(f"counts?event_type={SEEN}&window=24h", viewport=PHONE)
    name = page.get_by_role("rowheader", name=SEEN)
    await expect(name).to_be_visible()
    before = await name.bounding_box()
    region = page.get_by_role("group", name="Counts")
    await region.focus()
    assert (
        await region.evaluate("each => { each.scrollLeft = each.scrollWidth; return each.scrollLeft }") > 100
    )
    assert await name.bounding_box() == before
    await expect(page.get_by_role("columnheader", name="Last seen")).to_be_in_viewport()
    assert before is not None
    assert before["width"] < PHONE["width"] / 2


@pytest.mark.parametrize("size", [320, 390])
async def test_the_name_of_an_event_type_breaks_between_its_words(
    busy: Served, pages: Pages, size: int
) -> None:
    await busy.publish(LONG, 1, Priority.INFO)
    waiting = await pages.open(f"counts?event_type={LONG}")
    await expect(waiting.get_by_role("rowheader", name=LONG)).to_be_visible()
    page = await pages.open(f"event?type={LONG}", viewport={"width": size, "height": 640})
    await expect(page.get_by_role("heading", name=LONG)).to_be_visible()
    assert await found(page, _BROKEN_WORDS) == []
    await page.evaluate("document.querySelector('h1').textContent = document.querySelector('h1').textContent")
    assert await found(page, _BROKEN_WORDS) != []  # the control: without places to break at
