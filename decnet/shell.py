"""Command lines as a shell would see them: simple commands, words, what wrappers run, decoded text.

Nothing is executed or expanded. The work is linear in the length of the line, and every bound that
bites is reported, so that the caller can still judge the raw line whole.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Literal

from decnet.shell_decode import decoded_texts

MAX_NESTING = 3
MAX_VIEWS = 256
MAX_DECODED = 65_536
MAX_TOKENS = 10_000
"""Tokens looked at in one line, scripts within it included: what bounds the time."""
MAX_VIEW_TEXT = 196_608
"""Characters in all views beside the line itself."""

ViewKind = Literal["line", "command", "decoded"]

_TOKEN = re.compile(
    r"""
    (?P<ws>[ \t\r\v\f]+)
  | (?P<join>\\\n)
  | (?P<word>[^\s;|&'"\\$`<>()\#]+)
  | (?P<squote>'[^']*'|'[^'\n]*)
  | (?P<ifs>\$\{IFS[^}$]{0,64}\}|\$IFS(?![A-Za-z0-9_]))
  | (?P<ansi>\$'(?:[^'\\]|\\.)*'|\$'[^'\n]*)
  | (?P<sub>\$\()
  | (?P<nil>\$[@*](?=\w))
  | (?P<tick>`)
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
_SIMPLE = re.compile(r"[^\n;|&'\"\\$`<>()#=]*\Z")
_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\+?=")
_HEREDOC = re.compile(r"<<-?[ \t]*(?P<q>['\"\\]?)(?P<tag>[A-Za-z0-9_.!-]+)")
_KEYWORDS = frozenset(
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
_EXECS = frozenset({"-exec", "-execdir", "-ok", "-okdir"})
_NUMBER = re.compile(r"\d+(?:\.\d+)?[smhd]?\Z")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufffd]")
_BRACES = re.compile(r"\{[\w./-]+(?:,[^\s{}]*)+\}\Z")
_SHELLS = frozenset({"sh", "bash", "dash", "ash", "ksh", "mksh", "zsh"})
# Wrapper → its options that take a value, so that the value is not taken for the command.
_WRAPPERS: dict[str, frozenset[str]] = {
    "sudo": frozenset(
        [
            "-u",
            "-g",
            "-h",
            "-p",
            "-C",
            "-r",
            "-t",
            "-T",
            "-U",
            "-D",
            "-R",
            "--user",
            "--group",
            "--prompt",
            "--chdir",
        ]
    ),
    "env": frozenset(["-u", "-C", "-S", "--unset", "--chdir"]),
    "nohup": frozenset(),
    "nice": frozenset(("-n", "--adjustment")),
    "timeout": frozenset(["-k", "-s", "--signal", "--kill-after"]),
    "time": frozenset(("-f", "-o")),
    "exec": frozenset(("-a",)),
    "eval": frozenset(),
    "xargs": frozenset(
        [
            "-I",
            "-n",
            "-P",
            "-L",
            "-d",
            "-a",
            "-s",
            "-E",
            "--max-args",
            "--max-procs",
            "--replace",
            "--arg-file",
        ]
    ),
    "stdbuf": frozenset(["-i", "-o", "-e", "--input", "--output", "--error"]),
    "busybox": frozenset(),
    "setsid": frozenset(),
    "doas": frozenset(("-u", "-C")),
    "ionice": frozenset(("-c", "-n", "-p", "--class", "--classdata", "--pid")),
    "command": frozenset(),
    "builtin": frozenset(),
}
_ASKS = (["-v"], ["-V"])
"""What makes ``command`` tell where a program is instead of running it."""
LOOKED_THROUGH = frozenset(_WRAPPERS) | _SHELLS | {"su"}


@dataclass(frozen=True, slots=True)
class View:
    """One text that rules look at; ``argv`` is what remains after wrappers, argv0 its base name."""

    kind: ViewKind
    text: str
    argv: tuple[str, ...] = ()

    @property
    def argv0(self) -> str:
        """Base name of the program really run, empty when there is none."""
        return self.argv[0].rpartition("/")[2] if self.argv else ""


@dataclass(frozen=True, slots=True)
class Views:
    """The views of one line, the whole line first; ``capped`` when a bound cut some off."""

    views: tuple[View, ...]
    capped: bool = False


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
    redirect: bool = False
    given: str | None = None
    """A here-string; empty while it is awaited."""


@dataclass(slots=True)
class _Command:
    start: int
    text: str
    words: list[str]
    more: list[str] = field(default_factory=list)
    """Here-documents: text of the command."""
    given: str | None = None
    """A here-string, which stands in the text already."""


def views(line: str) -> Views:
    """All views of ``line``: itself, its simple commands from left to right, its decoded texts."""
    if _SIMPLE.match(line):
        words = line.split()
        if not words or not _runs_another(words[0]):
            return Views((View("line", line, tuple(words)),))
    return _Builder().build(line)


def _runs_another(word: str) -> bool:
    """Whether a command that begins so may hold the words of another one."""
    return word in _KEYWORDS or word[0] == "{" or word.rpartition("/")[2] in LOOKED_THROUGH


class _Builder:
    """Collects distinct views within the bounds."""

    def __init__(self) -> None:
        self.found: dict[str, View] = {}
        self.capped = False
        self.tokens = MAX_TOKENS
        self.room = MAX_VIEW_TEXT

    def build(self, line: str) -> Views:
        self._commands(line, 0)
        first = next(iter(self.found.values()), None)
        whole = View("line", line, first.argv if first else ())
        decoded, capped = decoded_texts(line, MAX_DECODED)
        self.capped |= capped
        for text in decoded:
            self._add(View("decoded", text, _plain_argv(text)))
            if not _is_binary(text[:4096]):
                self._commands(text, 0, "decoded")
        self.found.pop(line, None)
        return Views((whole, *self.found.values()), self.capped)

    def _add(self, view: View) -> None:
        if view.text in self.found:
            return
        if len(self.found) >= MAX_VIEWS - 1 or len(view.text) > self.room:
            self.capped = True
            return
        self.found[view.text] = view
        self.room -= len(view.text)

    def _commands(self, text: str, depth: int, kind: ViewKind = "command") -> None:
        splitter = _Splitter(text, self.tokens)
        commands = splitter.run()
        self.tokens = splitter.tokens
        self.capped |= splitter.capped
        for command in commands:
            if len(self.found) >= MAX_VIEWS - 1:
                self.capped = True
                return
            rest, script = look_through(command.words)
            text = " ".join((command.text, *" ".join(command.more).split()))
            self._add(View(kind, text, tuple(rest)))
            if rest and len(rest) < len(command.words):
                self._add(View(kind, " ".join(rest), tuple(rest)))
            if rest and rest[0].endswith("find"):
                self._found(rest, kind)
            for inner in (script, *_scripts(command, rest)):
                if inner:
                    self._script(inner, depth, kind)

    def _found(self, words: list[str], kind: ViewKind) -> None:
        """What find runs on the files that it finds."""
        rest = iter(words)
        for word in rest:
            if word in _EXECS and (inner := list(takewhile(lambda w: w not in (";", "+"), rest))):
                self._add(View(kind, " ".join(inner), tuple(look_through(inner)[0])))

    def _script(self, script: str, depth: int, kind: ViewKind) -> None:
        if depth >= MAX_NESTING:
            self.capped = True
        else:
            self._commands(script, depth + 1, kind)


def _scripts(command: _Command, rest: list[str]) -> list[str]:
    """What a shell reads from here-documents and here-strings."""
    if not rest or rest[0].rpartition("/")[2] not in _SHELLS:
        return []
    return [*command.more, *([command.given] if command.given else [])]


def _is_binary(text: str) -> bool:
    """Whether decoded text is a program's bytes, which are no commands: more than one control in sixteen."""
    return len(_CONTROL.findall(text)) * 16 > len(text)


def _plain_argv(text: str) -> tuple[str, ...]:
    commands, _ = split_commands(text[:4096])
    return tuple(look_through(commands[0].words)[0]) if commands else ()


def look_through(words: list[str]) -> tuple[list[str], str | None]:
    """The words of the program really run, and the script text that a shell or eval would run."""
    i, n = 0, len(words)
    while i < n:
        word = words[i]
        if _ASSIGNMENT.match(word) or word in _KEYWORDS:
            i += 1
            continue
        name = word.rpartition("/")[2]
        if name in _SHELLS or name == "su":
            script = _script_of(words, i)
            return words[i:], script
        if name not in _WRAPPERS or (name == "command" and words[i + 1 : i + 2] in _ASKS):
            break
        if name == "eval":
            script = " ".join(words[i + 1 :])
            return script.split(), script
        following = _skip_options(words, i + 1, name)
        if following >= n:
            break
        i = following
    return words[i:], None


def _skip_options(words: list[str], i: int, name: str) -> int:
    takes_value = _WRAPPERS[name]
    while i < len(words) and words[i].startswith("-") and words[i] != "-":
        i += 2 if words[i] in takes_value else 1
    if name == "timeout" and i < len(words) and _NUMBER.match(words[i]):
        i += 1
    return i


def _script_of(words: list[str], i: int) -> str | None:
    """The argument of ``-c`` (also ``-lc``) of the shell or su at ``words[i]``."""
    for k in range(i + 1, min(len(words) - 1, i + 8)):
        word = words[k]
        if word.startswith("-") and not word.startswith("--") and word.endswith("c"):
            return words[k + 1]
    return None


def split_commands(text: str) -> tuple[list[_Command], bool]:
    """The simple commands of ``text`` from left to right, and whether nesting beyond the bound was left out."""
    splitter = _Splitter(text)
    return splitter.run(), splitter.capped


class _Splitter:
    """One pass over the text with an explicit stack of open substitutions."""

    def __init__(self, text: str, tokens: int = MAX_TOKENS) -> None:
        self.text = text
        self.tokens = tokens
        self.commands: list[_Command] = []
        self.stack: list[_Frame] = [_Frame("")]
        self.capped = False
        self.heredoc: str | None = None

    def run(self) -> list[_Command]:
        """The commands from left to right."""
        pos, text = 0, self.text
        end = len(text)
        while pos < end:
            if not self.tokens:
                self.capped = True
                break
            self.tokens -= 1
            frame = self.stack[-1]
            match = _IN_QUOTES.match(text, pos, frame.quoted) if frame.quoted else _TOKEN.match(text, pos)
            if match is None:  # the line of an open quote is over
                frame.quoted = 0
                continue
            pos = match.end()
            kind = match.lastgroup or "other"
            if frame.quoted:
                self._quoted(frame, kind, match.group(), pos)
            else:
                pos = self._token(frame, kind, match.group(), pos)
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
        if kind in ("word", "other"):
            self._put(frame, value)
        elif kind in ("ws", "ifs"):
            self._end_word(frame)
            frame.pieces.append(" ")
        elif kind == "sep":
            self._end_command(frame, pos)
            if value == "\n":
                pos = self._skip_heredoc(pos)
        elif kind == "squote":
            self._put(frame, value[1:].removesuffix("'"))
        elif kind == "ansi":
            self._put(frame, ansi_c(value[2:].removesuffix("'")))
        elif kind == "esc":
            self._put(frame, value[1:])
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
            frame.redirect = False
            frame.given = word if frame.given == "" else frame.given
        else:
            frame.words.append(word)

    def _end_command(self, frame: _Frame, pos: int) -> None:
        self._end_word(frame)
        words = frame.words
        text = " ".join("".join(frame.pieces).split())
        leading = next((i for i, word in enumerate(words) if word not in _KEYWORDS), len(words))
        if leading:
            words, text = words[leading:], text[sum(len(word) + 1 for word in words[:leading]) :].lstrip()
        if len(words) == 1 and text == words[0] and _BRACES.match(text):
            words = text[1:-1].split(",")
            text = " ".join(words)
        if words and text:
            self.commands.append(_Command(frame.start, text, words, given=frame.given))
        frame.words, frame.pieces, frame.redirect, frame.start = [], [], False, pos
        frame.given = None

    def _redirect(self, frame: _Frame, value: str, pos: int) -> None:
        if frame.word is not None and "".join(frame.word).isdigit():
            frame.word = None
        self._end_word(frame)
        frame.pieces.append(value)
        if value in ("<(", ">("):
            self._push(frame, ")", pos)
            return
        frame.redirect = True
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

    def _push(self, frame: _Frame, closer: str, pos: int) -> None:
        if len(self.stack) > MAX_NESTING:
            self.capped = True
            return
        self.stack.append(_Frame(closer, start=max(pos, frame.start)))

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
