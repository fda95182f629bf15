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
    address = _address(host)
    return address is not None and (not address.is_global or address.is_multicast)


def in_clear(host: str) -> bool:
    """Whether a private host is written so that everybody sees it: `localhost`, `10.1.2.3`, `::1`."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
    return True


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:  # 2130706433, 0x7f.1 and 0177.0.0.1 are 127.0.0.1 for the system
        numbers = _NUMBERS.fullmatch(host)
        address = ipaddress.ip_address(socket.inet_aton(host) if numbers else host)
    except (ValueError, OSError):
        return None
    if isinstance(address, ipaddress.IPv4Address):
        return address
    # addresses of the old kind inside the new
    if address in _NAT64 or (int(address) >> 32 == 0 and int(address) > 1):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else address)


def require_outside(host: str, port: int | None) -> None:
    """Look up a name.

    Raises:
        Inside: one of its addresses is not of the Internet.
    """
    try:
        addresses = {str(row[4][0]) for row in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)}
    except (OSError, UnicodeError):  # who connects will say so
        return
    for address in sorted(addresses):
        if is_private(address):
            raise Inside(host, address)


def adapter() -> HTTPAdapter:
    """For a requests session: connections that end outside of this network, or not at all."""
    from requests.adapters import HTTPAdapter
    from urllib3 import connection, connectionpool

    class Checked:
        def _new_conn(self) -> socket.socket:
            host, port = self.host, self.port  # type: ignore[attr-defined]
            require_outside(host, port)
            connected: socket.socket = super()._new_conn()  # type: ignore[misc]
            reached = str(connected.getpeername()[0])
            if is_private(reached):
                connected.close()
                raise Inside(host, reached)
            return connected

    class Outside(HTTPAdapter):
        def init_poolmanager(self, *args: Any, **more: Any) -> None:
            super().init_poolmanager(*args, **more)
            self.poolmanager.pool_classes_by_scheme = {
                "http": pool(connectionpool.HTTPConnectionPool, connection.HTTPConnection),
                "https": pool(connectionpool.HTTPSConnectionPool, connection.HTTPSConnection),
            }

    def pool(kind: type, connects: type) -> Any:
        return type("OutsidePool", (kind,), {"ConnectionCls": type("OutsideConnection", (Checked, connects), {})})

    return Outside()
