"""Addresses to block, for a while: as plain lines, for nftables, or as JSON. Pure."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal, NamedTuple

Format = Literal["plain", "nft", "json"]
TABLE: Final = "decnet"
_NEVER = [
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16", "224.0.0.0/3",
        "::/127", "fc00::/7", "fe80::/10", "ff00::/8",
    )
]  # fmt: skip
"""This host, private networks, groups of hosts: whoever blocks these locks himself out."""


class Blocked(NamedTuple):
    """An address with what it did at worst, and until when it is blocked (aware times)."""

    address: str
    severity: str
    first_seen: datetime | None
    last_seen: datetime
    expires_at: datetime
    country: str | None = None


def may_block(text: str) -> bool:
    """Whether a text is an address of somebody else's."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return not any((mapped or address) in network for network in _NEVER)


def expiry(last_seen: datetime, ttl: timedelta) -> datetime:
    """Until when an address is blocked: so long after it was last seen."""
    return last_seen + ttl


def rendered(blocked: Iterable[Blocked], form: Format, now: datetime) -> str:
    """The list in one form; what has expired at ``now`` is left out."""
    current = sorted((one for one in blocked if one.expires_at > now), key=lambda one: _order(one.address))
    if form == "json":
        return json.dumps([_plain(one) for one in current], indent=1, ensure_ascii=True) + "\n"
    if form == "plain":
        return "".join(f"{one.address}\n" for one in current)
    return "".join(f"{line}\n" for line in _nft(current, now))


def _order(text: str) -> tuple[int, int]:
    address = ipaddress.ip_address(text)
    return address.version, int(address)


def _plain(one: Blocked) -> dict[str, Any]:
    times = {
        name: value.astimezone(UTC).isoformat()
        for name, value in one._asdict().items()
        if isinstance(value, datetime)
    }
    return {**one._asdict(), **times}


def _nft(current: Sequence[Blocked], now: datetime) -> Iterable[str]:
    """A script for ``nft -f``: two sets whose elements leave by themselves; what refers to them is the operator's."""
    yield f"add table inet {TABLE}"
    for version, kind in ((4, "ipv4_addr"), (6, "ipv6_addr")):
        name = f"inet {TABLE} blocked{version}"
        yield f"add set {name} {{ type {kind}; flags timeout; }}"
        yield f"flush set {name}"
        for one in current:
            if ipaddress.ip_address(one.address).version == version:
                seconds = max(int((one.expires_at - now).total_seconds()), 1)
                yield f"add element {name} {{ {one.address} timeout {seconds}s }}"
