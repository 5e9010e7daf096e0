"""The SYN packet that p0f describes, as ``window_options_mss_scale``; pure.

p0f writes what it saw as ``version:ttl:option length:mss:window,scale:options:quirks:payload``. Where it gives the
window as a multiple of something (``mss*44``) the window itself is not known, and nothing is made up.
Source: p0f 3, docs/README, section 5, and the option numbers of RFC 9293 and RFC 7323.
"""

from __future__ import annotations

import re

_NUMBERS = {"nop": "1", "mss": "2", "ws": "3", "sok": "4", "sack": "5", "ts": "8"}
"""p0f's names of TCP options → their numbers."""
_UNKNOWN = re.compile(r"\?(\d{1,3})\Z", re.ASCII)
_END = re.compile(r"eol\+(\d{1,2})\Z", re.ASCII)
_PARTS = 8
_MAX_OPTIONS = 40
"""The header of a TCP packet has room for no more."""
_NONE = "00"


def syn_fingerprint(signature: str) -> str | None:
    """``1024_2_1460_00`` of ``4:44+20:0:1460:1024,0:mss::0``; None where the signature does not say all of it."""
    parts = signature.split(":")
    if len(parts) != _PARTS:
        return None
    mss, (window, comma, scale), options = parts[3], parts[4].partition(","), _options(parts[5])
    if options is None or not comma or not _is_number(window, 65_535):
        return None
    has_mss, has_scale = "2" in options, "3" in options
    if (has_mss and not _is_number(mss, 65_535)) or (has_scale and not _is_number(scale, 255)):
        return None
    return "_".join(
        (window, "-".join(options) or _NONE, mss if has_mss else _NONE, scale if has_scale else _NONE)
    )


def _is_number(text: str, most: int) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 5 and int(text) <= most


def _options(layout: str) -> list[str] | None:
    """The numbers of the options in their order, every byte behind the end as an end of its own; None for no layout."""
    out: list[str] = []
    for name in layout.split(",") if layout else ():
        if (end := _END.match(name)) is not None:
            out += ["0"] * (int(end[1]) + 1)
        elif (unknown := _UNKNOWN.match(name)) is not None:
            out.append(str(int(unknown[1])))
        elif name in _NUMBERS:
            out.append(_NUMBERS[name])
        else:
            return None
    return out if len(out) <= _MAX_OPTIONS else None
