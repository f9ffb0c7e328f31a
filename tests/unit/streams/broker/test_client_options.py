"""Settings become aiokafka's arguments."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from streams.broker.client_options import client_options
from streams.settings import ConfigurationError, load_settings


def test_plaintext_has_addresses_and_protocol_only() -> None:
    assert client_options(load_settings(brokers="a:1, b:2")) == {
        "bootstrap_servers": ["a:1", "b:2"],
        "security_protocol": "PLAINTEXT",
    }


def test_sasl_hands_over_the_secret_itself() -> None:
    settings = load_settings(
        brokers="a:1",
        security_protocol="SASL_PLAINTEXT",
        sasl_mechanism="SCRAM-SHA-256",
        sasl_username="me",
        sasl_password="secret",
    )
    assert client_options(settings) == {
        "bootstrap_servers": ["a:1"],
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": "SCRAM-SHA-256",
        "sasl_plain_username": "me",
        "sasl_plain_password": "secret",
    }


def test_ssl_context_checks_certificate_and_host_name() -> None:
    context = client_options(load_settings(security_protocol="SSL"))["ssl_context"]
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname is True


def test_sasl_ssl_has_both() -> None:
    options = client_options(
        load_settings(security_protocol="SASL_SSL", sasl_username="me", sasl_password="x")
    )
    assert {"ssl_context", "sasl_mechanism"} <= options.keys()


@pytest.mark.parametrize("name", ["ssl_ca_file", "ssl_cert_file"])
@pytest.mark.parametrize("content", [None, "no certificate"])
def test_unusable_file_is_a_configuration_error_that_names_the_setting(
    tmp_path: Path, name: str, content: str | None
) -> None:
    path = tmp_path / "file.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigurationError, match=f"TOCSIN_{name.upper()}.*file.pem"):
        client_options(load_settings(security_protocol="SSL", **{name: path}))


def test_key_without_certificate_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="TOCSIN_SSL_CERT_FILE"):
        client_options(load_settings(security_protocol="SSL", ssl_key_file=tmp_path / "key.pem"))
