"""Numbers agree with what they count, wherever a person reads them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from streams.quantities import either, quantity, thousands
from tests.paths import ROOT

_NOUNS: Final = (
    "alerts|batches|brokers|bytes|characters|connections|counts|days|entries|errors|events|files|hours|items|letters|levels|lines|"
    "logs|members|messages|minutes|notifications|offsets|partitions|pools|probes|publishers|queues|records|"
    "replicas|requests|rows|seconds|slices|sources|states|times|tokens|topics|types|warnings|workers"
)
_AFTER: Final = re.compile(rf" (?:(?:alert|broken|dead|event|more|other|public|table) )?(?:{_NOUNS}|were)\b")
#: Also ``%s``, for a number that is shown with commas.
_LOGGED: Final = re.compile(rf"%[ds](?:{_AFTER.pattern})")
_IN_TEMPLATE: Final = re.compile(rf"\{{\{{([^}}]*)\}}\}}(?:{_AFTER.pattern})")
#: What is larger than 1 wherever it is said: limits, and lengths beyond them; or agrees in another way.
NEVER_ONE: Final = {
    "RETENTION_S[resolution] // MINUTE",
    "days",
    "found.records",
    "kept_s // 60",
    "late.priority",
    "seconds / _DAY_S",
    "self.priority.value",
    "these",
    "_priorities(found.totals)",
    "forget_min",
    "hours",
    "longest",
    "most",
    "len(answer.whole)",
    "len(event_type)",
    "len(incoming.value)",
    "len(value)",
    "note.times",
    "self._limits.max_bytes",
    "self._max_depth",
    "self._max_bytes",
}


def _joined(path: Path) -> Iterator[tuple[int, str]]:
    """Line and value of numbers that a word of many follows, in a file of Python."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and _LOGGED.search(node.value):
            yield node.lineno, node.value
        if not isinstance(node, ast.JoinedStr):
            continue
        for value, after in zip(node.values, node.values[1:], strict=False):
            if not isinstance(value, ast.FormattedValue) or not isinstance(after, ast.Constant):
                continue
            shown = ast.unparse(value.value)
            if _AFTER.match(str(after.value)) and not shown.strip("_").isupper() and ".join(" not in shown:
                yield node.lineno, shown


def found(root: Path) -> list[str]:
    """Where a number may be 1 before a word of many."""
    wrong = []
    for path in sorted(root.rglob("*.py")):
        name = path.relative_to(root).as_posix()
        wrong += [f"{name}:{line}: {shown}" for line, shown in _joined(path) if shown not in NEVER_ONE]
    for path in sorted(root.rglob("*.html")):
        for match in _IN_TEMPLATE.finditer(path.read_text()):
            if match[1].strip() not in NEVER_ONE:
                wrong.append(f"{path.relative_to(root).as_posix()}: {match[0]}")
    return wrong


@pytest.mark.parametrize("floor", ["streams", "tables", "agents", "tocsin"])
def test_no_number_is_joined_with_a_word_of_many(floor: str) -> None:
    assert found(ROOT / floor) == []


def test_what_is_joined_is_found_out(tmp_path: Path) -> None:
    """The control."""
    (tmp_path / "a.py").write_text(
        'x = f"{len(y)} partitions"\nlog("%d records of", 1)\nz = f"{_MOST} bytes"\n'
        'log("in %.1f s: %s records", 1, f"{1:,}")\nlog("%s of %s", quantity(1, "record"), "t")\n'
        'x = f"{n:,} were read"\ny = f"{\', \'.join(t)} were read"\n'
    )
    (tmp_path / "a.html").write_text("<p>{{ rows|number }} rows</p><p>{{ rows|quantity('row') }}</p>")
    assert found(tmp_path) == [
        "a.py:1: len(y)",
        "a.py:6: n",
        "a.py:2: %d records of",
        "a.py:4: in %.1f s: %s records",
        "a.html: {{ rows|number }} rows",
    ]


@pytest.mark.parametrize(
    ("number", "shown"), [(0, "0 records"), (1, "1 record"), (2, "2 records"), (1200, "1200 records")]
)
def test_a_number_with_its_noun(number: int, shown: str) -> None:
    assert quantity(number, "record") == shown


def test_a_noun_may_have_a_verb_and_a_number_its_commas() -> None:
    assert quantity(1, "entry is", "entries are") == "1 entry is"
    assert quantity(1200, "entry is", "entries are", show=thousands) == "1,200 entries are"
    assert [either(number, "it", "them") for number in (0, 1, 2)] == ["them", "it", "them"]
