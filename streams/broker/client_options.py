"""Settings turned into the keyword arguments that every aiokafka client understands."""

from __future__ import annotations

import ssl
from typing import Any

from streams.settings import ConfigurationError, Settings


def client_options(settings: Settings) -> dict[str, Any]:
    """Keyword arguments for an aiokafka consumer, producer or admin client.

    Holds ``bootstrap_servers`` and ``security_protocol``; for the SASL protocols also
    ``sasl_mechanism``, ``sasl_plain_username`` and ``sasl_plain_password`` (aiokafka uses
    these two for SCRAM as well); for the SSL protocols an ``ssl_context``.

    Raises:
        ConfigurationError: a certificate or key file cannot be used.
    """
    options: dict[str, Any] = {
        "bootstrap_servers": settings.broker_list,
        "security_protocol": settings.security_protocol,
    }
    if settings.security_protocol.startswith("SASL"):
        password = settings.sasl_password
        options["sasl_mechanism"] = settings.sasl_mechanism
        options["sasl_plain_username"] = settings.sasl_username
        options["sasl_plain_password"] = password.get_secret_value() if password else None
    if settings.security_protocol.endswith("SSL"):
        options["ssl_context"] = ssl_context(settings)
    return options


def ssl_context(settings: Settings) -> ssl.SSLContext:
    """Context that checks the broker's certificate and host name, with the client's certificate if set.

    Raises:
        ConfigurationError: a certificate or key file cannot be used.
    """
    ca, cert, key = settings.ssl_ca_file, settings.ssl_cert_file, settings.ssl_key_file
    try:
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=ca)
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"TOCSIN_SSL_CA_FILE: {ca} holds no certificates that can be read ({_reason(error)})."
        ) from None
    if key is not None and cert is None:
        raise ConfigurationError(
            "TOCSIN_SSL_KEY_FILE is set without TOCSIN_SSL_CERT_FILE: set both, or neither."
        )
    if cert is not None:
        try:
            # The empty password keeps OpenSSL from asking on the terminal for that of an encrypted key.
            context.load_cert_chain(cert, key, password="")
        except (OSError, ValueError) as error:
            raise ConfigurationError(
                f"TOCSIN_SSL_CERT_FILE, TOCSIN_SSL_KEY_FILE: {cert} and {key or cert} are not a client "
                f"certificate and its unencrypted key in PEM form ({_reason(error)})."
            ) from None
    return context


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
