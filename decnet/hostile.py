"""Attacker text becomes printable text here and nowhere else.

:func:`visible` replaces everything that a terminal could obey instead of show: control bytes, C1,
ESC, bidirectional overrides, zero-width and other format characters, surrogates, separators, and what
takes no cell of its own or looks like none: combining marks, Hangul fillers and half letters.
:func:`storable` makes text fit for both databases without hiding what it was.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from functools import lru_cache
from typing import Any

ELLIPSIS = "…"
_PLAIN = re.compile(r"[ -~]*\Z")
_HIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Mn", "Me", "Mc"})
_HIDDEN_LETTERS = re.compile(
    "[\u115f-\u11ff\ud7b0-\ud7ff\u2800\u3164\uffa0\U0001f1e6-\U0001f1ff\U0001f3fb-\U0001f3ff]"
)
"""Letters and symbols by category, yet blank (Hangul fillers, empty Braille), without a cell of their own (Hangul

vowels and finals, skin tones) or of a width that terminals do not agree on (halves of flags): a name of these
looks like another one, and a line of 100,000 is no wider than one of none.
"""
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\x1b": "\\e", "\x00": "\\0"}
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_MAX_INT = 2**63 - 1
MAX_DEPTH = 32
"""Levels that a stored value may lie below the first one."""


@lru_cache(maxsize=8192)
def _shown(char: str) -> str:
    """One character as it may stand on a terminal."""
    if char in _SHORT:
        return _SHORT[char]
    category = unicodedata.category(char)
    hidden = category in _HIDDEN_CATEGORIES or (category == "Zs" and char != " ")
    if hidden or _HIDDEN_LETTERS.match(char):
        code = ord(char)
        return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
    return char


def visible(text: object, limit: int | None = None) -> str:
    """``text`` with every character that is not plainly printable written out as an escape.

    ``limit`` is the greatest length of the result in characters; a cut ends in an ellipsis.
    Accepts any object, since log fields may hold any JSON value. Never raises.
    """
    raw = text if isinstance(text, str) else "" if text is None else _written(text)
    if limit is not None and len(raw) > limit:
        raw = raw[: limit + 1]
    out = raw if _PLAIN.match(raw) else "".join(map(_shown, raw))
    if limit is not None and len(out) > limit:
        out = out[: max(limit - 1, 0)] + ELLIPSIS if limit else ""
    return out


def _written(value: object, write: Callable[[object], str] = str) -> str:
    """``value`` as text; what no one can write out (too deep, too many digits) by its kind."""
    try:
        return write(value)
    except (RecursionError, ValueError):
        return f"({type(value).__name__} that cannot be written out)"


def storable(value: Any, *, depth: int = 0) -> Any:
    """A JSON-like value that SQLite and PostgreSQL both take, changed the same way for both.

    NUL and lone surrogates become U+FFFD, integers beyond 63 bits become text, NaN and infinities
    become None, nesting beyond :data:`MAX_DEPTH` levels becomes text.
    """
    if isinstance(value, str):
        return storable_text(value)
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int):
        return value if -_MAX_INT - 1 <= value <= _MAX_INT else _written(value)
    if isinstance(value, float):
        return value if abs(value) < float("inf") else None
    if depth > MAX_DEPTH:
        return storable_text(_written(value, repr)[:1000])
    if isinstance(value, dict):
        return {storable_text(str(k)): storable(v, depth=depth + 1) for k, v in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [storable(v, depth=depth + 1) for v in value]
    return storable_text(_written(value))


def storable_text(text: str) -> str:
    """Text without NUL bytes and lone surrogates (both become U+FFFD)."""
    if text.isascii() and "\0" not in text:
        return text
    return _UNSTORABLE.sub("\ufffd", text)
