"""Problems as pages for people, and as JSON for programs."""

from __future__ import annotations

import re
from urllib.parse import urljoin

import aiohttp
import pytest
from yarl import URL

from tables.views.problems import SECURITY_HEADERS
from tests.unit.tables.views.views_kit import sample, served

BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
TOKEN = "a-token-of-the-tests"
#: What only those who may read are shown.
HEAD = "Counts as of"


async def page(client: aiohttp.ClientSession, path: str, status: int, **more: str) -> str:
    """A page that a browser gets."""
    async with client.get(URL(path, encoded=True), headers=BROWSER | more) as answer:
        text = await answer.text()
        assert (answer.status, answer.content_type) == (status, "text/html"), text
        assert {name: answer.headers[name] for name in SECURITY_HEADERS} == SECURITY_HEADERS
        return text


@pytest.mark.parametrize("prefix", ["", "/a/tocsin"])
@pytest.mark.parametrize("path", ["/nothing", "/deep/in/nothing", "/with%2Fslash", "/nothing?a=b/c"])
async def test_an_unknown_address_is_a_page_whose_links_lead_back(prefix: str, path: str) -> None:
    async with served(sample(), web_prefix=prefix) as client:
        text = await page(client, prefix + path, 404)
        assert "There is nothing at this address." in text
        assert HEAD in text
        links = re.findall(r'(?:href|src|action)="([^"#]*)"', text)
        assert {urljoin(prefix + path, link) for link in links} >= {
            f"{prefix}/{each}" for each in ("", "counts", "flow", "static/page.css", "api")
        }
        for link in links:
            async with client.get(urljoin(prefix + path, link)) as answer:
                assert answer.status in (200, 405), link


async def test_programs_get_json_whatever_they_take_from_the_api() -> None:
    async with served(sample()) as client:
        for path, headers in (("/nothing", {}), ("/api/v1/nothing", BROWSER), ("/static/nothing", BROWSER)):
            async with client.get(path, headers=headers) as answer:
                assert (answer.status, answer.content_type) == (404, "application/problem+json"), path
                assert (await answer.json(content_type=None))["status"] == 404


async def test_who_may_not_read_is_shown_no_head() -> None:
    async with served(sample(), web_token=TOKEN) as client:
        text = await page(client, "/counts", 401, Authorization="Bearer wrong")
        assert "TOCSIN_WEB_TOKEN_FILE" in text
        assert HEAD not in text
        async with client.get("/counts", headers=BROWSER | {"Authorization": "Bearer wrong"}) as answer:
            assert len(answer.headers.getall("WWW-Authenticate")) == 2
        text = await page(client, "/nothing", 404, Authorization=f"Bearer {TOKEN}")  # the control
        assert HEAD in text
    async with served(sample()) as client:
        text = await page(client, "/", 421, Host="elsewhere.example.org")
        assert "TOCSIN_WEB_HOSTS" in text
        assert HEAD not in text


async def test_a_form_that_is_refused_is_a_page() -> None:
    async with served(sample(), admin_token=TOKEN) as client:
        async with client.post("/dead-letters", headers=BROWSER, data={"id": "x"}) as answer:
            assert (answer.status, answer.content_type) == (401, "text/html")
        async with client.post("/counts", headers=BROWSER) as answer:
            assert (answer.status, answer.headers["Allow"]) == (405, "GET,HEAD")
