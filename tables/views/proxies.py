"""What trusted reverse proxies say of a request: who asked, from where, and for which host.

Headers of this kind are believed of the addresses in TOCSIN_WEB_TRUSTED_PROXIES alone: anybody can send them.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Final

from aiohttp import web

from streams.settings import Settings
from streams.settings.addresses import Network, networks

_FOR_HEADER: Final = "X-Forwarded-For"
_HOST_HEADER: Final = "X-Forwarded-Host"
#: Characters of a user's name; longer ones are nobody's.
_MOST_NAME: Final = 200


class Proxies:
    """Reads the headers of trusted proxies.

    Args:
        settings: addresses of trusted proxies, and the name of the header that has the user.
    """

    def __init__(self, settings: Settings) -> None:
        self._trusted = networks(settings.web_trusted_proxies)
        self._user_header = settings.web_user_header

    def trusts(self, request: web.BaseRequest) -> bool:
        """Whether a request comes from a trusted proxy."""
        return is_in(request.remote, self._trusted)

    def client_address(self, request: web.BaseRequest) -> str:
        """The address that a request came from: the last one that is no trusted proxy's."""
        address = request.remote or ""
        if not self.trusts(request):
            return address
        # Each proxy has put the address that it saw at the end; what is before may be the client's own.
        given = ",".join(request.headers.getall(_FOR_HEADER, ())).split(",")
        for part in reversed(given):
            found = part.strip()
            if not _is_address(found):
                break
            address = found
            if not is_in(found, self._trusted):
                break
        return address

    def hosts(self, request: web.BaseRequest) -> set[str]:
        """Host and port by which a browser may know these web views, in lower case.

        No page of another site can set these headers.
        """
        found = {request.headers.get("Host", "")}
        if self.trusts(request):
            for each in request.headers.getall(_HOST_HEADER, ()):
                found.update(each.split(","))
        return {each.strip().lower() for each in found} - {""}

    def user(self, request: web.BaseRequest) -> str | None:
        """The user that a trusted proxy names; None where there is none, or more than one."""
        if not self._user_header or not self.trusts(request):
            return None
        named = request.headers.getall(self._user_header, ())
        if len(named) != 1:
            return None  # one of them may be the client's own
        name = named[0].strip()
        return name if 0 < len(name) <= _MOST_NAME else None


def is_in(address: str | None, trusted: Sequence[Network]) -> bool:
    """Whether an address lies in one of these networks."""
    try:
        found = ipaddress.ip_address((address or "").partition("%")[0])
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped  # of a socket that takes both
    return any(found.version == network.version and found in network for network in trusted)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
