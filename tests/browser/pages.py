"""Pages in a browser that note every error of theirs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import pytest
from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, expect

from tests.integration.worker_process import BOUND_S

#: Of each file of tests here: what it shares is made once, in one process and one event loop.
MARKS: Final = [
    pytest.mark.kafka,
    pytest.mark.xdist_group("browser"),
    pytest.mark.asyncio(loop_scope="session"),
]

Theme = Literal["light", "dark"]
THEMES: Final[Sequence[Theme]] = ("light", "dark")
DESKTOP: Final = {"width": 1280, "height": 900}
#: The narrowest that WCAG asks for (1.4.10).
PHONE: Final = {"width": 320, "height": 640}

expect.set_options(timeout=BOUND_S * 1000)


@dataclass
class Pages:
    """Opens pages of one address, and knows what went wrong in them.

    Args:
        browser: in which they are.
        address: that they are relative to, with a "/" at its end.
        session: cookies of somebody who has signed in; None for nobody.
    """

    browser: Browser
    address: str
    session: Any = None
    #: Errors of scripts, what the Content-Security-Policy refused, and files that did not come.
    errors: list[str] = field(default_factory=list)
    _contexts: list[BrowserContext] = field(default_factory=list)

    async def new(self, *, signed_in: bool = True, **options: Any) -> Page:
        """An empty page in a context of its own; ``options`` are those of Playwright's ``new_context``."""
        given = {"viewport": DESKTOP, "base_url": self.address}
        if signed_in and self.session is not None:
            given["storage_state"] = self.session
        given |= options
        context = await self.browser.new_context(**given)
        self._contexts.append(context)
        context.set_default_timeout(BOUND_S * 1000)
        page = await context.new_page()
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.errors.append(f"{page.url}: {error}"))
        return page

    async def open(self, path: str = "", *, status: int = 200, **options: Any) -> Page:
        """A page at ``path`` once it is there; that the server answers with ``status`` is checked."""
        page = await self.new(**options)
        await self.go(page, path, status)
        return page

    async def go(self, page: Page, path: str, status: int = 200) -> None:
        """Let a page go to ``path``; that the server answers with ``status`` is checked."""
        answer = await page.goto(path)
        assert answer is not None
        assert answer.status == status, await answer.text()
        if status >= 400:
            # The browser takes the page itself for a file that did not come.
            self.errors[:] = [each for each in self.errors if f"{answer.url}: Failed to load" not in each]

    def _said(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.errors.append(f"{message.location.get('url')}: {message.text}")

    async def close(self) -> None:
        """Close all of them."""
        for context in self._contexts:
            await context.close()
        self._contexts.clear()


async def linked(page: Page) -> list[str]:
    """Addresses that the header leads to."""
    links = await page.locator("header nav a").all()
    return [str(await link.get_attribute("href")) for link in links]
