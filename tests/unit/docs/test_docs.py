"""What a user must know is in the README: every setting, command and path, as the code has them."""

from __future__ import annotations

import ast
import re

import pytest
from pydantic_core import PydanticUndefined

from streams.settings import Settings
from tests.paths import ROOT
from tocsin.cli import _COMMANDS, cli

README = (ROOT / "README.md").read_text(encoding="utf-8")


def settings_table() -> str:
    """The README's table of settings; paste it there when this test fails."""
    rows = ["| setting | default | meaning |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = field.default if field.default is not PydanticUndefined else ""
        if isinstance(default, tuple):
            default = ",".join(default).lower()
        text = str(default).lower() if isinstance(default, bool) else str(default)
        shown = "" if default is None or text == "" else f"`{text}`"
        rows.append(f"| `TOCSIN_{name.upper()}` | {shown} | {field.description} |")
    return "\n".join(rows)


def test_every_setting_is_in_the_readme() -> None:
    assert settings_table() in README, "put this table into README.md:\n" + settings_table()


def test_every_setting_says_what_it_means() -> None:
    for name, field in Settings.model_fields.items():
        assert field.description, name
        assert field.description.endswith("."), name


@pytest.mark.parametrize("name", list(_COMMANDS))
def test_every_command_is_in_the_readme_and_has_help(name: str) -> None:
    assert f"`tocsin {name}`" in README
    command = cli.get_command(None, name)  # type: ignore[arg-type]
    assert command is not None
    assert command.help


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/api/v1/counts",
        "/api/v1/counts/{event_type}",
        "/api/v1/scheduler",
        "/metrics",
        "/livez",
        "/readyz",
        "/startupz",
    ],
)
def test_every_path_is_in_the_readme(path: str) -> None:
    assert f"`{path}`" in README


def test_files_that_the_readme_names_are_there() -> None:
    named = set(re.findall(r"`((?:tests|tables|streams|agents|deploy)/[\w./-]+\.\w+)`", README))
    named |= set(re.findall(r"\]\((deploy/[\w./-]+)\)", README))
    assert named
    missing = sorted(name for name in named if not (ROOT / name).exists())
    assert missing == []


def test_the_readme_has_nothing_left_to_fill_in() -> None:
    assert not re.search(r"^(SETTINGS_TABLE|FIGURES|DEMO_OUTPUT)$", README, re.MULTILINE)


def test_the_changelog_has_the_version() -> None:
    from streams import __version__

    assert f"## [{__version__}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_what_the_python_examples_of_the_readme_import_is_there() -> None:
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert blocks
    for block in blocks:
        imports = [node for node in ast.parse(block).body if isinstance(node, ast.Import | ast.ImportFrom)]
        assert imports
        exec(compile(ast.Module(imports, []), "README", "exec"), {})
