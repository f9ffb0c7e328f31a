"""Settings: where values come from, and the sentence that a wrong one gets."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from streams.notifications import Priority
from streams.settings import PROFILES, ConfigurationError, Settings, load_settings


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


def test_names_in_another_case_are_taken_those_of_files_too(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    token, file = tmp_path / "token", tmp_path / "tocsin.toml"
    token.write_text("let-me-in")
    file.write_text("partitions = 3\n")
    monkeypatch.setenv("tocsin_web_token_file", str(token))
    monkeypatch.setenv("tocsin_config_file", str(file))
    monkeypatch.setenv("Tocsin_web_port", "0")
    settings = load_settings()
    assert settings.web_token is not None
    assert (settings.web_token.get_secret_value(), settings.partitions, settings.web_port) == (
        "let-me-in",
        3,
        0,
    )


def test_tokens_that_would_give_two_rights_are_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text("sixteen-letters-long\n")
    for other in ("TOCSIN_WEB_TOKEN", "TOCSIN_METRICS_TOKEN"):
        with monkeypatch.context() as patch:
            patch.setenv("TOCSIN_ADMIN_TOKEN_FILE", str(token))
            patch.setenv(other, "sixteen-letters-long")
            with pytest.raises(ConfigurationError) as raised:
                load_settings()
            assert str(raised.value) == (
                f"TOCSIN_ADMIN_TOKEN and {other} have the same value, so that whoever may read may change "
                "too: give each a value of its own."
            )
            patch.setenv(other, "sixteen-letters-lonG")
            load_settings()  # the control


#: Texts that one kind of setting or another refuses.
WRONG = ("maybe", "1.5", "-1", "0", "nan", "A B", "1e99", "[1]")


def refusal(**given: object) -> str:
    """What is said of settings that are refused; "" where they are taken."""
    try:
        load_settings(**given)
    except ConfigurationError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("name", Settings.model_fields)
def test_no_wrong_value_is_refused_in_words_of_the_library(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    said = [refusal(**{name: wrong_type}) for wrong_type in (True, 1.5, [1], {"a": 1})]
    for wrong in WRONG:
        monkeypatch.setenv(f"TOCSIN_{name.upper()}", wrong)
        said.append(refusal())
    for each in filter(None, said):
        assert not re.search(r"[Ii]nput|should|pattern|parse", each)
        assert "TOCSIN_" in each


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("WEB_PAYLOADS", "maybe", "write true or false"),
        ("PARTITIONS", "1.5", "write a whole number from 1 to 10000"),
        ("BATCH_MS", "0", "write a number above 0 and at most 1000"),
        ("AGE_GUARD_SHARE", "half", "write a number above 0 and below 1"),
        ("WAIT_FOR_BROKERS_S", "long", "write a number from 0 to 86400"),
        ("LOG_LEVEL", "loud", "write DEBUG, INFO, WARNING or ERROR"),
        ("MODE", "fair", "write weighted, strict-with-floor or strict"),
        ("POOL", "A B", "use lower-case letters, digits and hyphens, 41 at most, and no hyphen first"),
    ],
)
def test_what_to_write_instead_is_said(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, words: str
) -> None:
    monkeypatch.setenv(f"TOCSIN_{name}", value)
    with pytest.raises(ConfigurationError) as raised:
        load_settings()
    assert str(raised.value) == f'TOCSIN_{name}: {words} (given: "{value}").'


@pytest.mark.parametrize("name", Settings.model_fields)
@pytest.mark.parametrize(
    "wrong", ["http://user:hunter2@ no host/", "http:// no host/?token=hunter2", "[hunter2@"]
)
def test_no_secret_in_a_refused_value_is_shown(
    monkeypatch: pytest.MonkeyPatch, name: str, wrong: str
) -> None:
    """Whichever setting it was put in."""
    monkeypatch.setenv(f"TOCSIN_{name.upper()}", wrong)
    assert "hunter2" not in refusal()


def test_a_refused_url_without_a_secret_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """The control of the test above."""
    monkeypatch.setenv("TOCSIN_FEED_HUB", "ftp://hunter2/")
    assert "hunter2" in refusal()


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
