"""What a browser is, from the report of a page's script and from its user agent. Pure.

The report comes from a stranger: it is a small JSON object, every value is checked, and what is none is left out.
The names of automation are those of the rules' catalogue.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from decnet.automation import AUTOMATION
from decnet.hostile import storable_text

MAX_VALUE: Final = 200
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
    """The checked report: webdriver (bool), automation (a known name), tz, lang, platform, ua; None for no JSON object."""
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
    return found


def automation_of(user_agent: str) -> str | None:
    """The automation that a user agent names itself."""
    lower = user_agent.lower()
    return next((name for sign, name in _IN_AGENT if sign in lower), None)


def signature_of(user_agent: str) -> str | None:
    """The program that a user agent begins with, in lower case: ``curl``, ``mozilla``; None without one."""
    found = _PRODUCT.match(user_agent)
    return found[0].split("/")[0].lower() if found else None


def facts(
    user_agent: str, report: Mapping[str, object] | None, zones: Iterable[object] = ()
) -> dict[str, Any]:
    """Fields of ``canary.<token>.triggered``; ``zones`` are the time zones that this peer's browsers told of before."""
    told = report or {}
    found: dict[str, Any] = {
        "navigator_webdriver": told.get("webdriver"),
        "automation_hash": told.get("automation") or automation_of(user_agent),
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
