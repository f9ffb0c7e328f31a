"""Pages with nothing yet, and then with 2,000 event types; in this order, on one worker."""

from __future__ import annotations

from typing import Final

from playwright.async_api import Response, expect

from streams.notifications import Priority
from streams.publishing.generator import Made
from tests.browser.accessibility import judged
from tests.browser.pages import MARKS, Pages, linked
from tests.browser.served import Served

pytestmark = MARKS

TYPES: Final = 2000
#: Of a page with all that belongs to it, as it comes over the network.
MOST_BYTES: Final = 300_000


async def test_pages_with_nothing_say_how_to_begin_and_axe_finds_nothing(empty_pages: Pages) -> None:
    page = await empty_pages.open()
    await expect(page.locator("main").get_by_text("tocsin publish").first).to_be_visible()
    found = []
    for path in await linked(page):
        await page.goto(path)
        found += await judged(page)
    assert not found, "\n".join(found)


async def test_2000_event_types_come_in_a_small_page_and_sort(fresh: Served, empty_pages: Pages) -> None:
    names = [f"kind{number % 40:02}.of.many.step{number:04}" for number in range(TYPES)]
    await fresh.out.made(Made(Priority.INFO, "load.host01", name, {}, 0) for name in names)
    waiting = await empty_pages.open(f"counts?window=1h&event_type={names[-1]}")
    await expect(waiting.get_by_role("rowheader", name=names[-1])).to_be_visible()
    page = await empty_pages.new()
    answers: list[Response] = []
    page.on("response", lambda answer: answers.extend([answer]))
    await page.goto(f"counts?window=1h&limit={TYPES}")
    await expect(page.locator("main tbody tr")).to_have_count(TYPES)
    # Once: whenever counts have changed meanwhile, it asks for the page again.
    again = [each for each in answers if each.request.resource_type == "fetch" and "/counts?" in each.url]
    whole = [each for each in answers if each not in again and not each.url.endswith("/live")]
    sizes = [(await each.request.sizes())["responseBodySize"] for each in whole]
    assert max(sizes) > 10_000, "that is no page"
    assert sum(sizes) < MOST_BYTES
    await page.locator("thead").get_by_role("link", name="Event type").click()
    first, last = (page.locator("main tbody tr th").nth(place) for place in (0, -1))
    await expect(first).to_contain_text(sorted(names)[0].rpartition(".")[2])
    await expect(last).to_contain_text(sorted(names)[-1].rpartition(".")[2])
