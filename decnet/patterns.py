"""Regular expressions that take linear time: RE2 for everything that is matched against text of attackers.

Rules, lifters and tables of formats compile here, so that a pattern is refused everywhere for the same reason.
"""

from __future__ import annotations

import re
from typing import Any

import re2

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
