"""Cuts a command line into simple commands and their words, one pass, nothing executed or expanded."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

MAX_NESTING = 3
MAX_TOKENS = 10_000
"""Tokens looked at in one line, scripts within it included: what bounds the time."""

# ``plain`` is words and the blanks between them, all at once; other white space is part of a word.
_TOKEN = re.compile(
    r"""
    (?P<plain>[^;|&'"\\$`<>()\#\n\x1c-\x1f\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+)
  | (?P<join>\\\n)
  | (?P<squote>'[^']*'|'[^'\n]*)
  | (?P<ifs>\$\{IFS[^}$]{0,64}\}|\$IFS(?![A-Za-z0-9_]))
  | (?P<ansi>\$'(?:[^'\\]|\\.)*'|\$'[^'\n]*)
  | (?P<sub>\$\()
  | (?P<nil>\$[@*](?=\w))
  | (?P<tick>`)
  | (?P<dquote>"[^"\\$`]*")
  | (?P<dq>")
  | (?P<esc>\\.)
  | (?P<redir>[<>]\(|&>>?|<<<|<<-?|<&|>&|<>|>\||>>|<|>)
  | (?P<sep>\n|;;|;|&&|\|\||\|&|\||&)
  | (?P<open>\()
  | (?P<close>\))
  | (?P<hash>\#)
  | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_IN_QUOTES = re.compile(
    r"""(?P<text>[^"\\$`]+)|(?P<esc>\\.)|(?P<ifs>\$\{IFS[^}$]{0,64}\})|(?P<sub>\$\()|(?P<tick>`)|(?P<dq>")|(?P<other>.)""",
    re.DOTALL,
)
_BLANKS = " \t\r\v\f"
_BRACES = re.compile(r"\{[\w./-]+(?:,[^\s{}]*)+\}\Z")
_HEREDOC = re.compile(r"<<-?[ \t]*(?P<q>['\"\\]?)(?P<tag>[A-Za-z0-9_.!-]+)")
KEYWORDS = frozenset(
    [
        "if",
        "then",
        "else",
        "elif",
        "fi",
        "for",
        "while",
        "until",
        "do",
        "done",
        "case",
        "esac",
        "in",
        "function",
        "select",
        "{",
        "}",
        "!",
        "[[",
        "]]",
        "coproc",
    ]
)


@dataclass(slots=True)
class _Frame:
    """One level of ``$(…)``, backticks or ``(…)`` while its commands are collected."""

    closer: str
    quoted: int = 0
    """Where an open double quote ends at the latest; 0 outside of quotes."""
    start: int = 0
    words: list[str] = field(default_factory=list)
    pieces: list[str] = field(default_factory=list)
    word: list[str] | None = None
    redirect: str = ""
    """The redirection whose target is awaited."""
    redirects: list[tuple[str, str]] = field(default_factory=list)
    fed: bool = False
    given: str | None = None
    """A here-string; empty while it is awaited."""


@dataclass(slots=True)
class Command:
    start: int
    text: str
    words: list[str]
    more: list[str] = field(default_factory=list)
    """Here-documents: text of the command."""
    given: str | None = None
    """A here-string, which stands in the text already."""
    redirects: tuple[tuple[str, str], ...] = ()
    """Operator and target of each redirection."""
    fed: bool = False
    """Whether a pipe before it feeds its standard input."""
    inner: bool = False
    """Whether it stands in a subshell or a substitution."""


class Split(NamedTuple):
    """What was found in one text; nobody changes it, since it may be remembered."""

    commands: Sequence[Command]
    """From left to right."""
    emptied: Sequence[str]
    """Files that redirections without a command make."""
    capped: bool
    """Whether nesting or text beyond the bounds was left out."""
    tokens: int
    """Tokens that are left."""


def split_commands(text: str, tokens: int = MAX_TOKENS) -> Split:
    """The simple commands of ``text``."""
    splitter = _Splitter(text, tokens)
    return Split(splitter.run(), splitter.emptied, splitter.capped, max(splitter.tokens, 0))


class _Splitter:
    """One pass over the text with an explicit stack of open substitutions."""

    def __init__(self, text: str, tokens: int) -> None:
        self.text = text
        self.tokens = tokens
        self.commands: list[Command] = []
        self.stack: list[_Frame] = [_Frame("")]
        self.capped = False
        self.heredoc: str | None = None
        self.emptied: list[str] = []

    def run(self) -> list[Command]:
        """The commands from left to right."""
        pos, text = 0, self.text
        end = len(text)
        while pos < end:
            if self.tokens <= 0:
                self.capped = True
                break
            self.tokens -= 1
            frame = self.stack[-1]
            if frame.quoted:
                pos = self._in_quotes(frame, pos)
                continue
            match = _TOKEN.match(text, pos)
            if match is None:  # every character is one
                break
            pos, kind = match.end(), match.lastgroup
            if kind == "plain":
                self._plain(frame, match[0])
            else:
                pos = self._token(frame, kind or "other", match[0], pos)
        while self.stack:
            self._end_command(self.stack[-1], end)
            self.stack.pop()
        self.commands.sort(key=lambda c: c.start)
        return self.commands

    def _quote(self, frame: _Frame, pos: int) -> None:
        """Begins a double quote; one that is never closed ends at the line's end."""
        frame.quoted = len(self.text)
        if self.text.find('"', pos) < 0:
            newline = self.text.find("\n", pos)
            frame.quoted = frame.quoted if newline < 0 else newline
        self._put(frame, "")

    def _in_quotes(self, frame: _Frame, pos: int) -> int:
        """Takes one token within a double quote; returns where reading goes on."""
        match = _IN_QUOTES.match(self.text, pos, frame.quoted)
        if match is None:  # the line of an open quote is over
            frame.quoted = 0
            return pos
        self._quoted(frame, match.lastgroup or "other", match[0], match.end())
        return match.end()

    def _plain(self, frame: _Frame, value: str) -> None:
        """Takes words and the blanks around them; the last one stays open where no blank follows."""
        words = value.split()
        room = self.tokens // 2 + 1
        if len(words) > room:
            self.capped = True
            del words[room:]
        self.tokens -= 2 * max(len(words) - 1, 0)  # words and the blanks between them
        ends = value[-1] in _BLANKS
        if frame.closer:  # it becomes part of a word, with single blanks
            value = " " * (value[0] in _BLANKS) + " ".join(words) + " " * (ends and bool(words))
        frame.pieces.append(value)
        if frame.word is not None:
            if words and value[0] not in _BLANKS:
                frame.word.append(words.pop(0))
                if not (words or ends):
                    return
            self._end_word(frame)
        if not words:
            return
        last = None if ends else [words.pop()]
        if words and frame.redirect:
            frame.word = [words.pop(0)]
            self._end_word(frame)
        frame.words += words
        frame.word = last

    def _quoted(self, frame: _Frame, kind: str, value: str, pos: int) -> None:
        if kind == "dq":
            frame.quoted = 0
        elif kind == "esc":
            self._put(frame, value[1:] if value[1] in '"\\$`' else value.replace("\\\n", ""))
        elif kind == "ifs":
            self._put(frame, " ")
        elif kind in ("sub", "tick"):
            self._substitution(frame, value, pos)
        else:
            self._put(frame, value)

    def _token(self, frame: _Frame, kind: str, value: str, pos: int) -> int:
        """Takes one token outside quotes; returns where reading goes on."""
        if kind == "sep":
            self._end_command(frame, pos)
            frame.fed = value in ("|", "|&")
            if value == "\n":
                pos = self._skip_heredoc(pos)
        elif kind in _LITERALS:
            self._put(frame, _LITERALS[kind](value))
        elif kind == "ifs":
            self._end_word(frame)
            frame.pieces.append(" ")
        elif kind == "join":
            return pos
        elif kind == "hash":
            pos = self._hash(frame, value, pos)
        else:
            self._structure(frame, kind, value, pos)
        return pos

    def _hash(self, frame: _Frame, value: str, pos: int) -> int:
        """A comment runs to the end of the line; inside a word the sign is plain."""
        if frame.word is not None:
            self._put(frame, value)
            return pos
        newline = self.text.find("\n", pos)
        return len(self.text) if newline < 0 else newline

    def _structure(self, frame: _Frame, kind: str, value: str, pos: int) -> None:
        if kind == "dq":
            self._quote(frame, pos)
        elif kind == "redir":
            self._redirect(frame, value, pos)
        elif kind == "nil":  # nothing inside a word, as in w$@get
            self._put(frame, value if frame.word is None else "")
        else:
            self._bracket(frame, kind, value, pos)

    def _bracket(self, frame: _Frame, kind: str, value: str, pos: int) -> None:
        if kind in ("sub", "tick"):
            self._substitution(frame, value, pos)
        elif kind == "open":
            self._end_command(frame, pos)
            self._push(frame, ")", pos)
        elif frame.closer == ")":
            self._close(pos)
        else:
            self._end_command(frame, pos)

    def _put(self, frame: _Frame, value: str) -> None:
        if frame.word is None:
            frame.word = []
        frame.word.append(value)
        frame.pieces.append(value)

    def _end_word(self, frame: _Frame) -> None:
        if frame.word is None:
            return
        word, frame.word = "".join(frame.word), None
        if frame.redirect:
            frame.redirects.append((frame.redirect, word))
            frame.redirect = ""
            frame.given = word if frame.given == "" else frame.given
        else:
            frame.words.append(word)

    def _end_command(self, frame: _Frame, pos: int) -> None:
        self._end_word(frame)
        words = frame.words
        text = " ".join("".join(frame.pieces).split())
        if words and words[0] in KEYWORDS:
            leading = next((i for i, word in enumerate(words) if word not in KEYWORDS), len(words))
            words, text = words[leading:], text[sum(len(word) + 1 for word in words[:leading]) :].lstrip()
        if len(words) == 1 and text == words[0] and _BRACES.match(text):
            words = text[1:-1].split(",")
            text = " ".join(words)
        if words and text:
            told, inner = tuple(frame.redirects), bool(frame.closer)
            self.commands.append(Command(frame.start, text, words, [], frame.given, told, frame.fed, inner))
        elif frame.redirects and not words:  # ``> file`` alone makes it
            self.emptied += [target for operator, target in frame.redirects if ">" in operator]
        frame.words, frame.pieces, frame.redirect, frame.start = [], [], "", pos
        frame.given, frame.redirects, frame.fed = None, [], False

    def _redirect(self, frame: _Frame, value: str, pos: int) -> None:
        if frame.word is not None and "".join(frame.word).isdigit():
            frame.word = None
        self._end_word(frame)
        frame.pieces.append(value)
        if value in ("<(", ">("):
            self._push(frame, ")", pos, fed=value == ">(")
            return
        frame.redirect = value
        if value == "<<<":
            frame.given = ""
        if value in ("<<", "<<-"):
            match = _HEREDOC.match(self.text, pos - len(value))
            self.heredoc = match["tag"] if match else None

    def _skip_heredoc(self, pos: int) -> int:
        """Past the body of a here-document that was announced on the line just ended."""
        if self.heredoc is None:
            return pos
        tag, self.heredoc = self.heredoc, None
        body_end = after = len(self.text)
        start = pos
        while start < len(self.text):
            newline = self.text.find("\n", start)
            line_end = newline if newline >= 0 else len(self.text)
            if self.text[start:line_end].strip(" \t") == tag:
                body_end, after = start, line_end
                break
            start = line_end + 1
        if self.commands:
            self.commands[-1].more.append(self.text[pos:body_end])
        return after

    def _substitution(self, frame: _Frame, value: str, pos: int) -> None:
        if value == "`" and any(f.closer == "`" for f in self.stack):
            while self.stack[-1].closer != "`":
                self._close(0)
            self._close(0)
            return
        self._put(frame, value)
        self._push(frame, ")" if value == "$(" else "`", pos)

    def _push(self, frame: _Frame, closer: str, pos: int, *, fed: bool = False) -> None:
        if len(self.stack) > MAX_NESTING:
            self.capped = True
            return
        self.stack.append(_Frame(closer, start=max(pos, frame.start), fed=fed))

    def _close(self, pos: int) -> None:
        frame = self.stack.pop()
        closer = frame.closer
        inner = "".join(frame.pieces)
        self._end_command(frame, pos)
        parent = self.stack[-1]
        if parent.word is not None:
            self._put(parent, inner + closer)


_ANSI = re.compile(r"\\(?:x([0-9a-fA-F]{1,2})|([0-7]{1,3})|u([0-9a-fA-F]{1,4})|(.))", re.DOTALL)
_ANSI_CHARS = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "e": "\x1b", "v": "\v", "f": "\f"}


def ansi_c(text: str) -> str:
    """The text of ``$'…'`` with its escapes resolved."""

    def one(match: re.Match[str]) -> str:
        hexa, octal, code, char = match.groups()
        if hexa or code:
            return chr(int(hexa or code, 16))
        return chr(int(octal, 8) & 0xFF) if octal else _ANSI_CHARS.get(char, char)

    return _ANSI.sub(one, text) if "\\" in text else text


_LITERALS: dict[str, Callable[[str], str]] = {
    "squote": lambda value: value[1:].removesuffix("'"),
    "dquote": lambda value: value[1:-1],
    "ansi": lambda value: ansi_c(value[2:].removesuffix("'")),
    "esc": lambda value: value[1:],
    "other": lambda value: value,
}
"""Kind of token → the text that it puts into a word."""
