"""Signing in on the page, in a browser."""

from __future__ import annotations

from playwright.async_api import expect

from tests.browser.accessibility import faults, wider_than_window
from tests.browser.conftest import TOKEN
from tests.browser.pages import MARKS, PHONE, Pages

pytestmark = MARKS


async def test_a_wrong_token_is_told_and_the_right_one_leads_on_to_where_one_wanted_to_go(
    pages: Pages,
) -> None:
    page = await pages.open("counts?window=1h&event_type=*.create.*", signed_in=False)
    token = page.get_by_label("Token")
    await expect(token).to_be_focused()
    await token.fill("wrong")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("alert")).to_contain_text("not the token")
    pages.errors.clear()  # the browser tells that it was 403
    await page.get_by_label("Token").fill(TOKEN)
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("searchbox", name="Event type")).to_have_value("*.create.*")
    await expect(page.get_by_label("Window")).to_have_value("1h")
    (cookie,) = await page.context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    await page.get_by_role("button", name="Sign out").click()
    await expect(page.get_by_label("Token")).to_be_visible()
    await page.goto("counts")
    await expect(page.get_by_label("Token")).to_be_visible()


async def test_the_page_to_sign_in_on_is_accessible(pages: Pages) -> None:
    page = await pages.open("sign-in", signed_in=False)
    assert await faults(page) == []
    await page.emulate_media(color_scheme="dark")
    assert await faults(page, only_looks=True) == []
    await page.get_by_label("Token").fill("wrong")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("alert")).to_be_visible()
    pages.errors.clear()
    await page.set_viewport_size(PHONE)
    assert await faults(page) == []
    await page.emulate_media(color_scheme="light")
    assert await faults(page, only_looks=True) == []
    assert await wider_than_window(page) == []
