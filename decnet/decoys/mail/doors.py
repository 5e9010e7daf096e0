"""How many may be in at once: in all, and of one peer."""

from __future__ import annotations

from collections import Counter
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Literal

from decnet.addresses import fold

Refused = Literal["", "peer", "all"]


def whose(peer: str) -> str:
    """Who is one peer: an address, of IPv6 the /64 that one host has at least."""
    folded = fold(peer)
    if folded is None:
        return peer
    address = ip_address(folded.partition("%")[0])
    if isinstance(address, IPv6Address):
        return str(ip_network((address, 64), strict=False))
    return folded


class Doors:
    """Counts who is in."""

    def __init__(self, most: int, most_of_peer: int) -> None:
        self._most, self._most_of_peer = most, most_of_peer
        self._of = Counter[str]()

    @property
    def inside(self) -> int:
        """Connections that are in."""
        return self._of.total()

    def enter(self, peer: str) -> Refused:
        """Lets a peer in, or says which bound is against it."""
        who = whose(peer)
        if self._of[who] >= self._most_of_peer:
            return "peer"
        if self.inside >= self._most:
            return "all"
        self._of[who] += 1
        return ""

    def leave(self, peer: str) -> None:
        """One connection of a peer that was let in is over."""
        who = whose(peer)
        self._of[who] -= 1
        if self._of[who] <= 0:
            del self._of[who]
