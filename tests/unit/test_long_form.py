"""What `make test` leaves out are further cases: each test has at least one that it runs."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from tests.long_form import in_the_long_form
from tests.paths import ROOT


def is_long(node: ast.AST) -> bool:
    """Whether ``node`` makes cases of the long form."""
    call = node.value if isinstance(node, ast.Starred) else node
    return (
        isinstance(call, ast.Call)
        and isinstance(call.func, ast.Name)
        and call.func.id == in_the_long_form.__name__
    )


def all_long(source: str) -> Iterator[int]:
    """Lines of ``source`` where cases of the long form have no other beside them in a list."""
    tree = ast.parse(source)
    beside_others = {
        case.value
        for cases in ast.walk(tree)
        if isinstance(cases, ast.List) and not all(map(is_long, cases.elts))
        for case in cases.elts
        if isinstance(case, ast.Starred)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and is_long(node) and node not in beside_others:
            yield node.lineno


def test_no_test_is_left_out_whole() -> None:
    sources = [path for path in (ROOT / "tests").rglob("test_*.py") if path.name != "test_long_form.py"]
    using = {path: text for path in sources if "in_the_long_form" in (text := path.read_text())}
    assert using
    assert {path.name: lines for path, text in using.items() if (lines := list(all_long(text)))} == {}
    # The mark has no other way into a test.
    assert not [path for path in sources if "mark.long" in path.read_text()]


@pytest.mark.parametrize("cases", ["[*in_the_long_form(1), *in_the_long_form(2)]", "in_the_long_form(1)"])
def test_one_that_is_left_out_whole_is_found(cases: str) -> None:
    assert set(all_long(f"parametrize('x', {cases})\n")) == {1}


def test_a_tuple_is_one_case_of_several_arguments() -> None:
    one, two = in_the_long_form("a", ("b", "c"))
    assert (one.values, two.values) == (("a",), ("b", "c"))
    assert [mark.name for case in (one, two) for mark in case.marks] == ["long", "long"]
