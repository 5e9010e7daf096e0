"""One spelling for each network address, whatever a log or a producer wrote around it, and which are nobody's; pure.

Whose address it is, and the id that follows from it, is left to :mod:`decnet.ids`; where it is, to
:mod:`decnet.intel`.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from socket import AF_INET, AF_INET6, inet_pton
from typing import Final

_BRACKETS = re.compile(r"\[([^\[\]]*)\](?::(\d{1,5}))?\Z")
_WITH_PORT = re.compile(r"([0-9.]+):(\d{1,5})\Z")
_OCTETS = re.compile(r"\d{1,3}(?:\.\d{1,3}){3}\Z", re.ASCII)
_LAST_PORT = 65_535
_SPECIAL: Final = (
    ("0.0.0.0/8", "this network"),
    ("10.0.0.0/8", "private"),
    ("100.64.0.0/10", "shared by a carrier (CGNAT)"),
    ("127.0.0.0/8", "loopback"),
    ("169.254.0.0/16", "link-local"),
    ("172.16.0.0/12", "private"),
    ("192.0.0.0/24", "reserved for protocols"),
    ("192.0.2.0/24", "documentation"),
    ("192.88.99.0/24", "6to4"),
    ("192.168.0.0/16", "private"),
    ("198.18.0.0/15", "benchmarking"),
    ("198.51.100.0/24", "documentation"),
    ("203.0.113.0/24", "documentation"),
    ("233.252.0.0/24", "documentation"),
    ("224.0.0.0/4", "multicast"),
    ("255.255.255.255/32", "broadcast"),
    ("240.0.0.0/4", "reserved"),
    ("::/128", "unspecified"),
    ("::1/128", "loopback"),
    ("64:ff9b::/96", "NAT64"),
    ("64:ff9b:1::/48", "NAT64"),
    ("100::/64", "discard-only"),
    ("2001::/32", "Teredo"),
    ("2001:2::/48", "benchmarking"),
    ("2001:db8::/32", "documentation"),
    ("2001::/23", "reserved for protocols"),
    ("2002::/16", "6to4"),
    ("3fff::/20", "documentation"),
    ("fc00::/7", "private"),
    ("fe80::/10", "link-local"),
    ("fec0::/10", "private"),
    ("ff00::/8", "multicast"),
)
"""Networks that are nobody's in the public internet, by the IANA registries of special-purpose addresses (RFC 6890 and

what follows it); a narrower one stands before the one around it. Translated and tunnelled addresses are among them:
where they are is told by the address inside, which may be a private one.
"""
_PUBLIC_V6: Final = 0b001
"""The first three bits of all that is given out of IPv6 (2000::/3)."""


def fold(text: str) -> str | None:
    """The canonical text of an address; None for text that is none, or that can be read in two ways.

    A zone id (``fe80::1%eth0``) goes, since it names an interface of the host that wrote it. ``::ffff:1.2.3.4`` is
    the IPv4 address in it, brackets and a port (``[::1]:22``, ``1.2.3.4:22``) are not part of an address, and
    leading zeros go where octal and decimal do not disagree.
    """
    if _is_plain_v4(text):
        return text
    bare = _bare(text.strip())
    if bare is None:
        return None
    try:
        found = ip_address(bare)
    except ValueError:
        return _with_zeros(bare)
    return _plain(found)


def special(address: str) -> str | None:
    """Why an address is nobody's in the public internet; None for one that may be looked up.

    ``address`` is canonical, as :func:`fold` gives it. Raises ValueError for text that is no address.
    """
    number, version = _parsed(address)
    for first, last, why in _SPANS[version].get(number >> _ABOVE[version], ()):
        if first <= number <= last:
            return why
    return "reserved" if version == 6 and number >> 125 != _PUBLIC_V6 else None


def _parsed(address: str) -> tuple[int, int]:
    """Number and version of a canonical address. Raises ValueError."""
    version = 6 if ":" in address else 4
    try:
        return int.from_bytes(inet_pton(AF_INET6 if version == 6 else AF_INET, address), "big"), version
    except OSError:
        raise ValueError(f"{address!r:.60} is no IPv4 or IPv6 address") from None


_ABOVE: Final = {4: 24, 6: 120}
"""Bits below the first eight."""
Spans = dict[int, tuple[tuple[int, int, str], ...]]


def _spans(version: int) -> Spans:
    """First and last number and the reason of each special network, by the first eight bits of what is in it."""
    found: Spans = {}
    nets = [(ip_network(text), why) for text, why in _SPECIAL]
    for net, why in nets:
        first, last = int(net.network_address), int(net.broadcast_address)
        tops = range(first >> _ABOVE[version], (last >> _ABOVE[version]) + 1)
        for top in tops if net.version == version else ():
            found[top] = (*found.get(top, ()), (first, last, why))
    return found


_SPANS: Final = {version: _spans(version) for version in (4, 6)}


def _is_plain_v4(text: str) -> bool:
    """Whether text is an IPv4 address in its one spelling; most are, and this is the quick way to know."""
    try:
        return len(inet_pton(AF_INET, text)) > 0
    except (OSError, ValueError):
        return False


def _bare(text: str) -> str | None:
    """Without brackets and port; None for a port that is none."""
    found = _BRACKETS.match(text)
    if found is None:
        found = _WITH_PORT.match(text)
    elif ":" not in found[1]:  # only an IPv6 address stands in brackets
        return None
    if found is None:
        return text
    return None if int(found[2] or 0) > _LAST_PORT else found[1]


def _plain(found: IPv4Address | IPv6Address) -> str:
    if isinstance(found, IPv4Address):
        return str(found)
    return str(found.ipv4_mapped or IPv6Address(int(found)))


def _with_zeros(text: str) -> str | None:
    """An IPv4 address with leading zeros: all of three digits, or each the same in octal as in decimal."""
    if not _OCTETS.match(text):
        return None
    parts = text.split(".")
    padded = all(len(part) == 3 for part in parts)
    if not padded and not all(_one_value(part) for part in parts):
        return None
    numbers = [int(part) for part in parts]
    return ".".join(map(str, numbers)) if max(numbers) < 256 else None


def _one_value(part: str) -> bool:
    """Whether a number is the same for who takes a leading zero for octal and for who does not."""
    return part == "0" or not part.startswith("0") or len(part.lstrip("0")) <= 1
