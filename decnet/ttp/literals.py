"""How long a text stands in everything that a pattern matches: what a pre-filter can look for before it searches in full."""

from __future__ import annotations

import re
from functools import lru_cache

ATOM = 3
"""Characters of a text that a pre-filter looks for at least; patterns without such a text are searched on every line."""
_GAP, _ANY_CHARACTER = "\0", "x"
_PIECE = re.compile(
    r"(?P<gap>(?:\\[xpP]\{[^}]*\}|\\\w|\[\^?\]?(?:\\.|\[:\^?\w+:\]|[^\]\\])*\]|\.)(?:[*+?]|\{[\d,]+\})*|[^()\[\]|\\](?:[*?]|\{0))"
    r"|\\(?P<plain>\W)",
    re.DOTALL,
)
"""What is no single character, and characters that a backslash makes plain."""
_BRACKET = re.compile(r"\((?:\?[^:)>]*[:>]?)?([^()]*)\)([*?]|\{0)?")
_RUN = re.compile(r"[^\0^$*+?{}]+")


@lru_cache(maxsize=8192)
def surely_holds(pattern: str) -> int:
    """Characters of the longest text that every match of ``pattern`` holds, as far as its writing tells.

    It serves to choose among patterns that must all match: a wrong number costs time and changes no answer.
    """
    text = _PIECE.sub(_plainer, pattern)
    while (inner := _BRACKET.sub(_inner, text)) != text:
        text = inner
    return _longest(_shortest(text))


def _plainer(found: re.Match[str]) -> str:
    return _GAP if found["plain"] is None else _ANY_CHARACTER


def _inner(found: re.Match[str]) -> str:
    """What stands for a bracket: the alternative that says least, unless it may be absent."""
    return _GAP if found[2] else _shortest(found[1])


def _shortest(text: str) -> str:
    return min(text.split("|"), key=_longest) if "|" in text else text


def _longest(text: str) -> int:
    return max(map(len, _RUN.findall(text)), default=0)
