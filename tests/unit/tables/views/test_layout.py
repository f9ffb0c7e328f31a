"""How pages are made: in short pieces, however many rows there are."""

from __future__ import annotations

import pytest
from jinja2 import DictLoader, Environment

from streams.settings import load_settings
from tables.views import reader_lane
from tables.views.live_counts import LiveCounts
from tables.views.pages.layout import Layout
from tables.views.pages.templating import make_environment
from tables.views.sources import Sources
from tests.unit.tables.views.test_answers import _NeverRests, turns_while
from tests.unit.tables.views.views_kit import NOW_S, FakeSources

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
