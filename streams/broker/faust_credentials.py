"""The same credentials as Faust wants them, for the consumer and the producer that it makes itself."""

from __future__ import annotations

from typing import Any

import faust

from streams.broker.client_options import client_options
from streams.settings import Settings


def faust_credentials(settings: Settings) -> Any:
    """Credentials for ``broker_credentials`` of a Faust app; None for PLAINTEXT.

    Raises:
        ConfigurationError: as ``client_options``.
    """
    options = client_options(settings)
    context = options.get("ssl_context")
    if (provider := options.get("sasl_oauth_token_provider")) is not None:
        return faust.OAuthCredentials(oauth_cb=provider, ssl_context=context)
    if "sasl_mechanism" in options:
        return faust.SASLCredentials(
            username=options["sasl_plain_username"],
            password=options["sasl_plain_password"],
            mechanism=options["sasl_mechanism"],
            ssl_context=context,
        )
    return faust.SSLCredentials(context=context) if context is not None else None
