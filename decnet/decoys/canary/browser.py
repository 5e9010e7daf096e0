"""What a browser is, from the report of a page's script and from its user agent. Pure.

The report comes from a stranger: it is a small JSON object, every value is checked, and what is none is left out.
The names of automation are those of the rules' catalogue.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any, Final

from decnet.automation import AUTOMATION
from decnet.hostile import storable_text
from decnet.ids import normalize_ip

MAX_VALUE: Final = 200
MAX_ADDRESSES: Final = 8
"""Addresses of its own that a browser may tell of."""
_ONE_LINK: Final = 64
"""Bits of an IPv6 address that all addresses of one host on a link have in common."""
_TEXTS: Final = ("tz", "lang", "platform", "ua")
_IN_AGENT: Final = (("headlesschrome", "headless_chrome"), ("phantomjs", "phantomjs"))
_PRODUCT = re.compile(r"[A-Za-z][A-Za-z0-9._+-]{0,39}", re.ASCII)
_SYSTEMS: Final = (
    # In the user agent, and what navigator.platform begins with there.
    ("windows", ("win",)),
    ("android", ("linux", "android")),
    ("iphone", ("iphone",)),
    ("ipad", ("ipad", "macintel")),
    ("mac os x", ("mac",)),
    ("linux", ("linux",)),
)


def read_report(body: bytes) -> dict[str, object] | None:
    """The checked report: webdriver (bool), automation (a known name), tz, lang, platform, ua, rtc (public addresses).

    None for no JSON object.
    """
    try:
        raw = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(raw, dict):
        return None
    found: dict[str, object] = {}
    if isinstance(raw.get("webdriver"), bool):
        found["webdriver"] = raw["webdriver"]
    if raw.get("automation") in AUTOMATION:
        found["automation"] = raw["automation"]
    for name in _TEXTS:
        value = raw.get(name)
        if isinstance(value, str) and value:
            found[name] = storable_text(value[:MAX_VALUE])
    if addresses := _public(raw.get("rtc")):
        found["rtc"] = addresses
    return found


def _public(raw: object) -> list[str]:
    """The public addresses in a list of a stranger's, each once; private ones say nothing about where somebody is."""
    found: list[str] = []
    for text in raw[:MAX_ADDRESSES] if isinstance(raw, list) else ():
        address = _address(text)
        if address is not None and address.is_global and str(address) not in found:
            found.append(str(address))
    return found


def _address(text: object) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(normalize_ip(text)) if isinstance(text, str) and len(text) <= MAX_VALUE else None
    except ValueError:
        return None


def is_elsewhere(peer: str, told: object) -> bool | None:
    """Whether none of the public addresses that a browser has is the one that it came from: somebody stands between.

    Of IPv6 hosts on one link are one. None where no address of the peer's kind was told.
    """
    came = _address(peer)
    own = [_address(text) for text in told] if isinstance(told, list) else []
    same = [
        address
        for address in own
        if address is not None and came is not None and address.version == came.version
    ]
    return None if not same else all(_link(address) != _link(came) for address in same)


def _link(address: IPv4Address | IPv6Address | None) -> object:
    if isinstance(address, IPv6Address):
        return ip_network((address, _ONE_LINK), strict=False)
    return address


def automation_of(user_agent: str) -> str | None:
    """The automation that a user agent names itself."""
    lower = user_agent.lower()
    return next((name for sign, name in _IN_AGENT if sign in lower), None)


def signature_of(user_agent: str) -> str | None:
    """The program that a user agent begins with, in lower case: ``curl``, ``mozilla``; None without one."""
    found = _PRODUCT.match(user_agent)
    return found[0].split("/")[0].lower() if found else None


def facts(
    user_agent: str, report: Mapping[str, object] | None, zones: Iterable[object] = (), peer: str = ""
) -> dict[str, Any]:
    """Fields of ``canary.<token>.triggered``; ``zones`` are the time zones that this peer's browsers told of before."""
    told = report or {}
    found: dict[str, Any] = {
        "navigator_webdriver": told.get("webdriver"),
        "automation_hash": told.get("automation") or automation_of(user_agent),
        "webrtc_geo_mismatch": is_elsewhere(peer, told.get("rtc")),
        "platform_mismatch": _mismatch(str(told.get("ua") or user_agent), told.get("platform")),
        "ua_signature": signature_of(user_agent),
    }
    seen = {zone for zone in (*zones, told.get("tz")) if isinstance(zone, str)}
    if report is not None and len(seen) > 1:
        found["tz_mismatch_zones"] = len(seen)
    return {name: value for name, value in found.items() if value is not None}


def _mismatch(user_agent: str, platform: object) -> bool | None:
    """Whether the system of the user agent is another one than the script saw; None where one of them is not known."""
    if not isinstance(platform, str) or not platform:
        return None
    lower, seen = user_agent.lower(), platform.lower()
    wanted = next((starts for sign, starts in _SYSTEMS if sign in lower), None)
    return None if wanted is None else not seen.startswith(wanted)
