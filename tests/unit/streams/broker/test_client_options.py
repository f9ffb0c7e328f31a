"""Settings become aiokafka's arguments."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from faust.transport.drivers.aiokafka import credentials_to_aiokafka_auth

from streams.broker.client_options import client_options
from streams.broker.faust_credentials import faust_credentials
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


# --- An encrypted key --------------------------------------------------------------------------

PASSWORD = "hunter2 and more"


@pytest.fixture(params=["pkcs8", "traditional"])
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, Path]:
    """A client certificate and its encrypted key, in both forms that PEM has for that."""
    issued = trustme.CA().issue_cert("client.example")
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    cert.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    form = PrivateFormat.PKCS8 if request.param == "pkcs8" else PrivateFormat.TraditionalOpenSSL
    loaded = load_pem_private_key(issued.private_key_pem.bytes(), None)
    key.write_bytes(loaded.private_bytes(Encoding.PEM, form, BestAvailableEncryption(PASSWORD.encode())))
    return cert, key


def test_an_encrypted_key_is_opened_with_its_password_file(
    pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cert, key = pair
    password = tmp_path / "password"
    password.write_text(PASSWORD + "\n")
    monkeypatch.setenv("TOCSIN_SSL_KEY_PASSWORD_FILE", str(password))
    settings = load_settings(security_protocol="SSL", ssl_cert_file=cert, ssl_key_file=key)
    assert isinstance(client_options(settings)["ssl_context"], ssl.SSLContext)
    both = tmp_path / "both.pem"
    both.write_bytes(key.read_bytes() + cert.read_bytes())
    client_options(load_settings(security_protocol="SSL", ssl_cert_file=both))


@pytest.mark.parametrize(
    ("password", "words"),
    [
        (None, "is encrypted; set TOCSIN_SSL_KEY_PASSWORD_FILE"),
        ("wrong", "TOCSIN_SSL_KEY_PASSWORD is not the password of the key"),
        ("x" * 5000, "TOCSIN_SSL_KEY_PASSWORD is not the password of the key"),
    ],
)
def test_an_encrypted_key_that_is_not_opened_is_one_sentence(
    pair: tuple[Path, Path], password: str | None, words: str
) -> None:
    cert, key = pair
    settings = load_settings(
        security_protocol="SSL", ssl_cert_file=cert, ssl_key_file=key, ssl_key_password=password
    )
    with pytest.raises(ConfigurationError, match=words) as caught:
        client_options(settings)
    assert "wrong" not in str(caught.value)
    assert "\n" not in str(caught.value)


# --- The same for Faust ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"security_protocol": "SSL"},
        {"security_protocol": "SASL_PLAINTEXT", "sasl_username": "me", "sasl_password": "x"},
        {
            "security_protocol": "SASL_SSL",
            "sasl_username": "me",
            "sasl_password": "x",
            "sasl_mechanism": "PLAIN",
        },
        {"security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": "OAUTHBEARER"},
        {"security_protocol": "SASL_SSL", "sasl_mechanism": "AWS_MSK_IAM", "sasl_aws_region": "eu-west-1"},
    ],
    ids=lambda values: " ".join(values.values()),
)
def test_faust_hands_its_clients_the_same(values: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "token").write_text("t")
    if values.get("sasl_mechanism") == "OAUTHBEARER":
        values |= {"sasl_oauth_token_file": str(tmp_path / "token")}
    settings = load_settings(**values)
    wanted = client_options(settings)
    found = credentials_to_aiokafka_auth(faust_credentials(settings))
    del wanted["bootstrap_servers"]
    if values:
        assert found["security_protocol"] == wanted["security_protocol"]
    for name in wanted.keys() | found.keys():
        mine, fausts = wanted.get(name), found.get(name)
        # Contexts and readers of files are made anew; they have no equality.
        assert type(mine) is type(fausts) if hasattr(mine, "__dict__") else mine == fausts, name
