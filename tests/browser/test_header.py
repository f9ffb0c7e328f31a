"""What is said beside the button Pause has its place: nothing moves when it comes, on any screen."""

from __future__ import annotations

from typing import Final

import pytest
from playwright.async_api import Page, expect

from tests.browser.pages import DESKTOP, MARKS, PHONE, Pages

pytestmark = MARKS

WALL: Final = {"width": 3840, "height": 2160}
#: All that the script may say there.
SENTENCES: Final = ("paused since 23:59:59 UTC", "no answer for 12345 s", "waits: text is selected")
#: Where the parts of the header and the page below it lie.
_PLACES: Final = """() => [...document.querySelectorAll("header > *, header #pause, main")].map((each) => {
  const {x, y, width, height} = each.getBoundingClientRect();
  return [x, y, width, height];
})"""
#: Whether what is said lies within its place, beside what else there is, and within the window.
_FITS: Final = """() => {
  const said = document.getElementById("offline");
  const range = document.createRange();
  range.selectNodeContents(said);
  const text = range.getBoundingClientRect(), place = said.getBoundingClientRect();
  const button = document.getElementById("pause").getBoundingClientRect();
  return text.width > 0 && text.left >= place.left - 1 && text.right <= place.right + 1
    && text.top >= place.top - 1 && text.bottom <= place.bottom + 1
    && place.left >= 0 && place.right <= button.left;
}"""
#: As it was: as wide as what is said.
_AS_IT_WAS: Final = """() => {
  const sheet = new CSSStyleSheet();
  sheet.replaceSync("#offline { width: auto; height: auto; font-size: 1rem; white-space: nowrap }");
  document.adoptedStyleSheets.push(sheet);
}"""


async def shown(pages: Pages, size: dict[str, int]) -> Page:
    """A page of that size."""
    page = await pages.open("counts", viewport=size)
    await expect(page.get_by_role("button", name="Pause")).to_be_visible()
    return page


async def say(page: Page, text: str) -> None:
    """Have it said as the script says it."""
    await page.evaluate("text => { document.getElementById('offline').textContent = text; }", text)


@pytest.mark.parametrize("size", [PHONE, DESKTOP, WALL], ids=["phone", "desktop", "wall"])
async def test_nothing_moves_when_something_is_said_beside_the_button(
    pages: Pages, size: dict[str, int]
) -> None:
    page = await shown(pages, size)
    await page.get_by_role("button", name="Pause").click()
    await expect(page.locator("#offline")).to_contain_text("paused since")
    paused = await page.evaluate(_PLACES)
    for text in SENTENCES:
        await say(page, text)
        assert await page.evaluate(_PLACES) == paused
        assert await page.evaluate(_FITS), text
    await say(page, "")
    assert await page.evaluate(_PLACES) == paused


async def test_what_moves_is_found_out(pages: Pages) -> None:
    """The control: where what is said is as wide as it happens to be."""
    for size in (PHONE, DESKTOP):
        page = await shown(pages, size)
        await page.get_by_role("button", name="Pause").click()
        await page.evaluate(_AS_IT_WAS)
        await say(page, "")
        before = await page.evaluate(_PLACES)
        await say(page, SENTENCES[0])
        assert await page.evaluate(_PLACES) != before
