"""Where a webhook may go: names are looked up once, every address is judged, and the one judged is connected to.

A name that answers with a public and a private address is refused as a whole, and no second look-up can turn it into
another host (https://owasp.org/www-community/attacks/Server_Side_Request_Forgery).
"""

from __future__ import annotations

import asyncio
import socket
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from decnet.runtime.publish.messages import NotDelivered

Address = IPv4Address | IPv6Address
_THIS_NETWORK = IPv4Network("0.0.0.0/8")
_NAT64 = IPv6Network("64:ff9b::/96")
"""IPv4 addresses as hosts without IPv4 reach them: RFC 6052."""


async def judged_address(host: str, port: int, *, private: bool) -> str:
    """An address of the host to connect to. Raises NotDelivered for a host that is not known, or where it may not go."""
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise NotDelivered("its host is not known") from error
    addresses = list(dict.fromkeys(str(one[4][0]) for one in found))
    if not addresses or not all(may_connect(text, private=private) for text in addresses):
        raise NotDelivered("its host has an address that may not be connected to")
    return addresses[0]


def may_connect(text: str, *, private: bool) -> bool:
    """Whether an address is public; with ``private`` also one of a private network or of this host.

    Never link-local ones (where clouds answer with credentials), groups of hosts, or none at all.
    """
    try:
        address = _meant(ip_address(text.partition("%")[0]))
    except ValueError:
        return False
    if address.is_multicast or address.is_unspecified or address.is_link_local:
        return False
    if address.is_global:
        return True
    return private and (address.is_private or address.is_loopback) and not _is_broadcast(address)


def _is_broadcast(address: Address) -> bool:
    return isinstance(address, IPv4Address) and (address.is_reserved or address in _THIS_NETWORK)


def _meant(address: Address) -> Address:
    """The IPv4 address that an IPv6 one stands for, if it does."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    inside = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
    return inside or address
