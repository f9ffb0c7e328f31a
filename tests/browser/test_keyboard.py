"""Every page can be used by keyboard alone, and moves nothing for those who asked for no motion."""

from __future__ import annotations

from playwright.async_api import Page, expect

from tests.browser.pages import MARKS, PHONE, Pages, linked

pytestmark = MARKS

#: Numbers what can have the focus, in the order of the document, and returns how many there are.
NUMBER = """() => {
  const wanted = "a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex='0']";
  const all = [...document.querySelectorAll(wanted)]
    .filter((each) => !each.disabled && each.checkVisibility({visibilityProperty: true}));
  all.forEach((each, place) => each.setAttribute("data-place", place));
  return all.length;
}"""
#: What has the focus: its number, and whether one sees that it has.
FOCUSED = """() => {
  const element = document.activeElement, style = getComputedStyle(element);
  return [Number(element.dataset.place ?? -1),
    (style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0) || style.boxShadow !== "none",
    `${element.localName}#${element.id} ${element.textContent.trim().slice(0, 40)}`];
}"""
#: Elements that move although that is not wanted.
MOVING = """() => {
  const moves = (style) => style.animationName !== "none" || style.scrollBehavior === "smooth"
    || style.transitionDuration.split(",").some((each) => parseFloat(each) > 0);
  return [...document.querySelectorAll("*")].filter((each) => moves(getComputedStyle(each)))
    .map((each) => `${each.localName}.${each.getAttribute("class")}`);
}"""


async def walked(page: Page) -> list[str]:
    """What is wrong with going through the page by the Tab key."""
    # So that the page stays as it is. Not by a real click, after which the Tab key goes on from there.
    await page.locator("#pause").evaluate("button => button.ariaPressed === 'true' || button.click()")
    await page.evaluate("document.activeElement.blur()")
    number = await page.evaluate(NUMBER)
    assert number > 5
    found = []
    for expected in range(number):
        await page.keyboard.press("Tab")
        place, is_seen, words = await page.evaluate(FOCUSED)
        if place != expected:
            return [*found, f"{page.url}: {words} has the focus at place {expected} instead of {place}"]
        if not is_seen:
            found.append(f"{page.url}: one does not see that {words} has the focus")
    return found


async def test_the_tab_key_reaches_everything_in_order_and_one_sees_where_one_is(pages: Pages) -> None:
    page = await pages.open()
    found = []
    for path in await linked(page):
        await page.goto(path)
        found += await walked(page)
    assert not found, "\n".join(found)


async def test_a_page_that_is_broken_is_found_out(pages: Pages) -> None:
    """The control."""
    page = await pages.open()
    await page.evaluate(
        """() => { const sheet = new CSSStyleSheet();
        sheet.replaceSync('header nav a:focus-visible { outline: none; box-shadow: none }');
        document.adoptedStyleSheets.push(sheet); }"""
    )
    assert "one does not see" in "".join(await walked(page))
    await page.locator("header nav a").first.evaluate("link => { link.tabIndex = 1; }")
    assert "has the focus at place 0" in "".join(await walked(page))


async def test_the_first_tab_leads_past_the_header(pages: Pages) -> None:
    page = await pages.open()
    await page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to the page")
    await expect(skip).to_be_focused()
    await expect(skip).to_be_in_viewport()
    await page.keyboard.press("Enter")
    await expect(page.locator("main")).to_be_focused()
    await page.keyboard.press("Tab")
    assert await page.evaluate("document.querySelector('main').contains(document.activeElement)")


async def test_nothing_moves_for_those_who_want_no_motion(pages: Pages) -> None:
    page = await pages.open(reduced_motion="reduce", viewport=PHONE)
    found = []
    for path in await linked(page):
        await page.goto(path)
        found += [f"{page.url}: {each}" for each in await page.evaluate(MOVING)]
    assert not found, "\n".join(found)
    await page.evaluate(
        """() => { const sheet = new CSSStyleSheet();
        sheet.replaceSync('main { scroll-behavior: smooth !important }');
        document.adoptedStyleSheets.push(sheet); }"""
    )
    assert [each.partition(".")[0] for each in await page.evaluate(MOVING)] == ["main"], "the control"
