"""What the script of the pages does with a new rendering; the pages are made, script and styles are real."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from importlib import resources

import pytest_asyncio
from playwright.async_api import Browser, Page, Route, expect

from tests.browser.pages import MARKS
from tests.integration.worker_process import BOUND_S

pytestmark = [mark for mark in MARKS if mark.name != "kafka"]

ADDRESS = "http://made.invalid/"
#: A stream that tells of a change and ends; the browser comes back after 50 ms.
EVENTS = b"retry: 50\n\nevent: changed\ndata: 1\n\n"
FILES = {"static/live.js": "text/javascript", "static/page.css": "text/css"}


@dataclass
class Made:
    """A page whose rendering a test sets, and what the browser asked for."""

    page: Page
    rows: Sequence[str] = ()
    #: What stands in the script, and what stands there instead where it is broken.
    broken: tuple[str, str] = ("", "")
    #: What the rows say; another number is a change in each of them.
    number: int = 0
    #: What the rows say in place of that; None for that.
    same: int | None = None
    is_there: bool = True
    has_session: bool = True
    fetched: int = 0
    streams: int = 0

    def rendered(self) -> str:
        """The page as the server would render it now."""
        said = self.number if self.same is None else self.same
        rows = "\n".join(
            f'<tr data-key="{key}"><th scope="row"><a href="#{key}">{key}</a></th><td>{said}</td></tr>'
            for key in self.rows
        )
        return f"""<!doctype html><html lang="en"><title>{self.number}</title>
            <script src="static/live.js" type="module"></script>
            <link rel="stylesheet" href="static/page.css"><style>.scroll {{ height: 10rem }}</style>
            <p><button type="button" id="pause" hidden>Pause</button> <span id="offline"></span></p>
            <p>not live {self.number}</p><p id="words" data-live>{self.number}</p>
            <input id="field" type="search">
            <div class="scroll"><table><tbody id="rows" data-live>{rows}</tbody></table></div></html>"""

    async def answer(self, route: Route) -> None:
        """Answer a request of the browser."""
        path = route.request.url.removeprefix(ADDRESS)
        if not self.is_there:
            await route.abort()
        elif path in FILES:
            file = resources.files("tables.views").joinpath("static", path.removeprefix("static/"))
            text = file.read_text()
            if path.endswith(".js"):
                assert self.broken[0] in text
                text = text.replace(*self.broken) if self.broken[0] else text
            await route.fulfill(body=text, content_type=FILES[path])
        elif path == "live":
            self.streams += 1
            await route.fulfill(body=EVENTS, content_type="text/event-stream")
        elif not self.has_session:
            await route.fulfill(status=401, body="<h1>Sign in</h1>", content_type="text/html")
        else:
            self.fetched += 1
            await route.fulfill(body=self.rendered(), content_type="text/html")

    async def shows(self, number: int) -> None:
        """Wait until a rendering is taken over."""
        await expect(self.page.locator("#words")).to_have_text(str(number))

    async def refresh(self, rows: Sequence[str]) -> None:
        """Render these rows, each with another number, and wait until they are taken over."""
        self.rows, self.number = rows, self.number + 1
        await self.shows(self.number)
        await expect(self.page).to_have_title(str(self.number))

    async def keys(self) -> list[str]:
        """Keys of the rows that the browser has."""
        found: list[str] = await self.page.evaluate(
            "[...document.querySelectorAll('#rows > tr')].map(row => row.dataset.key)"
        )
        return found


@pytest_asyncio.fixture(loop_scope="session")
async def made(browser: Browser) -> AsyncIterator[Made]:
    """A page with four rows."""
    context = await browser.new_context()
    page = await context.new_page()
    found = Made(page, ["a", "b", "c", "d"])
    await page.route("**/*", found.answer)
    await page.goto(ADDRESS)
    yield found
    await context.close()


async def test_rows_stay_the_same_elements_wherever_they_go(made: Made) -> None:
    choose = random.Random(5)
    await made.page.evaluate("window.known = new Map()")
    remember = """() => [...document.querySelectorAll('#rows > tr')].every(row => {
      const key = row.dataset.key, before = window.known.get(key);
      window.known.set(key, row);
      return before === undefined || before === row || !before.isConnected;
    })"""
    names = list("abcdefghij")
    for _ in range(8):
        rows = choose.sample(names, choose.randint(0, len(names)))
        await made.refresh(rows)
        assert await made.keys() == rows
        assert await made.page.evaluate(remember)
        assert await made.page.evaluate(
            "text => document.getElementById('rows').isEqualNode("
            "new DOMParser().parseFromString(text, 'text/html').getElementById('rows'))",
            made.rendered(),
        )


async def test_focus_and_scrolling_stay_with_a_row_that_moves(made: Made) -> None:
    rows = [f"row{number}" for number in range(60)]
    await made.refresh(rows)
    await made.page.get_by_role("link", name="row30", exact=True).focus()
    before = await made.page.evaluate("document.querySelector('.scroll').scrollTop")
    assert before > 0
    await made.refresh([*rows[31:], *rows[:31]])
    assert await made.page.evaluate("document.activeElement.textContent") == "row30"
    await made.refresh([rows[30], *rows[:30], *rows[31:]])
    assert await made.page.evaluate("document.activeElement.textContent") == "row30"
    assert await made.page.evaluate("document.querySelector('.scroll').scrollTop") == before
    assert await made.keys() == [rows[30], *rows[:30], *rows[31:]]


async def test_the_focus_is_lost_by_a_script_that_moves_what_has_it(made: Made) -> None:
    # The control of the test before.
    made.broken = "if (!child.contains(document.activeElement)) {", "if (child) {"
    await made.page.reload()
    await made.refresh(["a", "b", "c"])
    await made.page.get_by_role("link", name="c", exact=True).focus()
    await made.refresh(["c", "a", "b"])
    assert await made.page.evaluate("document.activeElement === document.body")


async def test_what_is_not_live_stays_and_what_was_typed_too(made: Made) -> None:
    await made.page.locator("#field").fill("compute.*")
    await made.refresh(["a"])
    await expect(made.page.get_by_text("not live 0")).to_be_visible()
    await expect(made.page.locator("#field")).to_have_value("compute.*")


async def test_a_row_that_leaves_at_the_top_moves_no_other(made: Made) -> None:
    await made.refresh(list("abcdef"))
    await made.page.evaluate(
        """() => {
          window.moved = [];
          new MutationObserver(all => all.forEach(each => window.moved.push(
            ...[...each.addedNodes].map(node => node.nodeName)))).observe(
              document.getElementById("rows"), {childList: true});
        }"""
    )
    await made.refresh(list("bcdef"))
    assert await made.page.evaluate("window.moved") == []
    await made.refresh(list("fbcde"))  # the control: it is seen when a row moves
    assert "TR" in await made.page.evaluate("window.moved")


async def test_nothing_changes_under_a_pointer_that_is_down(made: Made) -> None:
    # However long it takes here: a pointer is taken for forgotten after 10 s.
    made.broken = "const PRESSING_MS = 10000;", "const PRESSING_MS = 600000;"
    await made.page.reload()
    await made.page.locator("#words").hover()
    await made.page.mouse.down()
    made.number = 7
    asked = made.streams
    while made.streams < asked + 3:  # it hears of changes meanwhile
        await made.page.wait_for_timeout(20)
    await expect(made.page.locator("#words")).to_have_text("0")
    await made.page.mouse.up()
    await made.shows(7)


async def test_a_page_that_is_hidden_has_no_connection_and_asks_when_it_is_shown(made: Made) -> None:
    hide = """hidden => {
      Object.defineProperty(document, "hidden", {value: hidden, configurable: true});
      document.dispatchEvent(new Event("visibilitychange"));
    }"""
    await made.refresh(["a"])
    await made.page.evaluate(hide, True)
    streams, fetched = made.streams, made.fetched
    made.number = 8
    await made.page.wait_for_timeout(1500)
    assert made.streams <= streams + 1  # one may have been on its way
    assert made.fetched <= fetched + 1
    await expect(made.page.locator("#words")).to_have_text("1")
    await made.page.evaluate(hide, False)
    await made.shows(8)
    assert made.streams > streams


async def test_a_server_that_is_gone_is_told_and_one_that_is_back_is_used(made: Made) -> None:
    await made.refresh(["a"])
    made.is_there = False
    await expect(made.page.locator("#offline")).to_contain_text("no answer for")
    made.is_there = True
    await made.refresh(["a", "b"])
    await expect(made.page.locator("#offline")).to_have_text("")


async def test_where_the_session_has_ended_the_server_shows_where_to_sign_in(made: Made) -> None:
    await made.refresh(["a"])
    made.has_session = False
    await expect(made.page.get_by_role("heading", name="Sign in")).to_be_visible()


#: When the script asks; when the browser begins with it depends on what else the machine does.
NOTE_CALLS = """
  window.calls = [];
  const ask = window.fetch;
  window.fetch = (...all) => { window.calls.push(performance.now()); return ask(...all); };
"""


async def shortest_pause_ms(made: Made, refreshes: int) -> float:
    """The shortest time from one fetch to the next."""
    for number in range(refreshes):
        await made.refresh([str(number)])
    calls = await made.page.evaluate("window.calls")
    assert len(calls) >= refreshes
    return float(min(later - earlier for earlier, later in itertools.pairwise(calls)))


async def test_there_are_at_most_two_fetches_a_second(made: Made) -> None:
    await made.page.add_init_script(NOTE_CALLS)
    await made.page.reload()
    assert await shortest_pause_ms(made, 4) > 450


async def test_a_script_that_asks_at_once_is_found_out(made: Made) -> None:
    """The control of the test before."""
    made.broken = "const LEAST_MS = 500;", "const LEAST_MS = 0;"
    await made.page.add_init_script(NOTE_CALLS)
    await made.page.reload()
    async with asyncio.timeout(BOUND_S):
        while await shortest_pause_ms(made, 4) > 450:
            pass


#: Rows of a table from which on the script takes them a few at a time.
MANY = 1000
#: Characters of what is parsed in one go.
WATCH = """() => {
  window.parsed = [];
  const parse = DOMParser.prototype.parseFromString;
  DOMParser.prototype.parseFromString = function (text, type) {
    window.parsed.push(text.length);
    return parse.call(this, text, type);
  };
}"""


async def largest(made: Made) -> int:
    """The most that was parsed in one go since this was asked last."""
    found: int = await made.page.evaluate("Math.max(...window.parsed.splice(0))")
    return found


async def test_many_rows_are_parsed_a_few_at_a_time_and_those_that_are_the_same_not_at_all(
    made: Made,
) -> None:
    await made.page.evaluate(WATCH)
    rows = [f"row{number}" for number in range(MANY)]
    await made.refresh(rows)
    whole = len(made.rendered())
    assert await largest(made) < whole / 10
    # Another order, some that are new and some that are gone; each of them says another number.
    random.Random(7).shuffle(rows)
    await made.refresh([*rows[50:], "new1", "new2"])
    assert await made.keys() == [*rows[50:], "new1", "new2"]
    texts = await made.page.locator("#rows td").all_inner_texts()
    assert texts == [str(made.number)] * (MANY - 48)
    assert await largest(made) < whole / 10
    # Only what is around the table is parsed where no row has changed.
    made.same = before = made.number
    await made.refresh([*reversed(rows[50:]), "new1", "new2"])
    assert await made.keys() == [*reversed(rows[50:]), "new1", "new2"]
    everything, made.rows = made.rows, []
    around, made.rows = len(made.rendered()), everything
    assert await largest(made) == around
    # A table that is small is parsed as a whole, and what its rows were made of before is forgotten.
    made.same = 777
    await made.refresh(["new2", "a"])
    assert await made.keys() == ["new2", "a"]
    assert await made.page.locator("#rows td").all_inner_texts() == ["777"] * 2
    made.same = before
    await made.refresh(["new2", *rows])
    assert await made.page.locator("#rows td").all_inner_texts() == [str(before)] * (MANY + 1)


async def test_a_script_that_parses_all_at_once_is_found_out(made: Made) -> None:
    """The control of the test before."""
    made.broken = "const MANY = 200;", "const MANY = Infinity;"
    await made.page.reload()
    await made.page.evaluate(WATCH)
    await made.refresh([f"row{number}" for number in range(MANY)])
    assert await largest(made) == len(made.rendered())


async def test_focus_and_scrolling_stay_among_many_rows(made: Made) -> None:
    rows = [f"row{number}" for number in range(MANY)]
    await made.refresh(rows)
    await made.page.get_by_role("link", name="row500", exact=True).focus()
    before = await made.page.evaluate("document.querySelector('.scroll').scrollTop")
    assert before > 0
    await made.refresh([*rows[501:], *rows[:501]])
    assert await made.page.evaluate("document.activeElement.textContent") == "row500"
    assert await made.keys() == [*rows[501:], *rows[:501]]
    await made.refresh(rows)
    assert await made.page.evaluate("document.activeElement.textContent") == "row500"
    assert await made.page.evaluate("document.querySelector('.scroll').scrollTop") == before
