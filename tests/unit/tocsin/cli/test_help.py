"""``--help`` of every command: one style for defaults, and examples that the command takes."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from tests.unit.docs.generated import commands

CONTEXTS = dict(commands())
LEAVES = {path: it for path, it in CONTEXTS.items() if not isinstance(it.command, click.Group)}
#: What a shell does with a command's output and input is no argument.
_SHELL = re.compile(r" [|<>].*")


def examples(context: click.Context) -> list[str]:
    head, *lines = (context.command.epilog or "").splitlines()
    assert head == "\b"
    assert lines.pop(0) == "Examples:"
    return [line.strip() for line in lines]


@pytest.mark.parametrize("path", LEAVES)
def test_every_command_has_examples_that_it_takes(path: str) -> None:
    context = LEAVES[path]
    found = examples(context)
    assert 1 <= len(found) <= 3
    for example in found:
        assert len(example) <= 90
        words = shlex.split(_SHELL.sub("", example))
        name = path.split()
        assert words[: len(name)] == name
        # It is parsed, and not run.
        context.command.make_context(path, words[len(name) :], parent=context.parent)


@pytest.mark.parametrize("path", LEAVES)
def test_examples_stay_as_they_are_in_help(path: str) -> None:
    shown = LEAVES[path].command.get_help(LEAVES[path])
    for example in examples(LEAVES[path]):
        assert f"\n    {example}" in shown


@pytest.mark.parametrize("path", CONTEXTS)
def test_every_default_is_shown_by_click_and_by_nobody_else(path: str) -> None:
    context = CONTEXTS[path]
    for parameter in context.command.get_params(context):
        if not isinstance(parameter, click.Option):
            continue
        written = parameter.help or ""
        assert not re.search(r"\[|[Bb]y default|[Dd]efaults? ", written), (
            f"{path} {parameter.opts}: {written}"
        )
        record = parameter.get_help_record(context)
        assert record is not None
        given = parameter.get_default(context)
        has_one = isinstance(parameter.show_default, str) or isinstance(given, str | int | float | Path)
        if has_one and not parameter.is_flag:
            assert "[default: " in record[1], f"{path} {parameter.opts}"
