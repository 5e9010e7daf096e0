"""Who is one peer of the mail decoy: an address, of IPv6 the /64 that one host has at least; pure."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address, ip_network

from decnet.addresses import fold


def whose(peer: str) -> str:
    """What stands for a peer where connections are counted."""
    folded = fold(peer)
    if folded is None:
        return peer
    address = ip_address(folded.partition("%")[0])
    if isinstance(address, IPv6Address):
        return str(ip_network((address, 64), strict=False))
    return folded
