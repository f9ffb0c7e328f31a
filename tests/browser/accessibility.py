"""What axe-core finds wrong with a page, by the rules of WCAG 2.2 AA and its own best practices."""

from __future__ import annotations

from typing import Final

from axe_playwright_python.base import AXE_SCRIPT
from playwright.async_api import Page

from tests.browser.pages import DESKTOP, PHONE, THEMES

#: Everything of WCAG up to 2.2 AA, and what axe's authors advise besides.
_ALL: Final = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
_COLOURS: Final = {"runOnly": {"type": "rule", "values": ["color-contrast", "target-size"]}}

#: Where the structure is judged as well.
_WHOLE: Final = ((DESKTOP, "light"), (PHONE, "dark"))


async def faults(page: Page, *, only_looks: bool = False) -> list[str]:
    """One line for each element that breaks a rule: the rule, the element, what is wrong.

    Args:
        page: as it is now.
        only_looks: whether to ask for colours and sizes alone, for a page whose structure is judged already.
    """
    options = _COLOURS if only_looks else {"runOnly": {"type": "tag", "values": _ALL}}
    if not await page.evaluate("typeof axe === 'object'"):
        await page.evaluate(AXE_SCRIPT)
    answer = await page.evaluate(
        "options => axe.run({...options, resultTypes: ['violations'], elementRef: false})", options
    )
    assert answer["passes"], "no rule was applied"
    return [
        f"{violation['id']} {' '.join(map(str, node['target']))}: {' '.join(node['failureSummary'].split())}"
        for violation in answer["violations"]
        for node in violation["nodes"]
    ]


async def judged(page: Page) -> list[str]:
    """What is wrong with a page as it is, in both themes, on a desktop and on a phone."""
    found = []
    for size in (DESKTOP, PHONE):
        await page.set_viewport_size(size)
        for scheme in THEMES:
            await page.emulate_media(color_scheme=scheme)
            # The structure depends on the size alone, so it is judged once for each; looks are in all four.
            only_looks = (size, scheme) not in _WHOLE
            all_faults = await faults(page, only_looks=only_looks)
            all_faults += [f"too wide {each}" for each in await wider_than_window(page)]
            found += [f"{page.url}, {scheme}, {size['width']} px: {each}" for each in all_faults]
    return found


async def wider_than_window(page: Page) -> list[str]:
    """Elements that make the page scroll sideways; none where it does not."""
    found: list[str] = await page.evaluate(_WIDER)
    return found


#: What is cut off or scrolls within an element of its own does not make the page wider.
_WIDER: Final = """() => {
  const root = document.documentElement, width = root.clientWidth;
  if (Math.max(root.scrollWidth, document.body.scrollWidth) <= width) return [];
  const inner = (element) => {
    for (let up = element.parentElement; up && up !== document.body; up = up.parentElement)
      if (getComputedStyle(up).overflowX !== "visible") return true;
    return false;
  };
  const wide = [...document.body.querySelectorAll("*")]
    .filter((each) => each.getBoundingClientRect().right > width + 0.5 && !inner(each))
    .map((each) => `${each.localName}#${each.id}.${each.getAttribute("class")}`);
  return wide.length ? wide : [`the page is ${root.scrollWidth} wide in ${width}`];
}"""
