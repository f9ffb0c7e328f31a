"""TLS of the bridge for HTTP."""

from __future__ import annotations

import ssl
from pathlib import Path

from streams.settings import ConfigurationError, Settings


def server_context(settings: Settings) -> ssl.SSLContext | None:
    """What connections are encrypted with; None where the settings name no certificate.

    Raises:
        ConfigurationError: certificate, key and password cannot be used together.
    """
    cert, key = settings.http_bridge_tls_cert_file, settings.http_bridge_tls_key_file
    if cert is None or key is None:
        return None
    for setting, path in (("CERT", cert), ("KEY", key)):
        _check_readable(f"TOCSIN_HTTP_BRIDGE_TLS_{setting}_FILE", path)
    secret = settings.http_bridge_tls_key_password
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        # Without a password OpenSSL would ask for one at the terminal.
        context.load_cert_chain(
            cert, key, password=lambda: "" if secret is None else secret.get_secret_value()
        )
    except (ssl.SSLError, OSError, ValueError):
        raise ConfigurationError(
            f"TOCSIN_HTTP_BRIDGE_TLS_CERT_FILE and _KEY_FILE: {cert} and {key} are no certificate and its "
            "key in PEM, or TOCSIN_HTTP_BRIDGE_TLS_KEY_PASSWORD_FILE has not the key's password."
        ) from None
    return context


def _check_readable(setting: str, path: Path) -> None:
    try:
        with path.open("rb"):
            return
    except OSError as error:
        raise ConfigurationError(f"{setting}: cannot read {path} ({error.strerror or error}).") from None
