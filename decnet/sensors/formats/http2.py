"""The settings of an HTTP/2 client as Suricata logs them, written as fingerprints of HTTP/2 begin; pure.

``2:0;4:4194304;6:10485760``: number and value of each, in the order in which the client sent them. What a whole
fingerprint has behind it (the window, priorities, the order of the pseudo headers) is not in that log, and nothing is
made up. Source: Suricata, EVE ``http.http2.request.settings``; the numbers are those of RFC 9113, section 6.5.2.
"""

from __future__ import annotations

import json

MAX_SETTINGS = 32
_NUMBERS = {
    "SETTINGSHEADERTABLESIZE": 1, "SETTINGSENABLEPUSH": 2, "SETTINGSMAXCONCURRENTSTREAMS": 3,
    "SETTINGSINITIALWINDOWSIZE": 4, "SETTINGSMAXFRAMESIZE": 5, "SETTINGSMAXHEADERLISTSIZE": 6,
}  # fmt: skip


def http2_settings(text: str) -> str | None:
    """The settings in the JSON of Suricata's list; None where one of them is not known, or there are none."""
    try:
        listed = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(listed, list) or not 0 < len(listed) <= MAX_SETTINGS:
        return None
    found = [_one(item) for item in listed]
    return None if None in found else ";".join(str(one) for one in found)


def _one(item: object) -> str | None:
    if not isinstance(item, dict):
        return None
    number, value = _NUMBERS.get(str(item.get("settings_id"))), item.get("settings_value")
    good = (
        number is not None and isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**32
    )
    return f"{number}:{value}" if good else None
