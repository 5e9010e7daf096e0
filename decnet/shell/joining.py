"""Which lines of a session the shell took as one command; pure.

Open quotes, a backslash or an operator at the end, here-documents, loops, conditions, groups and substitutions
over lines. A honeypot logs what was typed line by line. Lines that belong together are found in one pass; what is
never closed joins nothing, since an apostrophe in a text would otherwise take the rest of the session with it.
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
    r"""|(?P<here><<(?!<)(?P<dash>-?)\s*(?P<word>'[^'\n]*'|"[^"\n]*"|\\?[\w.!%@+-]+))|(?P<string><<<)"""
    r"""|(?P<variable>\$\{[^}\s]*\}|\$[\#?$!@*])|(?P<mark>[`()])|(?P<operator>[;&|]+)"""
    r"""|(?P<text>[^\s;&|()<>'"\\`$]+)""",
    re.DOTALL,
)
_OPENS = re.compile(
    r"""['"\\(`{]|<<|(?<!\w)(?:if|for|while|until|select|case)(?!\w)|(?:\||&&|\|&)\s*(?:\#.*)?\Z"""
)
"""Without any of this a text leaves nothing open."""
_IN_SINGLE = re.compile(r"'")
_IN_DOUBLE = re.compile(r'\\.|"', re.DOTALL)
_ENDS = {
    "if": "fi", "for": "done", "while": "done", "until": "done", "select": "done", "case": "esac", "{": "}", "(": ")",
}  # fmt: skip
"""What opens a command over lines where a command may stand → what closes it."""
_NAMES_NEXT = frozenset({"for", "select", "case"})
"""Openers that are followed by a name and not by a command."""
_COMMAND_NEXT = frozenset({"then", "do", "else", "elif", "!", "time", "in"})
_GOES_ON = frozenset({"|", "||", "&&", "|&"})
"""Operators after which the shell waits for the next line."""


class Joined(NamedTuple):
    """Lines ``first`` to ``last`` (both included) as the one text that the shell saw."""

    first: int
    last: int
    text: str


class _State(NamedTuple):
    """What is open at the end of a line: a quote, an escaped newline, delimiters of here-documents, loops and groups."""

    quote: str = ""
    escaped: bool = False
    here: tuple[tuple[str, bool], ...] = ()
    nested: tuple[str, ...] = ()
    """What closes the loops, conditions, groups and substitutions that are open, the innermost last."""
    goes_on: bool = False
    """Whether the line ends in an operator that asks for another command."""

    @property
    def closed(self) -> bool:
        return not (self.quote or self.escaped or self.here or self.nested or self.goes_on)


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
    if _OPENS.search(lines[first]) is None:
        return None
    text, state = lines[first], _after_all(lines[first], _State())
    at = first
    while not state.closed:
        at += 1
        if at >= min(len(lines), first + MAX_LINES) or len(text) > MAX_CHARS:
            return None
        text = text[:-1] + lines[at] if state.escaped else f"{text}\n{lines[at]}"
        state = _after_all(lines[at], state)
    return Joined(first, at, text) if at > first else None


def _after_all(text: str, state: _State) -> _State:
    """What is open after a logged text, which may hold several lines itself."""
    for line in text.split("\n"):
        state = _after(line, state)
    return state


def _after(line: str, before: _State) -> _State:
    """What is open after a line."""
    if before.here and not before.quote:
        word, tabs = before.here[0]
        ended = (line.lstrip("\t") if tabs else line) == word
        return before._replace(escaped=False, here=before.here[1:] if ended else before.here)
    return _Scan(line, before).state()


class _Scan:
    """One look through a line, from left to right."""

    def __init__(self, line: str, before: _State) -> None:
        self._line = line
        self._quote, self._here, self._nested = before.quote, list(before.here), list(before.nested)
        self._command = not before.escaped
        """Whether a command may stand here."""
        self._goes_on = before.goes_on and not line.strip()

    def state(self) -> _State:
        """What is open at the end of the line."""
        pos = 0
        while pos < len(self._line):
            if self._quote:
                end = next(_ends(self._line, pos, self._quote), -1)
                if end < 0:
                    return self._end(self._quote == '"' and _ends_escaped(self._line))
                self._quote, pos = "", end
                continue
            token = _TOKEN.search(self._line, pos)
            if token is None:
                break
            pos = token.end()
            if token["comment"]:
                return self._end(escaped=False)
            self._take(token)
        return self._end(not self._quote and _ends_escaped(self._line))

    def _end(self, escaped: bool) -> _State:
        return _State(self._quote, escaped, tuple(self._here), tuple(self._nested), self._goes_on)

    def _take(self, token: re.Match[str]) -> None:
        self._goes_on = False
        if token["operator"]:
            self._command, self._goes_on = True, token["operator"] in _GOES_ON
        elif token["mark"]:
            self._mark(token["mark"])
        elif token["text"] and self._command:
            self._word(token["text"])
        else:
            self._command = False
            self._quote = token["quote"] or ""
            if token["word"] is not None:
                self._here.append((re.sub(r"['\"\\]", "", token["word"]), bool(token["dash"])))

    def _mark(self, mark: str) -> None:
        """A bracket or a backquote; the bracket behind a pattern of ``case`` closes nothing."""
        top = self._nested[-1] if self._nested else ""
        if mark == "(" or (mark == "`" and top != "`"):
            self._nested.append(_ENDS.get(mark, mark))
            self._command = True
        elif mark == top:
            self._nested.pop()
            self._command = mark == ")"  # the body of a function may follow
        else:
            self._command = top == "esac"

    def _word(self, word: str) -> None:
        """A word where a command may stand."""
        if word in _ENDS:
            self._nested.append(_ENDS[word])
            self._command = word not in _NAMES_NEXT
        elif self._nested and word == self._nested[-1]:
            self._nested.pop()
            self._command = False
        else:
            self._command = word in _COMMAND_NEXT


def _ends(line: str, pos: int, quote: str) -> Iterator[int]:
    """Places after the quotation mark that closes ``quote``."""
    for token in (_IN_SINGLE if quote == "'" else _IN_DOUBLE).finditer(line, pos):
        if token[0] == quote:
            yield token.end()


def _ends_escaped(line: str) -> bool:
    """Whether the newline after a line is escaped: an odd number of backslashes at its end."""
    return (len(line) - len(line.rstrip("\\"))) % 2 == 1
