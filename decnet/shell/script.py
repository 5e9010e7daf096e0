"""Which lines of a session the shell took as one command: open quotes, a backslash at the end, here-documents; pure.

A honeypot logs what was typed line by line. Lines that belong together are found in one pass; a quote or a
here-document that is never closed joins nothing, since an apostrophe in a text would otherwise take the rest
of the session with it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

MAX_LINES = 64
"""Lines of one command at most; what is not closed by then is taken line by line."""
MAX_CHARS = 65_536
_TOKEN = re.compile(
    r"""(?P<escaped>\\.)|(?P<quote>['"])|(?P<comment>(?:(?<=\s)|(?<=;)|^)\#.*\Z)"""
    r"""|(?P<here><<(?!<)(?P<dash>-?)\s*(?P<word>'[^'\n]*'|"[^"\n]*"|\\?[\w.!%@+-]+))|(?P<string><<<)""",
    re.DOTALL,
)
_IN_SINGLE = re.compile(r"'")
_IN_DOUBLE = re.compile(r'\\.|"', re.DOTALL)


class Joined(NamedTuple):
    """Lines ``first`` to ``last`` (both included) as the one text that the shell saw."""

    first: int
    last: int
    text: str


class _State(NamedTuple):
    """What is open at the end of a line: a quote, an escaped newline, delimiters of here-documents."""

    quote: str = ""
    escaped: bool = False
    here: tuple[tuple[str, bool], ...] = ()

    @property
    def closed(self) -> bool:
        return not (self.quote or self.escaped or self.here)


def joined(lines: Sequence[str]) -> list[Joined]:
    """The commands of several lines among ``lines``, in order; a command of one line is none of them."""
    out = []
    at = 0
    while at < len(lines):
        found = _from(lines, at)
        if found is not None:
            out.append(found)
        at = found.last + 1 if found else at + 1
    return out


def _from(lines: Sequence[str], first: int) -> Joined | None:
    text, state = lines[first], _after(lines[first], _State())
    at = first
    while not state.closed:
        at += 1
        if at >= min(len(lines), first + MAX_LINES) or len(text) > MAX_CHARS:
            return None
        text = text[:-1] + lines[at] if state.escaped else f"{text}\n{lines[at]}"
        state = _after(lines[at], state)
    return Joined(first, at, text) if at > first else None


def _after(line: str, before: _State) -> _State:
    """What is open after a line."""
    if before.here and not before.quote:
        word, tabs = before.here[0]
        ended = (line.lstrip("\t") if tabs else line) == word
        return before._replace(escaped=False, here=before.here[1:] if ended else before.here)
    quote, here, pos = before.quote, list(before.here), 0
    escaped = False
    while pos < len(line):
        if quote:
            end = next(_ends(line, pos, quote), -1)
            if end < 0:
                escaped = quote == '"' and _ends_escaped(line)
                return _State(quote, escaped, tuple(here))
            quote, pos = "", end
            continue
        token = _TOKEN.search(line, pos)
        if token is None:
            break
        pos = token.end()
        if token["quote"]:
            quote = token["quote"]
        elif token["word"] is not None:
            here.append((re.sub(r"['\"\\]", "", token["word"]), bool(token["dash"])))
        elif token["comment"]:
            return _State("", False, tuple(here))
    return _State(quote, not quote and _ends_escaped(line), tuple(here))


def _ends(line: str, pos: int, quote: str) -> Iterator[int]:
    """Places after the quotation mark that closes ``quote``."""
    for token in (_IN_SINGLE if quote == "'" else _IN_DOUBLE).finditer(line, pos):
        if token[0] == quote:
            yield token.end()


def _ends_escaped(line: str) -> bool:
    """Whether the newline after a line is escaped: an odd number of backslashes at its end."""
    return (len(line) - len(line.rstrip("\\"))) % 2 == 1
