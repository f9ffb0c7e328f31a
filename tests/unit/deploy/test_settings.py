"""The settings that the deployment makes are settings that Tocsin has, and load."""

from __future__ import annotations

import os
import re
import typing
from pathlib import Path

import pytest
import yaml
from pydantic import SecretStr

from streams.settings import ConfigurationError, Settings, load_settings
from tests.paths import ROOT

DEPLOY = ROOT / "deploy"
SETTINGS_ENV = DEPLOY / "kubernetes" / "base" / "settings.env"
MOUNT = "/etc/tocsin/secrets/"

_NAME = re.compile(r"\bTOCSIN_[A-Z0-9_]*[A-Z0-9]\b")


def known_names() -> set[str]:
    """Every environment variable that the settings are read from."""
    names = {"TOCSIN_CONFIG_FILE"}
    for name, field in Settings.model_fields.items():
        names.add(f"TOCSIN_{name.upper()}")
        if SecretStr in typing.get_args(field.annotation):
            names.add(f"TOCSIN_{name.upper()}_FILE")
    return names


def unknown_names(text: str) -> set[str]:
    """Names in a text that look like settings of Tocsin and are none."""
    return set(_NAME.findall(text)) - known_names()


def pairs(text: str) -> dict[str, str]:
    """Names and values of an env file, read as Kustomize reads it."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return {name: value for name, _, value in (line.partition("=") for line in lines)}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> typing.Callable[..., None]:
    """Makes a pod's environment: settings.env with changes, and a mounted Secret of some keys."""

    def make(
        changes: dict[str, str] | None = None, *, keys: tuple[str, ...], text: str | None = None
    ) -> None:
        for name in [name for name in os.environ if name.startswith("TOCSIN_")]:
            monkeypatch.delenv(name)
        for key in keys:
            (tmp_path / key).write_text(f"the {key}\n", encoding="utf-8")
        read = pairs(SETTINGS_ENV.read_text(encoding="utf-8") if text is None else text)
        for name, value in (read | (changes or {}) | {"TOCSIN_INSTANCE_ID": "tocsin-0"}).items():
            monkeypatch.setenv(name, value.replace(MOUNT, f"{tmp_path}/"))

    return make


@pytest.mark.parametrize(
    "path",
    sorted(path for path in DEPLOY.rglob("*") if path.is_file() and path.suffix != ".png"),
    ids=lambda path: str(path.relative_to(DEPLOY)),
)
def test_every_setting_named_in_the_deployment_exists(path: Path) -> None:
    assert unknown_names(path.read_text(encoding="utf-8")) == set()


def test_the_search_for_unknown_settings_finds_one() -> None:
    assert unknown_names(
        "TOCSIN_BROKERS=a:1\n# TOCSIN_BROKER or TOCSIN_APP_ID_FILE, TOCSIN_WEB_TOKEN_FILE"
    ) == {
        "TOCSIN_BROKER",
        "TOCSIN_APP_ID_FILE",
    }


def made_of_services(names: list[str]) -> set[str]:
    """Variables that Kubernetes puts into every pod of a namespace that has Services of these names."""
    words = [name.upper().replace("-", "_") for name in names]
    return {f"{word}_{end}" for word in words for end in ("PORT", "SERVICE_HOST", "SERVICE_PORT")}


def test_no_service_s_name_makes_a_variable_that_is_a_setting() -> None:
    base = DEPLOY / "kubernetes" / "base"
    services = [
        item["metadata"]["name"]
        for path in base.glob("*.yaml")
        for item in yaml.safe_load_all(path.read_text(encoding="utf-8"))
        if item["kind"] == "Service"
    ]
    assert len(services) == 3
    assert made_of_services(services) & known_names() == set()
    assert made_of_services(["tocsin-web"]) & known_names() == {"TOCSIN_WEB_PORT"}


def test_settings_env_is_plain_enough_for_kustomize() -> None:
    for line in SETTINGS_ENV.read_text(encoding="utf-8").splitlines():
        assert re.fullmatch(r"|#.*|TOCSIN_[A-Z0-9_]+=[^\s\"']*", line), line


def test_the_settings_of_the_base_load_with_a_web_token(environment: typing.Callable[..., None]) -> None:
    environment(keys=("web-token",))
    settings = load_settings()
    assert settings.web_token is not None
    assert settings.web_token.get_secret_value() == "the web-token"
    assert settings.instance_id == "tocsin-0"
    assert settings.replication_factor == 3
    assert not settings.web_is_loopback
    assert not settings.web_open


def test_without_a_token_the_worker_refuses_to_open_its_web_views(
    environment: typing.Callable[..., None],
) -> None:
    environment(keys=())
    with pytest.raises(ConfigurationError, match="TOCSIN_WEB_TOKEN_FILE"):
        load_settings()
    environment({"TOCSIN_WEB_TOKEN_FILE": ""}, keys=())
    with pytest.raises(ConfigurationError, match="TOCSIN_WEB_OPEN"):
        load_settings()


def test_the_web_views_can_be_opened_as_settings_env_says(environment: typing.Callable[..., None]) -> None:
    environment({"TOCSIN_WEB_TOKEN_FILE": "", "TOCSIN_WEB_OPEN": "true"}, keys=())
    assert load_settings().web_token is None


def test_the_settings_for_brokers_with_users_load_when_uncommented(
    environment: typing.Callable[..., None],
) -> None:
    text = re.sub(r"(?m)^#(?=TOCSIN_)", "", SETTINGS_ENV.read_text(encoding="utf-8"))
    environment(keys=("web-token", "sasl-password", "ca.crt"), text=text)
    settings = load_settings()
    assert settings.security_protocol == "SASL_SSL"
    assert settings.sasl_password is not None
    assert settings.sasl_password.get_secret_value() == "the sasl-password"
    assert settings.ssl_ca_file is not None
    assert settings.ssl_ca_file.is_file()


def test_the_readme_says_how_to_make_every_key_that_the_settings_read() -> None:
    keys = set(re.findall(rf"{MOUNT}(\S+)", SETTINGS_ENV.read_text(encoding="utf-8")))
    readme = (DEPLOY / "README.md").read_text(encoding="utf-8")
    assert {key for key in keys if f"`{key}`" not in readme and f"={key}=" not in readme} == set()
    assert keys == {"web-token", "sasl-password", "ca.crt"}
