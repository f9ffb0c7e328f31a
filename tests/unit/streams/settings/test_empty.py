"""Empty is unset; but a secret that is set and empty is refused, wherever it stands."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from streams.notifications import Priority
from streams.settings import SECRETS, ConfigurationError, Settings, load_settings

BLANKS = ["", " ", "\t", "\n", " \r\n\t "]
PLAIN = [name for name in Settings.model_fields if name not in SECRETS]
DEFAULTS = Settings().model_dump()
LISTENERS = [{}, {"web_host": "0.0.0.0", "web_open": True}, {"web_host": "*", "web_open": True}]


@pytest.fixture
def config(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Writes the settings file."""
    path = tmp_path / "tocsin.toml"
    monkeypatch.setenv("TOCSIN_CONFIG_FILE", str(path))

    def write(text: str) -> Path:
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_the_secrets_are_those_that_are_hidden() -> None:
    assert {"sasl_password", "web_token", "admin_token", "ssl_key_password"} <= set(SECRETS)
    assert "sasl_oauth_client_secret" in SECRETS


@pytest.mark.parametrize("blank", BLANKS)
@pytest.mark.parametrize("name", PLAIN)
def test_an_empty_variable_is_no_variable(monkeypatch: pytest.MonkeyPatch, name: str, blank: str) -> None:
    monkeypatch.setenv(f"TOCSIN_{name.upper()}", blank)
    assert load_settings().model_dump() == DEFAULTS


@pytest.mark.parametrize("name", PLAIN)
def test_an_empty_value_of_the_file_or_of_an_option_is_none(config: Any, name: str) -> None:
    config(f'{name} = " "\n')
    assert load_settings().model_dump() == DEFAULTS
    assert load_settings(**{name: ""}).model_dump() == DEFAULTS


def test_an_empty_variable_leaves_the_file_its_say(monkeypatch: pytest.MonkeyPatch, config: Any) -> None:
    config('instance_id = "pod-1"\nweb_port = 7000\n')
    monkeypatch.setenv("TOCSIN_INSTANCE_ID", "")
    monkeypatch.setenv("TOCSIN_WEB_PORT", "")
    assert (load_settings().instance_id, load_settings().web_port) == ("pod-1", 7000)


def test_an_empty_name_of_a_file_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CONFIG_FILE", "SSL_CA_FILE", *(f"{secret.upper()}_FILE" for secret in SECRETS)):
        monkeypatch.setenv(f"TOCSIN_{name}", "")
    assert load_settings().model_dump() == DEFAULTS
    assert load_settings(config_file=" ").config_file is None


@pytest.mark.parametrize("listener", LISTENERS, ids=str)
@pytest.mark.parametrize("blank", BLANKS)
@pytest.mark.parametrize("secret", SECRETS)
def test_a_blank_secret_is_refused_in_whatever_way_it_is_given(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    secret: str,
    blank: str,
    listener: dict[str, Any],
) -> None:
    variable = f"TOCSIN_{secret.upper()}"
    monkeypatch.setenv(variable, blank)
    with pytest.raises(ConfigurationError, match=rf"^{variable} is set and empty: .*unset it\.$"):
        load_settings(**listener)
    monkeypatch.delenv(variable)

    file = tmp_path / "secret"
    file.write_text(blank, encoding="utf-8")
    monkeypatch.setenv(f"{variable}_FILE", str(file))
    with pytest.raises(ConfigurationError, match=rf"^{variable}_FILE: {file} is empty; .*"):
        load_settings(**listener)
    monkeypatch.delenv(f"{variable}_FILE")

    toml = tmp_path / "tocsin.toml"
    toml.write_text(f'{secret} = "{blank.encode("unicode_escape").decode()}"\n', encoding="utf-8")
    with pytest.raises(ConfigurationError, match=rf"^{secret} in {toml} is set and empty: "):
        load_settings(config_file=toml, **listener)
    with pytest.raises(ConfigurationError, match=f"^{variable} is set and empty: "):
        load_settings(**{secret: blank}, **listener)


@pytest.mark.parametrize("secret", SECRETS)
def test_a_blank_secret_is_refused_though_another_source_has_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, secret: str
) -> None:
    file = tmp_path / "secret"
    file.write_text("sixteen-characters-or-more\n", encoding="utf-8")
    monkeypatch.setenv(f"TOCSIN_{secret.upper()}_FILE", str(file))
    assert getattr(load_settings(), secret).get_secret_value() == "sixteen-characters-or-more"
    monkeypatch.setenv(f"TOCSIN_{secret.upper()}", "")
    with pytest.raises(ConfigurationError, match="set and empty"):
        load_settings()


def test_the_door_stays_shut_without_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOCSIN_WEB_HOST", "0.0.0.0")
    monkeypatch.setenv("TOCSIN_WEB_TOKEN_FILE", "")
    with pytest.raises(ConfigurationError, match="can be reached from other machines"):
        load_settings()


def test_no_forwarding_has_a_word(monkeypatch: pytest.MonkeyPatch, config: Any) -> None:
    config("")
    monkeypatch.setenv("TOCSIN_FORWARD_PRIORITIES", "")
    assert load_settings().forward_priorities == (Priority.CRITICAL, Priority.ERROR)
    monkeypatch.setenv("TOCSIN_FORWARD_PRIORITIES", "none")
    assert load_settings().forward_priorities == ()
    monkeypatch.delenv("TOCSIN_FORWARD_PRIORITIES")
    config("forward_priorities = []\n")
    assert load_settings().forward_priorities == ()
