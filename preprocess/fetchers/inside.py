"""Which addresses are inside this machine or network, and connections that never reach one.

What a name resolves to is looked at twice: before the connection, so that none is opened inwards, and at its other end,
because a name may resolve to something else a moment later.
"""

from __future__ import annotations

import ipaddress
import re
import socket
import unicodedata
from typing import TYPE_CHECKING, Any

from haigo.cli import HaigoError

if TYPE_CHECKING:
    from requests.adapters import HTTPAdapter

_NUMBERS = re.compile(r"(?:0x[0-9a-f]*|\d+)(?:\.(?:0x[0-9a-f]*|\d+)){0,3}", re.IGNORECASE)
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class Inside(HaigoError):
    """An address leads inwards that the user did not name as such."""

    def __init__(self, name: str, address: str) -> None:
        where = f" ({address})" if address != name else ""
        super().__init__(
            f"{name} is an address inside this network{where}.",
            "do not fetch from there, or give --allow-private if it is yours",
        )

    def __reduce__(self) -> Any:
        return HaigoError, (self.problem, self.fix)


def is_private(host: str) -> bool:
    """True for this machine and for addresses that are not of the Internet, however they are written."""
    host = unicodedata.normalize("NFKC", host).strip("[]").rstrip(".").lower()
    if host == "localhost" or host.endswith(".localhost"):
        return True
    found = _address(host)
    return found is not None and (not found.is_global or found.is_multicast)


def in_clear(host: str) -> bool:
    """Whether a private host is written so that everybody sees it: `localhost`, `10.1.2.3`, `::1`."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
    return True


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        found = ipaddress.ip_address(host)
    except ValueError:
        if not _NUMBERS.fullmatch(host):
            return None
        try:  # 2130706433, 0x7f.1 and 0177.0.0.1 are 127.0.0.1 for the system
            return ipaddress.IPv4Address(socket.inet_aton(host))
        except OSError:
            return None
    if isinstance(found, ipaddress.IPv4Address):
        return found
    # addresses of the old kind inside the new
    if found in _NAT64 or (int(found) >> 32 == 0 and int(found) > 1):
        return ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
    return found.ipv4_mapped or found.sixtofour or (found.teredo[1] if found.teredo else None) or found


def require_outside(host: str, port: int | None) -> None:
    """Look up a name.

    Raises:
        Inside: one of its addresses is not of the Internet.
    """
    from . import http

    try:
        found = {str(row[4][0]) for row in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)}
    except (OSError, UnicodeError):  # who connects will say so
        return
    for address in sorted(found):
        if http.is_private(address):
            raise Inside(host, address)


def adapter() -> HTTPAdapter:
    """For a requests session: connections that end outside of this network, or not at all."""
    from requests.adapters import HTTPAdapter
    from urllib3 import connection, connectionpool

    class Checked:
        def _new_conn(self) -> socket.socket:
            from . import http

            host, port = self.host, self.port  # type: ignore[attr-defined]
            require_outside(host, port)
            made: socket.socket = super()._new_conn()  # type: ignore[misc]
            reached = str(made.getpeername()[0])
            if http.is_private(reached):
                made.close()
                raise Inside(host, reached)
            return made

    class Plain(Checked, connection.HTTPConnection):
        pass

    class Secure(Checked, connection.HTTPSConnection):
        pass

    class PlainPool(connectionpool.HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(connectionpool.HTTPSConnectionPool):
        ConnectionCls = Secure

    class Outside(HTTPAdapter):
        def init_poolmanager(self, *args: Any, **more: Any) -> None:
            super().init_poolmanager(*args, **more)
            self.poolmanager.pool_classes_by_scheme = {"http": PlainPool, "https": SecurePool}

    return Outside()
