"""The bridge speaks HTTPS, and says what is wrong with its certificate and its other settings."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from streams.settings import ConfigurationError, load_settings
from tests.unit.tocsin.bridge_http.bridge_kit import ONE, served
from tocsin.bridge_http.tls import server_context


def certificate(folder: Path, password: str | None) -> tuple[dict[str, Any], ssl.SSLContext]:
    """Settings of a certificate and its key, and who trusts them."""
    ca = trustme.CA()
    issued = ca.issue_cert("127.0.0.1")
    (folder / "tls.crt").write_bytes(b"".join(each.bytes() for each in issued.cert_chain_pems))
    key = issued.private_key_pem.bytes()
    if password is not None:
        key = load_pem_private_key(key, None).private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(password.encode())
        )
    (folder / "tls.key").write_bytes(key)
    trust = ssl.create_default_context()
    ca.configure_trust(trust)
    files = {
        "http_bridge_tls_cert_file": str(folder / "tls.crt"),
        "http_bridge_tls_key_file": str(folder / "tls.key"),
    }
    return files, trust


@pytest.mark.parametrize("password", [None, "open sesame"])
async def test_it_speaks_https_with_a_key_that_may_be_encrypted(tmp_path: Path, password: str | None) -> None:
    files, trust = certificate(tmp_path, password)
    secret = {} if password is None else {"http_bridge_tls_key_password": password}
    tls = server_context(load_settings(**files, **secret))
    async with served(tls=tls, trust=trust) as bridge:
        assert bridge.url.startswith("https://")
        assert await bridge.post(ONE, 202) == {"accepted": 1}
        async with aiohttp.ClientSession() as stranger:
            with pytest.raises(aiohttp.ClientConnectorCertificateError):
                await stranger.get(f"{bridge.url}livez")


@pytest.mark.parametrize("given", [None, "wrong"])
def test_a_key_without_its_password_is_told(tmp_path: Path, given: str | None) -> None:
    files, _ = certificate(tmp_path, "open sesame")
    secret = {} if given is None else {"http_bridge_tls_key_password": given}
    with pytest.raises(ConfigurationError, match="has not the key's password"):
        server_context(load_settings(**files, **secret))
    (tmp_path / "tls.key").unlink()
    with pytest.raises(ConfigurationError, match=r"TLS_KEY_FILE: cannot read .*tls\.key"):
        server_context(load_settings(**files, **secret))


def test_without_a_certificate_there_is_no_tls() -> None:
    assert server_context(load_settings()) is None


# --- Settings ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"http_bridge_host": "*"}, "set TOCSIN_HTTP_BRIDGE_TOKENS_FILE"),
        ({"http_bridge_host": "192.0.2.1"}, "set TOCSIN_HTTP_BRIDGE_TOKENS_FILE"),
        ({"http_bridge_host": "localhost:80"}, "which is TOCSIN_HTTP_BRIDGE_PORT"),
        ({"http_bridge_tls_cert_file": "/c"}, "both or neither"),
        ({"http_bridge_tls_key_file": "/k"}, "both or neither"),
    ],
)
def test_settings_that_do_not_go_together_are_told(values: dict[str, str], sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        load_settings(**values)


async def test_an_address_that_is_taken_is_told() -> None:
    async with served() as bridge:
        port = int(bridge.url.rstrip("/").rpartition(":")[2])
        with pytest.raises(ConfigurationError, match=f"TOCSIN_HTTP_BRIDGE_PORT: .*127.0.0.1:{port}"):
            async with served(http_bridge_port=port):
                pass
