"""How pages are made: in short pieces, however many rows there are."""

from __future__ import annotations

import re

import pytest
from jinja2 import DictLoader, Environment

from streams.settings import load_settings
from tables.views import reader_lane
from tables.views.live_counts import LiveCounts
from tables.views.pages.layout import Layout
from tables.views.pages.templating import make_environment
from tables.views.sources import Sources
from tests.unit.tables.fleet.states import worker_state
from tests.unit.tables.views.test_answers import _NeverRests, turns_while
from tests.unit.tables.views.views_kit import NOW_S, FakeSources, served

ROWS = 2000


def layout() -> Layout:
    """A layout with one page of many rows."""
    fake = FakeSources()
    sources = Sources(load_settings(), fake, fake, fake, fake, fake.stalls, fake.alerts, fake, fake.letters)
    rows = "{% for n in rows %}<tr><td>{{ n }}</td></tr>{% endfor %}"
    environment = Environment(loader=DictLoader({"rows.html": rows}), autoescape=True)
    return Layout(sources, LiveCounts(fake, lambda: NOW_S), environment)


async def test_a_page_of_many_rows_is_rendered_in_pieces_between_which_all_else_gets_many_turns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reader_lane, "PIECE_S", 0.0)
    shown = {"rows": ["<script>"] * ROWS}
    # A row is a piece, or less than one.
    assert await turns_while(layout()._made("rows.html", shown)) >= ROWS * 16
    monkeypatch.setattr(reader_lane, "Pieces", _NeverRests)
    assert await turns_while(layout()._made("rows.html", shown)) < 100, "the control holds the loop"
    made = await layout()._made("rows.html", shown)
    assert made.body.count(b"&lt;script&gt;") == ROWS


def test_no_request_waits_for_a_template_to_be_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    make_environment.cache_clear()
    environment = make_environment()
    compiled: list[str] = []
    compile_ = Environment.compile

    def compiling(self: Environment, source: str, name: str | None = None, *others: object) -> object:
        compiled.append(name or "")
        return compile_(self, source, name, *others)

    monkeypatch.setattr(Environment, "compile", compiling)
    names = environment.list_templates()
    for name in names:
        environment.get_template(name)
    assert compiled == []
    assert environment.cache is not None
    environment.cache.clear()  # the control: then they are compiled again
    environment.get_template(names[0])
    assert compiled == names[:1]


async def head(fake: FakeSources, *, of_worker: bool = False) -> str:
    """The words in the head of a page of ``tocsin web``, or of a worker."""
    async with served(fake, of_worker=of_worker) as client, client.get("flow") as answer:
        page = await answer.text()
    found = page[page.index("<header>") : page.index("</header>")]
    return " ".join(re.sub(r"<[^>]*>", " ", found).split())


SILENCE = "No worker has been heard from"


@pytest.mark.parametrize(
    ("ago_s", "told"),
    [
        (10.0, None),  # the control
        (16.0, f"{SILENCE} for 15 s: what is published since is not counted yet."),
        (70.0, f"{SILENCE} for 1 min: what is published since is not counted yet."),
        (900.0, f"{SILENCE} for 15 min: what is published since is not counted yet."),
    ],
)
async def test_counts_do_not_look_well_where_no_worker_is_heard_from(ago_s: float, told: str | None) -> None:
    fake = FakeSources()
    fake.fleet.combines = False
    fake.fleet.write("tocsin-0", worker_state(), ago_s=ago_s)
    words = await head(fake)
    assert (SILENCE in words) == (told is not None)
    assert (told or "") in words
    assert ("UTC complete" in words) == (told is None)
    if told is not None:
        fake.fleet.write("tocsin-1", worker_state("b"))
        assert SILENCE not in await head(fake), "one of two is enough"


async def test_where_it_is_not_known_who_is_heard_from_nothing_is_said_of_it() -> None:
    fake = FakeSources()
    assert f"{SILENCE}, so it is not known whether what is published is counted." in await head(fake)
    assert SILENCE not in await head(fake, of_worker=True)
    fake.fleet.complete = False
    assert SILENCE not in await head(fake)
    fake.fleet.complete, fake.fleet.trouble = True, "There is no topic."
    assert SILENCE not in await head(fake)
