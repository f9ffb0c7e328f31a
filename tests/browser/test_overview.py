"""The Overview: what belongs together is on one line."""

from __future__ import annotations

from typing import Final

import pytest
from playwright.async_api import expect

from tests.browser.pages import DESKTOP, MARKS, PHONE, Pages

pytestmark = MARKS

#: What is due that is on more than one line; on a desktop, the share that was got with it.
_TORN: Final = """() => [...document.querySelectorAll(innerWidth < 1280 ? ".due-of" : ".words")]
  .filter((each) => each.getClientRects().length > 1
    || (each.matches(".words") && each.offsetHeight > 1.6 * parseFloat(getComputedStyle(each).lineHeight)))
  .map((each) => each.textContent)"""
#: As it was.
_AS_IT_WAS: Final = """() => {
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(`.due-of { white-space: normal }
    .strips .share .pair { grid-template-columns: minmax(0, 1fr) min(7.2rem, 3rem) !important }`);
  document.adoptedStyleSheets.push(sheet);
}"""


@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
async def test_a_share_and_what_is_due_are_not_torn_apart(pages: Pages, size: dict[str, int]) -> None:
    page = await pages.open("", viewport=size)
    await expect(page.locator(".due-of").first).to_be_attached()
    assert await page.evaluate(_TORN) == []
    await page.evaluate(_AS_IT_WAS)
    assert await page.evaluate(_TORN) != []  # the control
