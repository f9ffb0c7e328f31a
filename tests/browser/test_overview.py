"""The Overview: what belongs together is on one line."""

from __future__ import annotations

from typing import Final

import pytest
from playwright.async_api import expect

from tests.browser.pages import MARKS, Pages

pytestmark = MARKS

#: What is torn with the longest words that can be there, and what is above its bar or outside of its cell;
#: ``sheet`` is put on the page first. All in one step, so that no refresh of the page comes between.
_LOOK: Final = """(sheet) => {
  if (sheet) {
    const put = new CSSStyleSheet();
    put.replaceSync(sheet);
    document.adoptedStyleSheets.push(put);
  }
  const all = [...document.querySelectorAll(".words")];
  for (const each of all) {
    each.querySelector("b").textContent = "100";
    each.querySelector(".due-of").textContent = "due 61.5\\u00a0%";
  }
  const isTorn = (each) => {
    const words = document.createRange();
    words.selectNodeContents(each);
    const highest = Math.max(...[...words.getClientRects()].map((at) => at.height));
    return words.getBoundingClientRect().height > 1.5 * highest;
  };
  const torn = (each) => isTorn(innerWidth < 960 ? each.querySelector(".due-of") : each);
  const over = (each) => {
    const words = document.createRange();
    words.selectNodeContents(each);
    const at = words.getBoundingClientRect();
    const bar = each.parentElement.querySelector("svg").getBoundingClientRect();
    return (at.left < bar.right && bar.left < at.right && at.top < bar.bottom && bar.top < at.bottom)
      || at.right > each.closest("td").getBoundingClientRect().right;
  };
  return {torn: all.filter(torn).length, over: all.filter(over).length, all: all.length};
}"""
#: As it was.
_NARROW: Final = """.due-of { white-space: normal }
  .strips .share .pair { display: grid; grid-template-columns: minmax(0, 1fr) 3rem }
  .strips .share .words { width: auto }"""
#: And on a screen of 1440 pixels, where the bar had no room beside the words.
_BESIDE: Final = ".strips .share .pair { flex-wrap: nowrap }"


@pytest.mark.parametrize("width", [320, 400, 736, 900, 960, 1100, 1280, 1440, 1600, 1920, 2560])
async def test_a_share_and_what_is_due_are_not_torn_apart(pages: Pages, width: int) -> None:
    page = await pages.open("", viewport={"width": width, "height": 900})
    await expect(page.locator(".due-of").first).to_be_attached()
    assert await page.evaluate(_LOOK, "") == {"torn": 0, "over": 0, "all": 5}
    assert (await page.evaluate(_LOOK, _NARROW))["torn"] == 5  # the control


async def test_words_over_their_bar_are_seen(pages: Pages) -> None:
    """The control of the test above."""
    page = await pages.open("", viewport={"width": 1440, "height": 900})
    await expect(page.locator(".due-of").first).to_be_attached()
    assert (await page.evaluate(_LOOK, _BESIDE))["over"] == 5
