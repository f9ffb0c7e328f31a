"""Settings turned into the keyword arguments that every aiokafka client understands."""

from __future__ import annotations

import ssl
from functools import lru_cache
from pathlib import Path
from typing import Any

from streams.settings import ConfigurationError, Settings
from streams.settings.files import CONFIG_BYTES, read_text
from streams.upstream.sasl import install_hidden_secrets, install_oauth_refusals


def client_options(settings: Settings) -> dict[str, Any]:
    """Keyword arguments for an aiokafka consumer, producer or admin client.

    Holds ``bootstrap_servers`` and ``security_protocol``; for the SASL protocols also ``sasl_mechanism`` with
    ``sasl_plain_username`` and ``sasl_plain_password`` (aiokafka uses these two for SCRAM as well), or with
    ``sasl_oauth_token_provider``; for the SSL protocols an ``ssl_context``.

    Raises:
        ConfigurationError: a certificate, key or token file cannot be used, or a package is missing.
    """
    options: dict[str, Any] = {
        "bootstrap_servers": settings.broker_list,
        "security_protocol": settings.security_protocol,
    }
    if settings.security_protocol.startswith("SASL"):
        install_hidden_secrets()
        if (provider := token_provider(settings)) is not None:
            # What MSK calls a mechanism of its own is this one on the wire.
            options["sasl_mechanism"] = "OAUTHBEARER"
            options["sasl_oauth_token_provider"] = provider
        else:
            password = settings.sasl_password
            options["sasl_mechanism"] = settings.sasl_mechanism
            options["sasl_plain_username"] = settings.sasl_username
            options["sasl_plain_password"] = password.get_secret_value() if password else None
    if settings.security_protocol.endswith("SSL"):
        options["ssl_context"] = ssl_context(settings)
    return options


def token_provider(settings: Settings) -> Any:
    """Who gives aiokafka its bearer tokens; None for a mechanism with a password.

    Raises:
        ConfigurationError: a file cannot be used, or a package is missing.
    """
    if settings.sasl_mechanism not in ("OAUTHBEARER", "AWS_MSK_IAM"):
        return None
    install_oauth_refusals()
    if settings.sasl_mechanism == "AWS_MSK_IAM":
        return _msk_tokens(settings.sasl_aws_region or "")
    if settings.sasl_oauth_token_file is not None:
        from streams.broker.tokens import FileTokens  # noqa: PLC0415 - aiohttp takes a tenth of a second

        return FileTokens(settings.sasl_oauth_token_file)
    secret = settings.sasl_oauth_client_secret
    return _endpoint_tokens(
        settings.sasl_oauth_token_url or "",
        settings.sasl_oauth_client_id or "",
        secret.get_secret_value() if secret else "",
        settings.sasl_oauth_scope,
        settings.sasl_oauth_ca_file,
    )


# A process asks once for all its clients, so they share what keeps the token.


@lru_cache(maxsize=16)
def _msk_tokens(region: str) -> Any:
    from streams.broker.tokens import MskTokens  # noqa: PLC0415 - as above

    return MskTokens(region)


@lru_cache(maxsize=16)
def _endpoint_tokens(url: str, client_id: str, client_secret: str, scope: str | None, ca: Path | None) -> Any:
    from streams.broker.tokens import EndpointTokens  # noqa: PLC0415 - as above

    context = _trusting("TOCSIN_SASL_OAUTH_CA_FILE", ca)
    return EndpointTokens(url, client_id, client_secret, scope=scope, context=context)


def ssl_context(settings: Settings) -> ssl.SSLContext:
    """Context that checks the broker's certificate and host name, with the client's certificate if set.

    Raises:
        ConfigurationError: a certificate or key file cannot be used.
    """
    cert, key = settings.ssl_cert_file, settings.ssl_key_file
    context = _trusting("TOCSIN_SSL_CA_FILE", settings.ssl_ca_file)
    if key is not None and cert is None:
        raise ConfigurationError(
            "TOCSIN_SSL_KEY_FILE is set without TOCSIN_SSL_CERT_FILE: set both, or neither."
        )
    if cert is not None:
        password = settings.ssl_key_password
        try:
            # The empty password keeps OpenSSL from asking on the terminal for that of an encrypted key.
            context.load_cert_chain(cert, key, password=password.get_secret_value() if password else "")
        except (OSError, ValueError) as error:
            raise ConfigurationError(
                _unusable_pair(cert, key, error, password=password is not None)
            ) from None
    return context


def _trusting(setting: str, ca: Path | None) -> ssl.SSLContext:
    """Context that trusts the certificates of a file, or the system's."""
    try:
        return ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=ca)
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"{setting}: {ca} holds no certificates that can be read ({_reason(error)})."
        ) from None


def _unusable_pair(cert: Path, key: Path | None, error: Exception, *, password: bool) -> str:
    """The sentence for a client certificate and key that OpenSSL does not take."""
    settings = "TOCSIN_SSL_CERT_FILE, TOCSIN_SSL_KEY_FILE"
    try:
        encrypted = "ENCRYPTED" in read_text(settings, key or cert, limit=CONFIG_BYTES, what="a key")
    except ConfigurationError:
        encrypted = False
    if encrypted and not password:
        return f"{settings}: the key in {key or cert} is encrypted; set TOCSIN_SSL_KEY_PASSWORD_FILE."
    either = ", or TOCSIN_SSL_KEY_PASSWORD is not the password of the key" if encrypted else ""
    return (
        f"{settings}: {cert} and {key or cert} are not a client certificate and its key in PEM form{either} "
        f"({_reason(error)})."
    )


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
