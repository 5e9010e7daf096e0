"""Glyph sets: what states, bars and rules look like on a terminal that has Unicode and on one that has not.

The word always stands beside the glyph. On an ASCII terminal not one byte above 0x7e may go out: in
many of them such bytes are control characters. :func:`plain` sees to that at the last moment.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from rich.cells import cell_len

from decnet.hostile import ELLIPSIS


class Glyphs(NamedTuple):
    """One set; every glyph but ``spark`` is one cell wide, ``arrow`` at most two."""

    name: str
    on: str
    off: str
    partly: str
    stale: str
    unknown: str
    busy: str
    failed: str
    cursor: str
    mark: str
    unread: str
    arrow: str
    rule: str
    spark: str
    up: str
    down: str


ASCII = Glyphs("ascii", "+", "-", "~", "!", "?", "*", "x", ">", "#", "*", "->", "-", " .,-=+*#", "^", "v")
UNICODE = Glyphs("unicode", "●", "○", "◐", "▲", "?", "◆", "✗", "▸", "■", "•", "→", "─", " ▁▂▃▄▅▆▇█", "↑", "↓")
_UTF8 = re.compile(r"utf-?8", re.I)
_NOT_ASCII = re.compile(r"[^ -~]")
_in_use = [ASCII]


def detect(environ: Mapping[str, str]) -> Glyphs:
    """The set for a terminal: Unicode under a UTF-8 locale, ASCII otherwise and on the Linux console.

    An interpreter started without a locale sets LC_CTYPE to C.UTF-8 itself; that tells nothing.
    """
    forced = environ.get("LC_CTYPE", "")
    ctype = "" if forced == "C.UTF-8" else forced
    locale = environ.get("LC_ALL") or ctype or environ.get("LANG", "")
    return UNICODE if _UTF8.search(locale) and environ.get("TERM") != "linux" else ASCII


def use(setting: str, environ: Mapping[str, str]) -> Glyphs:
    """Takes a set into use: ``auto`` (by ``environ``), ``unicode`` or ``ascii``."""
    _in_use[0] = {"unicode": UNICODE, "ascii": ASCII}.get(setting) or detect(environ)
    return _in_use[0]


def current() -> Glyphs:
    """The set in use."""
    return _in_use[0]


def plain(text: str) -> str:
    """``text`` for the set in use; under ASCII every other character gets stand-ins of the same width."""
    if text.isascii() or current() is not ASCII:
        return text
    return _NOT_ASCII.sub(lambda m: "~" if m[0] == ELLIPSIS else "?" * cell_len(m[0]), text)
