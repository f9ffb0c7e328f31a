"""Where the web views listen, by real sockets; and that ``tocsin top`` finds them there."""

from __future__ import annotations

import asyncio
import errno
import socket
from typing import Any

import aiohttp
import pytest

from streams.listening import listening_sockets
from streams.settings import ConfigurationError, load_settings
from tests.unit.tables.views.views_kit import FakeSources, sample
from tocsin.cli.top import _address

IPV4, IPV6 = "127.0.0.1", "::1"
#: Which of the two loopback addresses a server answers on, and the host of its URL.
HOSTS = {
    "*": ({IPV4, IPV6}, "127.0.0.1"),
    "0.0.0.0": ({IPV4}, "127.0.0.1"),
    "::": ({IPV6}, "[::1]"),
    "::1": ({IPV6}, "[::1]"),
    "127.0.0.1": ({IPV4}, "127.0.0.1"),
}


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind((IPV6, 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")


@pytest.fixture
def fake() -> FakeSources:
    return sample()


def answers(address: str, port: int) -> bool:
    try:
        socket.create_connection((address, port), timeout=5).close()
    except OSError:
        return False
    return True


async def get(url: str) -> int:
    async with aiohttp.ClientSession() as client, client.get(url) as answer:
        return answer.status


@needs_ipv6
@pytest.mark.parametrize("host", HOSTS)
async def test_each_value_listens_where_it_says_and_is_found(fake: FakeSources, host: str) -> None:
    reached, shown = HOSTS[host]
    server = fake.server(web_host=host, web_open=True)
    await server.start()
    try:
        port = int(server.address.rstrip("/").rpartition(":")[2])
        assert server.address == f"http://{shown}:{port}/"
        assert await get(f"{server.address}livez") == 200
        assert {each for each in (IPV4, IPV6) if await asyncio.to_thread(answers, each, port)} == reached
        # As `tocsin top` finds it, from the same settings.
        found = _address(None, load_settings(web_host=host, web_open=True, web_port=port))
        assert await get(f"{found}/livez") == 200
    finally:
        await server.stop()
    assert not answers(IPV4, port)
    assert not answers(IPV6, port)


@pytest.mark.parametrize("host", ["localhost", socket.gethostname()])
async def test_a_name_has_one_port_on_all_its_addresses(fake: FakeSources, host: str) -> None:
    server = fake.server(web_host=host, web_open=True)
    await server.start()
    try:
        port = int(server.address.rstrip("/").rpartition(":")[2])
        assert await get(f"{server.address}livez") == 200
        for *_, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            if address[0] != IPV6 or has_ipv6():
                assert answers(address[0], port), address
        found = _address(None, load_settings(web_host=host, web_open=True, web_port=port))
        assert await get(f"{found}/livez") == 200
    finally:
        await server.stop()


@pytest.mark.parametrize("at", ["socket", "bind"])
async def test_all_addresses_are_those_of_ipv4_where_ipv6_is_off(
    fake: FakeSources, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    """As with ipv6.disable=1, where there is no such family, and where no address of it is there."""

    class NoIPv6(socket.socket):
        def __init__(self, family: int = -1, *arguments: Any, **options: Any) -> None:
            if at == "socket" and family == socket.AF_INET6:
                raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
            super().__init__(family, *arguments, **options)

        def bind(self, address: Any) -> None:
            if self.family == socket.AF_INET6:
                raise OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address")
            super().bind(address)

    with monkeypatch.context() as patch:
        patch.setattr(socket, "socket", NoIPv6)
        sockets = listening_sockets("*", 0)
    try:
        port = sockets[0].getsockname()[1]
        assert [one.family for one in sockets] == [socket.AF_INET]
        assert answers(IPV4, port)
        assert not answers(IPV6, port)
    finally:
        for one in sockets:
            one.close()


@pytest.mark.parametrize("taken", [IPV4, "0.0.0.0"])
async def test_a_port_that_is_taken_on_one_address_is_taken(fake: FakeSources, taken: str) -> None:
    with socket.create_server((taken, 0)) as other:
        port = other.getsockname()[1]
        server = fake.server(web_host="*", web_open=True, web_port=port)
        with pytest.raises(ConfigurationError, match=rf"TOCSIN_WEB_PORT: another .* on \*:{port}"):
            await server.start()
        await server.stop()


async def test_a_name_of_no_host_is_one_sentence(fake: FakeSources) -> None:
    server = fake.server(web_host="there-is-no-such-host.invalid", web_open=True)
    with pytest.raises(ConfigurationError, match=r"^TOCSIN_WEB_HOST: there-is-no-such-host\.invalid is not"):
        await server.start()
    with pytest.raises(RuntimeError):
        _ = server.address


async def test_the_log_says_where_and_that_it_is_everywhere(
    fake: FakeSources, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    for host, words in (("*", " (on all addresses)"), ("127.0.0.1", "")):
        server = fake.server(web_host=host, web_open=True)
        await server.start()
        assert caplog.records[-1].getMessage() == f"The web views are at {server.address}{words}"
        await server.stop()
