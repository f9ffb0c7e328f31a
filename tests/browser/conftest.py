"""One browser and one worker for all tests in it: they run in one process and one event loop."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from streams.notifications import Priority
from tests.browser.chromium import NoChromiumError, chromium, find_chromium
from tests.browser.pages import Pages
from tests.browser.served import Served, serve
from tests.integration.writing import made_load
from tocsin.local_kafka.cluster import LocalKafka

TOKEN = "letters-of-the-page"
ADMIN = "sixteen-letters-long"
#: An event type of which there is something on every page.
SEEN = "browser.seen"
#: Notifications that are counted before the first test.
LOAD = 60


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Browser]:
    """A browser; a machine without one is told so, and fails where all tests have to run."""
    try:
        find_chromium()
    except NoChromiumError as error:
        pytest.skip(str(error))
    async with chromium(tmp_path_factory.mktemp("chromium")) as started:
        yield started


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def busy(
    browser: Browser, kafka: LocalKafka, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Served]:
    """A worker that asks for a token and has counted some."""
    folder = tmp_path_factory.mktemp("busy")
    settings = {
        "web_token": TOKEN,
        "admin_token": ADMIN,
        "web_trusted_proxies": "127.0.0.1",
        "web_payloads": "true",
    }
    async with serve(kafka.bootstrap, folder, **settings) as served:
        await served.out.made(made_load(seed=1, count=LOAD))
        await served.publish(SEEN, 3, Priority.CRITICAL, host="host01", password="hidden")
        for priority in served.settings.priorities:
            await served.out.raw(served.settings.notification_topic(priority), b"no notification")
        yield served


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def fresh(
    browser: Browser, kafka: LocalKafka, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Served]:
    """A worker that has counted nothing yet and asks for no token."""
    async with serve(kafka.bootstrap, tmp_path_factory.mktemp("fresh")) as served:
        yield served


async def signed_in(browser: Browser, served: Served, token: str) -> object:
    """What a browser keeps of somebody who has signed in on the page."""
    pages = Pages(browser, served.address)
    page = await pages.open()
    await page.get_by_label("Token").fill(token)
    await page.get_by_role("button", name="Sign in").click()
    await page.locator("main h1").first.wait_for(state="attached")
    kept = await page.context.storage_state()
    await pages.close()
    return kept


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def session(browser: Browser, busy: Served) -> object:
    """Of somebody who may read and change."""
    return await signed_in(browser, busy, ADMIN)


@pytest_asyncio.fixture(loop_scope="session")
async def pages(browser: Browser, busy: Served, session: object) -> AsyncIterator[Pages]:
    """Pages of ``busy`` for somebody who has signed in; none of them may have an error."""
    made = Pages(browser, busy.address, session)
    yield made
    await made.close()
    assert made.errors == []


@pytest_asyncio.fixture(loop_scope="session")
async def empty_pages(browser: Browser, fresh: Served) -> AsyncIterator[Pages]:
    """Pages of ``fresh``, likewise."""
    made = Pages(browser, fresh.address)
    yield made
    await made.close()
    assert made.errors == []
