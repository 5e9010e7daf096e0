"""One spelling for each network address, whatever a log or a producer wrote around it; pure.

Whose address it is, and the id that follows from it, is left to :mod:`decnet.ids`.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, ip_address

_BRACKETS = re.compile(r"\[([^\[\]]*)\](?::(\d{1,5}))?\Z")
_WITH_PORT = re.compile(r"([0-9.]+):(\d{1,5})\Z")
_OCTETS = re.compile(r"\d{1,3}(?:\.\d{1,3}){3}\Z", re.ASCII)
_LAST_PORT = 65_535


def fold(text: str) -> str | None:
    """The canonical text of an address; None for text that is none, or that can be read in two ways.

    A zone id (``fe80::1%eth0``) goes, since it names an interface of the host that wrote it. ``::ffff:1.2.3.4`` is
    the IPv4 address in it, brackets and a port (``[::1]:22``, ``1.2.3.4:22``) are not part of an address, and
    leading zeros go where octal and decimal do not disagree.
    """
    bare = _bare(text.strip())
    if bare is None:
        return None
    try:
        found = ip_address(bare)
    except ValueError:
        return _with_zeros(bare)
    return _plain(found)


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
