"""``--config`` on every command that reads settings."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from streams.settings import load_settings
from tocsin.cli import cli, main
from tocsin.live_profile import LiveProfile

Run = Callable[..., tuple[object, str, str]]

#: Every command that reads settings, with arguments that it takes.
COMMANDS = {
    "worker": ["worker"],
    "web": ["web"],
    "publish": ["publish", "--event-type", "a"],
    "bridge rabbit": ["bridge", "rabbit"],
    "bridge http": ["bridge", "http"],
    "archive": ["archive", "folder"],
    "tail": ["tail", "alerts"],
    "top": ["top", "--once"],
    "topics apply": ["topics", "apply"],
    "topics check": ["topics", "check"],
    "probe": ["probe"],
    "verify": ["verify"],
    "dead-letters list": ["dead-letters", "list"],
    "dead-letters show": ["dead-letters", "show", "0/1"],
    "dead-letters replay": ["dead-letters", "replay", "0/1"],
}
#: They take nothing from a settings file: a local Kafka has options alone, a demo makes settings of its own.
WITHOUT = {"kafka start", "kafka stop", "kafka status", "kafka reset", "demo"}


def leaves(group: click.Group, before: str = "") -> dict[str, click.Command]:
    found: dict[str, click.Command] = {}
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            found |= leaves(command, f"{before}{name} ")
        else:
            found[f"{before}{name}"] = command
    return found


@pytest.fixture
def tocsin(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: str) -> tuple[object, str, str]:
        monkeypatch.setattr(sys, "argv", ["tocsin", *arguments])
        with pytest.raises(SystemExit) as caught:
            main()
        out, err = capsys.readouterr()
        return caught.value.code, out, err

    return run


def test_every_command_that_reads_settings_has_the_option() -> None:
    having = {
        name
        for name, command in leaves(cli).items()
        if any("--config" in parameter.opts for parameter in command.params)
    }
    assert having == set(COMMANDS)
    assert set(leaves(cli)) - having == WITHOUT


@pytest.mark.parametrize("name", COMMANDS)
def test_a_file_that_is_not_there_ends_with_78(tocsin: Run, tmp_path: Path, name: str) -> None:
    path = tmp_path / "nowhere.toml"
    assert tocsin(*COMMANDS[name], "--config", str(path)) == (
        78,
        "",
        f"tocsin: --config: cannot read {path}, there is no file of this name.\n",
    )


@pytest.mark.parametrize("name", COMMANDS)
def test_the_file_is_read(tocsin: Run, tmp_path: Path, name: str) -> None:
    path = tmp_path / "tocsin.toml"
    path.write_text('brokers = "nowhere"\n')
    code, out, err = tocsin(*COMMANDS[name], "--config", str(path))
    assert (code, out) == (78, "")
    assert err.startswith(f"tocsin: brokers in {path}: 'nowhere' is not host:port")


def test_the_option_wins_over_the_variable(
    tocsin: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("one", "two"):
        (tmp_path / f"{name}.toml").write_text(f'app_id = "{name}"\n')
    monkeypatch.setenv("TOCSIN_CONFIG_FILE", str(tmp_path / "one.toml"))

    def app_id(*arguments: str) -> str:
        code, out, _ = tocsin("worker", "--show-config", *arguments)
        assert code == 0
        return str(json.loads(out)["app_id"])

    assert app_id() == "one"
    assert app_id("--config", str(tmp_path / "two.toml")) == "two"
    # Nothing of it is left for the next command of this process.
    assert app_id() == "one"


def test_a_reload_reads_the_same_file_again(tmp_path: Path) -> None:
    path = tmp_path / "tocsin.toml"
    path.write_text("[weights]\ncritical = 20\n")
    applied = []
    profile = LiveProfile(load_settings(config_file=path), applied.append)
    path.write_text("[weights]\ncritical = 30\n")
    profile.reload()
    assert [settings.weights for settings in applied] == [{"CRITICAL": 30.0}]
