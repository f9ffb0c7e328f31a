"""Settings: where values come from, and the sentence that a wrong one gets."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from streams.notifications import Priority
from streams.settings import PROFILES, ConfigurationError, load_settings


def test_environment_wins_over_file_and_file_over_default(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "tocsin.toml"
    file.write_text('app_id = "from-file"\nweb_port = 7000\n')
    monkeypatch.setenv("TOCSIN_CONFIG_FILE", str(file))
    monkeypatch.setenv("TOCSIN_WEB_PORT", "7001")
    settings = load_settings()
    assert (settings.app_id, settings.web_port, settings.partitions) == ("from-file", 7001, 8)
    assert load_settings(web_port=7002).web_port == 7002


def test_weights_override_the_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOCSIN_WEIGHTS", "critical=32, warning=5")
    weights = load_settings().effective_weights
    assert weights[Priority.CRITICAL] == 32
    assert weights[Priority.WARN] == 5
    assert weights[Priority.DEBUG] == 1
    assert load_settings(profile="yagi-2011", weights={}).effective_weights[Priority.CRITICAL] == 65536


def test_weights_in_a_file_are_a_table(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "tocsin.toml"
    file.write_text("[weights]\ncritical = 20\n")
    monkeypatch.setenv("TOCSIN_CONFIG_FILE", str(file))
    assert load_settings().effective_weights[Priority.CRITICAL] == 20


def test_a_secret_comes_from_a_file_and_is_never_shown(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    secret = tmp_path / "password"
    secret.write_text("hunter2\n")
    monkeypatch.setenv("TOCSIN_SASL_PASSWORD_FILE", str(secret))
    settings = load_settings(security_protocol="SASL_PLAINTEXT", sasl_username="worker")
    assert settings.sasl_password is not None
    assert settings.sasl_password.get_secret_value() == "hunter2"
    assert "hunter2" not in str(settings.shown())
    assert "hunter2" not in repr(settings)


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("TOCSIN_WEB_HOST", "0.0.0.0", "TOCSIN_WEB_TOKEN_FILE"),
        ("TOCSIN_WEIGHTS", "critical", "write weights as"),
        ("TOCSIN_WEIGHTS", "urgent=3", "is not a priority"),
        ("TOCSIN_WEIGHTS", "critical=0", "must be a number above 0"),
        ("TOCSIN_PRIORITIES", "loud", "is not a priority"),
        ("TOCSIN_PRIORITIES", ",", "names no priority"),
        ("TOCSIN_BROKERS", "kafka", "is not host:port"),
        ("TOCSIN_BROKERS", "me:secret@kafka:9092", "without user, password"),
        ("TOCSIN_PARTITIONS", "0", "TOCSIN_PARTITIONS"),
        ("TOCSIN_PROFILE", "fastest", "TOCSIN_PROFILE"),
        ("TOCSIN_SECURITY_PROTOCOL", "SASL_SSL", "TOCSIN_SASL_USERNAME"),
        ("TOCSIN_SASL_PASSWORD_FILE", "/nowhere/at/all", "cannot read"),
        ("TOCSIN_CONFIG_FILE", "/nowhere/at/all.toml", "there is no file"),
    ],
)
def test_a_wrong_setting_gets_one_sentence(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, sentence: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError) as raised:
        load_settings()
    text = str(raised.value)
    assert sentence in text
    assert "\n" not in text
    assert "secret" not in text.replace("SECRET", "")


def test_an_unknown_setting_in_the_file_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "tocsin.toml"
    file.write_text("web_prot = 1\n")
    monkeypatch.setenv("TOCSIN_CONFIG_FILE", str(file))
    with pytest.raises(ConfigurationError, match="no such setting"):
        load_settings()


def test_show_config_prints_json_with_secrets_masked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import json

    from tocsin.cli.worker import command

    token = tmp_path / "token"
    token.write_text("let-me-in")
    monkeypatch.setenv("TOCSIN_WEB_TOKEN_FILE", str(token))
    result = CliRunner().invoke(command, ["--show-config"])
    assert result.exit_code == 0
    assert json.loads(result.stdout)["web_token"] == "********"
    assert "let-me-in" not in result.output


def test_every_profile_has_a_weight_for_every_priority() -> None:
    for weights in PROFILES.values():
        assert set(weights) == set(Priority)
