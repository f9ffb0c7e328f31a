"""``tocsin bridge http``: put on Kafka what is posted by HTTP."""

from __future__ import annotations

import asyncio
import logging
import sys

import click

from streams.broker.self_check import patience_with_brokers_s
from streams.settings import Settings
from tocsin.cli.common.config_option import command_settings, config_option
from tocsin.cli.common.options import brokers_option, examples
from tocsin.cli.common.running import begin_log, exit_code_of_errors, on_signals, silence_client
from tocsin.cli.worker import install_event_loop
from tocsin.guard import check_packages

log = logging.getLogger(__name__)


@click.command(
    short_help="Put on Kafka what is posted by HTTP.",
    epilog=examples(
        "tocsin bridge http",
        "tocsin bridge http --tokens publishers.txt --tls-cert tls.crt --tls-key tls.key --host '*'",
    ),
)
@click.option(
    "--host",
    show_default="TOCSIN_HTTP_BRIDGE_HOST",
    help="Address to listen on; * is every one of this machine. Any but this machine's own needs --tokens.",
)
@click.option(
    "--port", type=int, show_default="TOCSIN_HTTP_BRIDGE_PORT", help="Port to listen on; 0 takes a free one."
)
@click.option(
    "--tokens",
    metavar="FILE",
    show_default="TOCSIN_HTTP_BRIDGE_TOKENS_FILE",
    help="Publishers, a line each: name, token or sha256:HEX of it, prefixes of publisher_id.",
)
@click.option(
    "--tls-cert", metavar="FILE", show_default="TOCSIN_HTTP_BRIDGE_TLS_CERT_FILE", help="Speak HTTPS."
)
@click.option(
    "--tls-key",
    metavar="FILE",
    show_default="TOCSIN_HTTP_BRIDGE_TLS_KEY_FILE",
    help="Key of the certificate.",
)
@brokers_option
@config_option
def http(
    host: str | None,
    port: int | None,
    tokens: str | None,
    tls_cert: str | None,
    tls_key: str | None,
    brokers: str | None,
) -> None:
    """Take notifications and CloudEvents by HTTP, and put them on Kafka.

    POST /api/v1/notifications answers 202 once Kafka has confirmed all of them. /openapi.json describes it.
    Several may run behind one address.

    SIGTERM ends it once what is under way is answered. Exit codes: 0 ended by a signal, 2 wrong usage,
    75 Kafka away at the start, 78 wrong configuration.
    """
    check_packages()  # the other bridges need less than this one
    settings = command_settings(
        http_bridge_host=host,
        http_bridge_port=port,
        http_bridge_tokens_file=tokens,
        http_bridge_tls_cert_file=tls_cert,
        http_bridge_tls_key_file=tls_key,
        brokers=brokers,
    )
    begin_log(settings)
    install_event_loop()
    with exit_code_of_errors():
        asyncio.run(_run(settings))


async def _run(settings: Settings) -> None:
    from tocsin.bridge_http.process import BridgeProcess  # noqa: PLC0415 -- the help needs none of it

    stop = asyncio.Event()
    silence_client()
    with on_signals(stop.set):
        patience_s = patience_with_brokers_s(settings, terminal=sys.stderr.isatty())
        await BridgeProcess(settings).run(stop, patience_s)
