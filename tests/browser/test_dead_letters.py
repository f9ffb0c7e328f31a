"""A dead letter on the page: replayed by whoever may change, read by everybody."""

from __future__ import annotations

from playwright.async_api import Browser, Locator, Page, expect

from streams.notifications import Priority
from tests.browser.conftest import TOKEN, signed_in
from tests.browser.pages import MARKS, Pages
from tests.browser.served import Served

pytestmark = MARKS


def letter(page: Page, place: tuple[str, int, int]) -> Locator:
    """The row of the dead letter of a record, when it has been dead for the first time or again."""
    topic, partition, offset = place
    words = f"{topic}, partition {partition}, offset {offset}"
    return page.get_by_role("row").filter(has=page.get_by_text(words, exact=True))


async def test_a_dead_letter_is_replayed_and_is_bad_again(
    browser: Browser, busy: Served, pages: Pages
) -> None:
    topic = busy.settings.notification_topic(Priority.INFO)
    page = await pages.open("dead-letters")
    place = await busy.out.raw(topic, b"this is no notification")
    row = letter(page, place)
    await expect(row).to_be_visible()
    await row.get_by_role("button", name="Replay").click()
    await expect(page.get_by_role("status").get_by_role("heading")).to_have_text("1 replayed")
    # It has come back: a worker has read it again in its topic, and taken it for what it is.
    await expect(row.get_by_text("older", exact=True)).to_be_visible()
    again = page.get_by_role("row").filter(has_text=topic)
    bad = again.filter(has=page.get_by_text("bad again", exact=True))
    await expect(bad).to_have_count(1)
    # One press of the button does what it says, and the next one is bad again in its place.
    was = await bad.get_attribute("data-key")
    await bad.get_by_role("button", name="Replay again").click()
    await expect(page.get_by_role("status").get_by_role("heading")).to_have_text("1 replayed")
    await expect(page.locator(f'tr[data-key="{was}"]').get_by_text("older", exact=True)).to_be_visible()

    reader = await pages.new(storage_state=await signed_in(browser, busy, TOKEN))
    await reader.goto("dead-letters")
    await expect(letter(reader, place)).to_be_visible()
    await expect(reader.get_by_role("button", name="Replay")).to_have_count(0)
    await expect(reader.get_by_text("You may read only")).to_be_visible()
