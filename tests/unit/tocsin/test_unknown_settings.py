"""A misspelt setting in the environment is said; what is somebody else's is not."""

from __future__ import annotations

import os

import pytest
from click.testing import CliRunner

from streams.settings import Settings
from tocsin.cli.worker import command
from tocsin.unknown_settings import unknown_settings


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("TOCSIN_WEIGTHS", "TOCSIN_WEIGHTS"),
        ("TOCSIN_BROKER", "TOCSIN_BROKERS"),
        ("TOCSIN_WEBPORT", "TOCSIN_WEB_PORT"),
        ("TOCSIN_WEB_TOKENFILE", "TOCSIN_WEB_TOKEN_FILE"),
        ("TOCSIN_FLUSH_INTERVAL", "TOCSIN_FLUSH_INTERVAL_S"),
        # Names of files, without the word for it or with one too many, and in another case.
        ("TOCSIN_CONFIG", "TOCSIN_CONFIG_FILE"),
        ("TOCSIN_CONFIG_FIEL", "TOCSIN_CONFIG_FILE"),
        ("TOCSIN_TOKEN_FILE", "TOCSIN_WEB_TOKEN_FILE"),
        ("TOCSIN_SSL_CA", "TOCSIN_SSL_CA_FILE"),
        ("TOCSIN_SASL_OAUTH_TOKEN", "TOCSIN_SASL_OAUTH_TOKEN_FILE"),
        ("TOCSIN_DATA_DIR_FILE", "TOCSIN_DATA_DIR"),
        ("tocsin_web_tokn_file", "TOCSIN_WEB_TOKEN_FILE"),
        ("TOCSIN_web_payload", "TOCSIN_WEB_PAYLOADS"),
    ],
)
def test_a_misspelt_name_is_said_with_the_one_that_is_meant(name: str, meant: str) -> None:
    assert unknown_settings([name]) == [
        f"{name} is no setting and has no effect; use {meant} if that is meant."
    ]


def test_a_name_like_no_other_is_said() -> None:
    assert unknown_settings(["TOCSIN_COLOUR"]) == [
        "TOCSIN_COLOUR is no setting and has no effect; see the README for those there are."
    ]


def test_settings_and_the_variables_of_others_are_not_said() -> None:
    settings = [f"TOCSIN_{name.upper()}" for name in Settings.model_fields]
    files = ["TOCSIN_CONFIG_FILE", "TOCSIN_WEB_TOKEN_FILE", "TOCSIN_SASL_PASSWORD_FILE", "tocsin_web_port"]
    of_a_service = [
        "TOCSIN_SERVICE_HOST",
        "TOCSIN_SERVICE_PORT",
        "TOCSIN_SERVICE_PORT_HTTP",
        "TOCSIN_PORT",
        "TOCSIN_PORT_6066_TCP",
        "TOCSIN_PORT_6066_TCP_ADDR",
        "TOCSIN_HEADLESS_PORT_6066_TCP_PROTO",
    ]
    assert unknown_settings([*settings, *files, *of_a_service, "PATH", "MY_TOCSIN_PORTS"]) == []


def test_show_config_says_it_beside_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("TOCSIN_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("TOCSIN_WEIGTHS", "critical=99")
    result = CliRunner().invoke(command, ["--show-config"])
    assert result.exit_code == 0
    assert result.stderr == (
        "tocsin: TOCSIN_WEIGTHS is no setting and has no effect; use TOCSIN_WEIGHTS if that is meant.\n"
    )
