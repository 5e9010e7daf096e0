"""Regular expressions that take linear time: RE2 for everything that is matched against text of attackers.

Rules, lifters and tables of formats compile here, so that a pattern is refused everywhere for the same reason.
"""

from __future__ import annotations

import re
from typing import Any

import re2

_ANYWHERE = re2._re2.RE2.Anchor.UNANCHORED
MAX_RE2_MEM = 64 << 20
_LOOKAROUND = re.compile(r"\(\?<?[=!]")
_BACKREF = re.compile(r"(?<!\\)(?:\\\\)*\\[1-9]|\(\?P=")


class PatternError(ValueError):
    """A pattern that RE2 does not take, with the reason."""


def options() -> Any:
    """RE2 options: quiet, room for real rules."""
    opts = re2.Options()
    opts.log_errors = False
    opts.max_mem = MAX_RE2_MEM
    return opts


class Finder:
    """Where a pattern matches first; one that compiled before is compiled when it is first asked: most never are."""

    __slots__ = ("_anywhere", "_compiled", "_pattern")

    def __init__(self, pattern: str, *, known: bool = False) -> None:
        """Raises PatternError, unless the pattern is ``known`` to be one."""
        self._pattern = pattern
        self._compiled: Any = None
        self._anywhere: Any = None
        if not known:
            self._compile()

    def _compile(self) -> None:
        self._compiled = compile_pattern(self._pattern)
        self._anywhere = self._compiled._regexp.Match

    def span(self, text: str) -> tuple[int, int] | None:
        """Start and end of the leftmost match in characters, None for none."""
        if self._anywhere is None:
            self._compile()
        if not text.isascii():
            match = self._compiled.search(text)
            return None if match is None else match.span()
        # In ASCII bytes are characters: the library's own search, which works out the way back for each match, costs
        # four times as much as the match itself (tests/bench/test_matcher.py).
        data = text.encode()
        span: tuple[int, int] = self._anywhere(_ANYWHERE, data, 0, len(data))[0]
        return None if span[0] < 0 else span


def compile_pattern(pattern: str, *, groups: bool = False) -> Any:
    """The compiled pattern; without ``groups`` it can only be searched for its span. Raises PatternError."""
    if _LOOKAROUND.search(pattern):
        raise PatternError("lookaround is not supported by RE2: matching must be linear in time")
    if _BACKREF.search(pattern):
        raise PatternError("back-references are not supported by RE2: matching must be linear in time")
    wanted = options()
    wanted.never_capture = not groups
    try:
        return re2.compile(pattern, options=wanted)
    except (re2.error, UnicodeEncodeError) as error:
        text = error.args[0] if error.args else error
        reason = text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)
        raise PatternError(f"bad pattern: {reason}") from error
