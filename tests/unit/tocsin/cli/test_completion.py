"""Shell completion, as docs/commands.md says to switch it on."""

from __future__ import annotations

import os
import sys

import pytest

from tests import children
from tests.paths import ROOT

_RUN = """
import sys
from tocsin.__main__ import main
try:
    main()
finally:
    print("loaded", any(name.startswith("tocsin.cli.demo") for name in sys.modules))
"""


def complete(shell: str, **variables: str) -> str:
    ended = children.run(
        [sys.executable, "-c", _RUN],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "_TOCSIN_COMPLETE": shell, **variables},
        capture_output=True,
        timeout=60,
    )
    assert ended.stderr == b""
    return str(ended.stdout.decode())


@pytest.mark.parametrize(
    ("shell", "line"),
    [
        ("bash", "complete -o nosort -F _tocsin_completion tocsin"),
        ("zsh", "#compdef tocsin"),
        ("fish", "complete --no-files --command tocsin"),
    ],
)
def test_the_source_for_each_shell_is_printed(shell: str, line: str) -> None:
    assert line in complete(f"{shell}_source")


def test_commands_are_completed_without_importing_them() -> None:
    found = complete("bash_complete", COMP_WORDS="tocsin d", COMP_CWORD="1")
    assert found.splitlines() == ["plain,demo", "plain,dead-letters", "loaded False"]


def test_options_and_subcommands_are_completed() -> None:
    assert "plain,replay\n" in complete("bash_complete", COMP_WORDS="tocsin dead-letters re", COMP_CWORD="2")
    words = "tocsin dead-letters replay --ag"
    assert "plain,--again\n" in complete("bash_complete", COMP_WORDS=words, COMP_CWORD="3")


@pytest.mark.parametrize("command", ["publish", "tail"])
def test_it_knows_the_priorities(command: str) -> None:
    words = f"tocsin {command} --priority cr"
    shown = complete("bash_complete", COMP_WORDS=words, COMP_CWORD="3")
    assert shown.splitlines()[:-1] == ["plain,critical"]
